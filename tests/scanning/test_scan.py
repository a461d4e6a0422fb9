from __future__ import annotations

import csv
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.errors import BadInput
from deepfake_detector.media.image import encode_jpeg, encode_png
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.scanning.scan import scan_folder

pytestmark = pytest.mark.slow


def start_scan(*arguments: str) -> subprocess.Popen[str]:
    code = "from deepfake_detector.cli.app import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "scan", *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def run_scan(*arguments: str) -> tuple[int, str, str]:
    process = start_scan(*arguments)
    stdout, stderr = process.communicate(timeout=200)
    return process.returncode, stdout, stderr


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    return {row["path"]: row for row in rows}


@pytest.fixture
def folder(tmp_path: Path, red_portrait: NDArray[np.uint8], blue_portrait: NDArray[np.uint8], clip: Path) -> Path:
    root = tmp_path / "photos"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "red.jpg").write_bytes(encode_jpeg(red_portrait))
    (root / "deep" / "blue.dat").write_bytes(encode_png(blue_portrait))
    (root / "deep" / "er" / "clip.mov").write_bytes(clip.read_bytes())
    (root / "deep" / "text.jpg").write_text("no picture")
    (root / "truncated.png").write_bytes(encode_png(red_portrait)[:3000])
    (root / "notes.txt").write_text("no picture")
    (root / "loop").symlink_to(root)
    return root


def test_every_image_and_video_has_a_row(folder: Path, tmp_path: Path, tiny_bundle: Bundle) -> None:
    summary = scan_folder(folder, tmp_path / "out.csv", tiny_bundle, workers=1)
    rows = rows_of(tmp_path / "out.csv")
    assert {name: row["verdict"] or row["error"].split(":")[0] for name, row in rows.items()} == {
        "red.jpg": "fake",
        "deep/blue.dat": "real",
        "deep/er/clip.mov": "fake",
        "deep/text.jpg": "unreadable_video",
        "truncated.png": "unreadable_image",
    }
    assert summary.counts == {"fake": 2, "real": 1, "error": 2}
    assert (summary.rows, summary.answered, summary.skipped, summary.scored_now) == (5, 3, 1, 6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "photos"]


def test_the_output_may_be_parquet_and_lie_in_the_folder(folder: Path, tiny_bundle: Bundle) -> None:
    import pyarrow.parquet as pq

    scan_folder(folder, folder / "out.parquet", tiny_bundle, with_sha256=True, workers=1)
    table = pq.read_table(folder / "out.parquet").to_pylist()
    assert len(table) == 5
    assert all(len(row["sha256"]) == 64 for row in table)
    assert scan_folder(folder, folder / "out.parquet", tiny_bundle, workers=1).rows == 5  # the output is no media file


def test_a_wrong_folder_is_bad_input(tmp_path: Path, tiny_bundle: Bundle) -> None:
    (tmp_path / "file").touch()
    for name in ("missing", "file"):
        with pytest.raises(BadInput, match="there is no folder"):
            scan_folder(tmp_path / name, tmp_path / "out.csv", tiny_bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def copies(folder: Path, picture: bytes, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:03}.png").write_bytes(picture)
    return folder


def workers_of(pid: int) -> list[int]:
    tree = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in tree]


