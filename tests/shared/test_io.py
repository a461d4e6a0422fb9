"""Files are written whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepfake_detector.io import atomic_directory, atomic_write


def test_a_failed_atomic_write_keeps_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    target = tmp_path / "a.zip"
    target.write_text("old")

    def fail() -> None:
        with atomic_write(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_killed_writer_of_a_folder_left_is_cleared(tmp_path: Path) -> None:
    """Of a process that is ended: deleted, or put back where it is the only copy; of one that lives it stays."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for name in (f".f.{ended.pid}.a", f".f.{os.getpid()}.b", f".f.{ended.pid}.c"):
        (tmp_path / name / "new").mkdir(parents=True)
    (tmp_path / f".f.{ended.pid}.c" / "old").mkdir()
    (tmp_path / f".f.{ended.pid}.c" / "old" / "x").write_text("only copy", encoding="utf-8")
    with pytest.raises(RuntimeError), atomic_directory(tmp_path / "f"):
        raise RuntimeError
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([f".f.{os.getpid()}.b", "f"])
    assert (tmp_path / "f" / "x").read_text(encoding="utf-8") == "only copy"
