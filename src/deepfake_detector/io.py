"""Bytes, JSON and folders -> files that appear whole or not at all; files -> SHA-256 digests (hex)."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


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


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """An empty temporary folder that replaces the folder `path` when the block ends without an error.

    Args:
        path: the folder to write. An older one is moved aside before and deleted after the new one is in its place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
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


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write sorted, indented JSON, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


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
