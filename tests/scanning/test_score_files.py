from __future__ import annotations

import hashlib
import importlib
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.errors import BundleCorrupt
from deepfake_detector.inference.detector import Detector
from deepfake_detector.media.image import encode_jpeg, encode_png
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.scanning.discovery import FoundFile
from deepfake_detector.scanning.rows import ScanRow
from deepfake_detector.scanning.score_files import (
    BATCHES_PER_WORKER,
    FILES_PER_BATCH,
    FileScorer,
    ScoreBatch,
    score_files,
)
from deepfake_detector.scanning.storage import LocalFolder

# A worker imports what it unpickles, and it cannot import this module: hence a module of its own.
PID_SCORER = """
import os, signal
from dataclasses import dataclass
from deepfake_detector.scanning.rows import ScanRow

@dataclass(frozen=True)
class PidScorer:
    def __call__(self, names):
        if "killer" in names:
            os.kill(os.getpid(), signal.SIGKILL)
        return [ScanRow(name, reason=str(os.getpid())) for name in names]
"""


@pytest.fixture
def folder(tmp_path: Path, red_portrait: NDArray[np.uint8], blue_portrait: NDArray[np.uint8], clip: Path) -> Path:
    (tmp_path / "red.png").write_bytes(encode_png(red_portrait))
    (tmp_path / "blue.txt").write_bytes(encode_png(blue_portrait))  # content decides, not the suffix
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "grey.png").write_bytes(encode_png(np.full((99, 99, 3), 99, np.uint8)))
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "truncated.jpg").write_bytes(encode_jpeg(red_portrait)[:2000])
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "notes.txt").write_text("no picture, by content and by suffix")
    return tmp_path


def rows_of(scorer: FileScorer, *names: str) -> list[ScanRow]:
    rows = [row for row in scorer(names) if row is not None]
    assert len(rows) == len(names)
    return rows


def test_rows_have_the_verdicts_of_predict(folder: Path, tiny_bundle: Bundle) -> None:
    rows = rows_of(FileScorer(LocalFolder(folder), tiny_bundle.path), "red.png", "blue.txt", "clip.mp4", "grey.png")
    detector = Detector(tiny_bundle)
    for row in rows:
        verdict = detector.predict_file(folder / row.path)
        assert (row.p_fake, row.verdict, row.kind) == (verdict.p_fake, verdict.verdict, verdict.kind)
        assert row.reason == "; ".join(verdict.reasons)
        assert row.error is None
    red, blue, clip, grey = rows
    assert (red.verdict, red.kind_of_fake, red.faces) == ("fake", "swap", 1)
    assert red.bytes == (folder / "red.png").stat().st_size
    assert red.kind_share == pytest.approx(0.75, abs=0.01)
    assert (blue.verdict, blue.kind_of_fake, blue.kind_share) == ("real", None, None)
    assert (clip.kind, clip.faces) == ("video", 2)
    assert (grey.verdict, grey.p_fake, grey.faces) == ("inconclusive", None, 0)


def test_errors_are_rows_and_other_files_have_none(folder: Path, tiny_bundle: Bundle) -> None:
    scorer = FileScorer(LocalFolder(folder), tiny_bundle.path)
    rows = rows_of(scorer, "text.jpg", "truncated.jpg", "empty.mp4", "missing.jpg")
    codes = [(row.error or "").split(":")[0] for row in rows]
    assert codes == ["unreadable_video", "unreadable_image", "unreadable_video", "bad_input"]
    assert [row.bytes for row in rows[1:]] == [2000, 0, None]
    assert all(row.verdict is None and row.p_fake is None for row in rows)
    assert scorer(["notes.txt"]) == [None]


def test_digests_are_added_on_request(folder: Path, tiny_bundle: Bundle) -> None:
    (row,) = rows_of(FileScorer(LocalFolder(folder), tiny_bundle.path, with_sha256=True), "text.jpg")
    assert row.sha256 == hashlib.sha256(b"no picture").hexdigest()


def test_an_unexpected_exception_is_a_row(folder: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr(Detector, "score_faces", fail)
    (row,) = rows_of(FileScorer(LocalFolder(folder), tiny_bundle.path), "red.png")
    assert row.error == "tool_failed: ZeroDivisionError: no luck"


def test_a_scorer_is_small_when_pickled(folder: Path, tiny_bundle: Bundle) -> None:
    scorer = FileScorer(LocalFolder(folder), tiny_bundle.path)
    copy = pickle.loads(pickle.dumps(scorer))
    assert copy == scorer
    assert hash(copy) == hash(scorer)
    assert len(pickle.dumps(scorer)) < 2000


@pytest.fixture
def pid_scorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScoreBatch:
    """Puts the number of its process into the rows, and kills the process for a file called `killer`."""
    (tmp_path / "pid_scorer.py").write_text(PID_SCORER)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    scorer: ScoreBatch = importlib.import_module("pid_scorer").PidScorer()
    return scorer


def test_every_file_is_scored_once_and_few_are_read_ahead(pid_scorer: ScoreBatch) -> None:
    read = scored = most_ahead = 0

    def files() -> Iterator[FoundFile]:
        nonlocal read, most_ahead
        for number in range(300):
            read += 1
            most_ahead = max(most_ahead, read - scored)
            yield FoundFile(f"{number}.jpg")

    names = []
    for found, row in score_files(pid_scorer, files(), workers=1):
        assert row is not None
        assert row.path == found.name
        assert row.reason != str(os.getpid())
        scored += 1
        names.append(found.name)
    assert sorted(names) == sorted(f"{number}.jpg" for number in range(300))
    assert most_ahead <= FILES_PER_BATCH * (BATCHES_PER_WORKER + 1)


def test_a_file_that_kills_its_worker_is_a_row_and_the_others_are_scored(pid_scorer: ScoreBatch) -> None:
    files = [FoundFile(f"{number}") for number in range(20)]
    files[5] = FoundFile("killer", 99)
    rows = {found.name: row for found, row in score_files(pid_scorer, files, workers=1) if row is not None}
    assert len(rows) == 20
    assert (rows["killer"].error or "").startswith("tool_failed: the worker process died")
    assert rows["killer"].bytes == 99
    assert all(row.error is None for name, row in rows.items() if name != "killer")


def test_a_broken_model_ends_the_scan(tiny_bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(tiny_bundle.path, tmp_path / "broken")
    (tmp_path / "broken" / "card.md").write_text("changed")
    with pytest.raises(BundleCorrupt, match=r"card\.md differs"):
        list(score_files(FileScorer(LocalFolder(tmp_path), tmp_path / "broken"), [FoundFile("a.jpg")], workers=1))
