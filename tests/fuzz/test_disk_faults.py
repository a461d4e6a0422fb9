"""A full or broken disk, or no descriptor, at any moment of a write: the old file stays, with nothing beside it."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.errors import DetectorError
from deepfake_detector.io import atomic_directory, atomic_write, write_json
from deepfake_detector.scanning.rows import ScanRow, choose_writer, write_table

FAULTS = [errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EDQUOT]


def write_text(path: Path) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("new")


def write_folder(path: Path) -> None:
    with atomic_directory(path) as temporary:
        (temporary / "file").write_text("new")


def write_rows(path: Path) -> None:
    write_table(path, [ScanRow("a.jpg", "image", "fake", 0.5)], choose_writer(path), False)


WRITERS: dict[str, Callable[[Path], None]] = {
    "file.txt": write_text,
    "file.json": lambda path: write_json(path, {"a": 1}),
    "rows.csv": write_rows,
    "rows.parquet": write_rows,
}


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("number", FAULTS, ids=errno.errorcode.get)
@pytest.mark.parametrize("name", WRITERS)
def test_a_fault_when_a_file_is_replaced_leaves_the_old_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    (tmp_path / name).write_text("old")

    def failing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises((OSError, DetectorError)):
        WRITERS[name](tmp_path / name)
    assert content_of(tmp_path) == {name: b"old"}


@pytest.mark.parametrize("number", FAULTS, ids=errno.errorcode.get)
@pytest.mark.parametrize("moment", [1, 2])
def test_a_fault_when_a_folder_is_replaced_leaves_the_old_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, moment: int
) -> None:
    """The old folder is moved away, then the new one to its place."""
    folder, calls, rename = tmp_path / "folder", [0], Path.rename
    folder.mkdir()
    (folder / "file").write_text("old")

    def failing(self: Path, target: Any) -> Path:
        calls[0] += 1
        if calls[0] == moment:
            raise OSError(number, os.strerror(number))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match=os.strerror(number)):
        write_folder(folder)
    assert content_of(tmp_path) == {"folder/file": b"old"}


def limited(bytes_limit: int) -> None:
    """In a child: writing beyond so many bytes of a file fails, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_limit, bytes_limit))


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
@pytest.mark.parametrize("bytes_limit", [0, 1, 40, 300])
def test_a_disk_that_fills_up_while_rows_are_written(tmp_path: Path, name: str, bytes_limit: int) -> None:
    (tmp_path / name).write_bytes(b"old")
    code = (
        "import sys; from pathlib import Path\n"
        "import pyarrow.parquet  # noqa: before files are limited\n"
        "from deepfake_detector.scanning.rows import ScanRow, choose_writer, write_table\n"
        "from tests.fuzz.test_disk_faults import limited\n"
        "from deepfake_detector.errors import DetectorError\n"
        "path = Path(sys.argv[1]); writer = choose_writer(path); limited(int(sys.argv[2]))\n"
        "try: write_table(path, (ScanRow(f'{i}.jpg') for i in range(2000)), writer, False)\n"
        "except DetectorError as error: sys.exit(error.exit_code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, str(tmp_path / name), str(bytes_limit)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert content_of(tmp_path) == {name: b"old"}
