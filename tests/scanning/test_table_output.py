from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.errors import BadInput, ToolFailed
from deepfake_detector.media.image import encode_jpeg
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.scanning import scan
from deepfake_detector.scanning.discovery import FoundFile
from deepfake_detector.scanning.rows import ScanRow
from deepfake_detector.scanning.scan import scan_folder
from deepfake_detector.scanning.score_files import FileScorer
from deepfake_detector.scanning.storage import ObjectStore
from deepfake_detector.scanning.table_output import table_output


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_journal_lies_beside_a_file_and_in_the_cache_for_an_object(
    tmp_path: Path, cache: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert table_output(tmp_path / "out.csv").journal == tmp_path / "out.csv.journal"
    address = f"s3://{bucket}/deep/out.csv"
    first = table_output(address)
    assert (first.store, first.name) == (ObjectStore("s3", bucket, "deep"), "out.csv")
    assert first.journal.parent == cache / "deepfake-detector" / "scans"
    monkeypatch.chdir(tmp_path)
    assert table_output(address).journal == first.journal
    assert table_output(f"s3://{bucket}/other/out.csv").journal != first.journal


def test_a_table_is_written_as_an_object(bucket: str, s3: Any) -> None:
    table_output(f"s3://{bucket}/deep/out.csv").write([ScanRow("a.jpg", "image", "real", 0.1 + 0.2)], False)
    text = s3.get_object(Bucket=bucket, Key="deep/out.csv")["Body"].read().decode()
    assert [row["p_fake"] for row in csv.DictReader(io.StringIO(text))] == ["0.30000000000000004"]


def test_what_cannot_be_written_is_refused_before_any_file_is_scored(tmp_path: Path, bucket: str, cache: Path) -> None:
    for wrong in (f"s3://{bucket}/out", f"s3://{bucket}/out.txt", str(tmp_path / "out")):
        with pytest.raises(BadInput, match=r"ends in"):
            table_output(wrong)
    for wrong in ("s3://out.csv", "s3:///out.csv", "http://host/out.csv"):
        with pytest.raises(BadInput, match="no address that is"):
            table_output(wrong)
    with pytest.raises(BadInput, match="there is no bucket"):
        table_output("s3://missing-bucket/out.csv")
    cache.write_text("a file, not a folder")
    with pytest.raises(BadInput, match="the journal of the scan cannot be written"):
        table_output(f"s3://{bucket}/out.csv")


@pytest.mark.slow
def test_a_scan_of_objects_continues_from_its_journal(
    bucket: str, s3: Any, tiny_bundle: Bundle, red_portrait: NDArray[np.uint8], cache: Path, monkeypatch: Any
) -> None:
    for name in ("a.jpg", "b.jpg"):
        s3.put_object(Bucket=bucket, Key=f"in/{name}", Body=encode_jpeg(red_portrait))
    s3.put_object(Bucket=bucket, Key="in/notes.txt", Body=b"text")
    out = f"s3://{bucket}/out.csv"

    def upload_fails(*_: object) -> None:
        raise ToolFailed("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "upload", upload_fails)
        with pytest.raises(ToolFailed, match="the store is away"):
            scan_folder(f"s3://{bucket}/in", out, tiny_bundle, workers=1)
    s3.put_object(Bucket=bucket, Key="in/c.jpg", Body=b"\xff\xd8\xff no picture")
    asked: list[str] = []

    def score_files(scorer: FileScorer, files: Any, workers: int) -> Any:
        for found in files:
            assert isinstance(found, FoundFile)
            asked.append(found.name)
            yield found, scorer([found.name])[0]

    monkeypatch.setattr(scan, "score_files", score_files)
    summary = scan_folder(f"s3://{bucket}/in", out, tiny_bundle, workers=1)
    assert asked == ["c.jpg"]
    assert (summary.counts, summary.errors) == ({"fake": 2, "error": 1}, {"unreadable_image": 1})
    assert (summary.scored_now, summary.skipped) == (1, 1)
    assert not list((cache / "deepfake-detector" / "scans").iterdir())
    text = s3.get_object(Bucket=bucket, Key="out.csv")["Body"].read().decode()
    assert [row["path"] for row in csv.DictReader(io.StringIO(text))] == ["a.jpg", "b.jpg", "c.jpg"]