@pytest.mark.slow
def test_a_killed_scan_continues_after_changes_in_the_folder(
    tmp_path: Path, red_portrait: NDArray[np.uint8], blue_portrait: NDArray[np.uint8], tiny_bundle: Bundle
) -> None:
    folder = copies(tmp_path / "many", encode_png(red_portrait), 600)
    out, journal = tmp_path / "out.csv", tmp_path / "out.csv.journal"
    command = (str(folder), "--out", str(out), "--model", str(tiny_bundle.path))
    process = start_scan(*command)
    deadline = time.monotonic() + 120
    while not journal.exists() or recorded(journal) < 8:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    children = workers_of(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not out.exists()
    assert children
    while any(Path(f"/proc/{child}").exists() for child in children):  # workers end after their parent was killed
        assert time.monotonic() < deadline
        time.sleep(0.02)
    before = recorded(journal)
    assert 0 < before < 600

    (folder / "000.png").unlink()
    (folder / "001.png").write_bytes(encode_png(blue_portrait))
    (folder / "new.png").write_bytes(encode_png(blue_portrait))
    code, stdout, stderr = run_scan(*command)
    assert code == 0, stderr
    rows = rows_of(out)
    assert len(rows) == 600
    assert "000.png" not in rows
    assert [name for name, row in rows.items() if row["verdict"] == "real"] == ["001.png", "new.png"]
    assert "files from an earlier run" in stdout
    assert not journal.exists()
    assert len({row["p_fake"] for row in rows.values()}) == 2  # a picture has the same score in both runs


def recorded(journal: Path) -> int:
    """Rows on disk, counted in a copy: the scan holds a lock on its journal."""
    copy = journal.with_name("copy")
    for end in ("", "-journal"):
        if Path(f"{journal}{end}").exists():
            shutil.copy(f"{journal}{end}", f"{copy}{end}")
        else:
            Path(f"{copy}{end}").unlink(missing_ok=True)
    try:
        database = sqlite3.connect(copy)
        try:
            return int(database.execute("SELECT count(*) FROM files").fetchone()[0])
        finally:
            database.close()
    except sqlite3.DatabaseError:
        return 0  # copied during a commit
    finally:
        for end in ("", "-journal"):
            Path(f"{copy}{end}").unlink(missing_ok=True)


@pytest.mark.slow
def test_memory_does_not_grow_with_files(tmp_path: Path, tiny_bundle: Bundle) -> None:
    """Peak memory of the scanning process without its workers, in MB, for 30 and for 300 files."""
    picture = encode_png(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from deepfake_detector.model.bundle import read_bundle\n"
        "from deepfake_detector.scanning.scan import scan_folder\n"
        "if __name__ == '__main__':\n"
        "    folder, out, bundle = map(Path, sys.argv[1:])\n"
        "    rows = scan_folder(folder, out, read_bundle(bundle), workers=1).rows\n"
        "    print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    (tmp_path / "measure.py").write_text(code)
    peak_mb = {}
    for count in (30, 300):
        folder = copies(tmp_path / str(count), picture, count)
        output = tmp_path / f"{count}.csv"
        command: list[str | Path] = [sys.executable, tmp_path / "measure.py", folder, output, tiny_bundle.path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        rows, megabytes = done.stdout.split()
        assert int(rows) == count
        peak_mb[count] = float(megabytes)
    assert peak_mb[300] < peak_mb[30] + 10, peak_mb


@pytest.mark.slow
def test_exit_codes_and_messages(folder: Path, tmp_path: Path, tiny_bundle: Bundle) -> None:
    out = str(tmp_path / "out.csv")
    model = ("--model", str(tiny_bundle.path))
    code, stdout, stderr = run_scan(str(folder), "--out", out, *model)
    assert code == 0, stderr
    counts = "fake 2, real 1, inconclusive 0, error 2: unreadable_image 1, unreadable_video 1"
    assert f"5 rows ({counts}); 1 other files skipped" in stdout
    assert "100%" in stderr
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_text("no picture")
    assert run_scan(str(tmp_path / "broken"), "--out", out, *model)[0] == 1
    assert list(rows_of(Path(out))) == ["a.jpg"]
    code, _, stderr = run_scan(str(tmp_path / "missing"), "--out", out, *model)
    assert (code, "there is no folder" in stderr, "Traceback" in stderr) == (1, True, False)
    (tmp_path / "empty").mkdir()
    code, _, stderr = run_scan(str(tmp_path / "empty"), "--out", str(tmp_path / "none.csv"), *model)
    assert (code, "no image and no video" in stderr) == (1, True)
