"""Bytes, JSON and folders -> files that appear whole or not at all; files -> SHA-256 digests (hex)."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import select
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from deepfake_detector.errors import BadInput, DetectorError, ToolFailed

PIPE_TIMEOUT_S = 10
BROKEN_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS)
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
BROKEN_DATABASE = ("disk is full", "disk I/O error")  # in the messages of SQLite
DESCRIPTOR_HINT = "allow more open files, for example by `ulimit -n 4096`, and run the same command again"
SPACE_HINT = "free some space, and run the same command again"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block ends without an error.

    The parent folder is created. Whatever fails, the old file stays as it was and no temporary file is left; a kill
    leaves at most a hidden `.NAME.PID.part`.

    Args:
        path: the file to write. The temporary path ends in `.part`, so a writer that goes by suffix must be told the
            format.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_failure(path: Path, error: OSError) -> DetectorError:
    """The error for an output that could not be written: of the tool if a disk is full or broken, else of the input."""
    reason = error.strerror or str(error)
    if error.errno in BROKEN_DISK:
        return ToolFailed(f"cannot write {path}: {reason}", SPACE_HINT)
    if error.errno in NO_DESCRIPTOR:
        return ToolFailed(f"cannot write {path}: {reason}", DESCRIPTOR_HINT)
    return BadInput(f"cannot write {path}: {reason}", "name a folder that exists and can be written")


def machine_failure(error: BaseException) -> ToolFailed | None:
    """The error for people if a full or broken disk, or too few descriptors, is behind an exception; else None.

    Libraries (MLflow, SQLAlchemy, pyarrow) raise errors of their own from those of the system: the whole chain counts.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (*BROKEN_DISK, *NO_DESCRIPTOR):
            hint = DESCRIPTOR_HINT if cause.errno in NO_DESCRIPTOR else SPACE_HINT
            return ToolFailed(f"{cause.filename or 'a file'}: {cause.strerror or cause}", hint)
        if type(cause).__name__ == "OperationalError" and any(text in str(cause) for text in BROKEN_DATABASE):
            return ToolFailed(f"a database cannot be written: {str(cause).splitlines()[0]}", SPACE_HINT)
        cause = cause.__cause__ or cause.__context__
    return None


def open_pipe(name: str) -> BinaryIO:
    """Open a named pipe for reading, if somebody writes into it within PIPE_TIMEOUT_S.

    Raises:
        BadInput: nobody does.
        OSError: it cannot be opened.
    """
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK)  # would wait for a writer, perhaps for ever
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN | select.POLLHUP)
    if not waiting.poll(1000 * PIPE_TIMEOUT_S):
        os.close(descriptor)
        raise BadInput(
            f"nothing was written into the pipe {name} for {PIPE_TIMEOUT_S} seconds", "start its writer first"
        )
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, "rb")


def check_output(path: Path, inputs: Iterable[Path], suffixes: Collection[str]) -> None:
    """Check, before work begins, that writing `path` replaces nothing but an older output.

    Args:
        path: the file to write.
        inputs: files that are read; none of them may be replaced, not by another name or link either.
        suffixes: in small letters with a dot: one for each format that is written.

    Raises:
        BadInput: it is a folder, device, pipe or input, or its name announces another format.
    """
    allowed = " or ".join(suffixes)
    if path.is_dir():
        raise BadInput(f"{path} is a folder", f"name a file that ends in {allowed}")
    if path.exists() and not path.is_file():
        raise BadInput(f"{path} is a device or a pipe, not a file", f"name a file that ends in {allowed}")
    for source in inputs:
        if path.exists() and source.exists() and path.samefile(source):
            raise BadInput(f"{path} is the input {source}", "name another file to write")
    if path.suffix.lower() not in suffixes:
        raise BadInput(f"{path.name} ends in {path.suffix!r}", f"name a file that ends in {allowed}")


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """An empty temporary folder that replaces the folder `path` when the block ends without an error.

    Args:
        path: the folder to write. An older one is moved aside before and deleted after the new one is in its place.
            What writers left that were killed meanwhile is deleted, or put back if it is the only copy.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_abandoned(path)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.{os.getpid()}.", dir=path.parent) as scratch:
        temporary = Path(scratch) / "new"
        temporary.mkdir()
        yield temporary
        old = Path(scratch) / "old"
        if path.exists():
            path.rename(old)
        try:
            temporary.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise


def _clear_abandoned(path: Path) -> None:
    """Delete temporary folders of `atomic_directory(path)` whose process is gone."""
    prefix = f".{path.name}."
    for each in path.parent.iterdir():
        pid = each.name.removeprefix(prefix).partition(".")[0] if each.name.startswith(prefix) else ""
        if pid.isdigit() and each.is_dir() and not _is_alive(int(pid)):
            if (each / "old").exists() and not path.exists():
                (each / "old").rename(path)
            shutil.rmtree(each, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # somebody else's
    return True


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write sorted, indented JSON, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path, hint: str) -> dict[str, Any]:
    """Read a JSON file that holds one object, as the stages of the pipeline write their reports.

    Args:
        path: of the file.
        hint: what writes it again.

    Raises:
        ToolFailed: it is cut short or damaged.
        OSError: it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ToolFailed(f"{path} is no complete JSON file: {error}", hint) from error
    if not isinstance(content, dict):
        raise ToolFailed(f"{path} holds {type(content).__name__}, not an object", hint)
    return content


def sha256_of_file(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def escape_unencodable_output() -> None:
    r"""Print characters that the terminal's encoding lacks as \xe4 or \u65e5, instead of failing at a file name."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def suppress_native_stderr() -> Iterator[None]:
    """Hold back what native libraries print to stderr, unless the block fails.

    TensorFlow prints ten lines at every import that no setting of its own silences; they hide the lines that matter.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held, os.fdopen(os.dup(2), "wb") as stderr:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            stderr.write(held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr.fileno(), 2)
