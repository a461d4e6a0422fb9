"""The manifest: one row per picture, resumed after an interruption, written and read back."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from deepfake_detector import code_digest
from deepfake_detector.datasets.archive import KAGGLE_ROOT, Archive, Entry
from deepfake_detector.datasets.safe_zip import ZipMember, write_zip
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.errors import ArchiveRejected, DataRejected
from deepfake_detector.validation import manifest
from deepfake_detector.validation.image_record import MANIFEST_COLUMNS, ImageRecord
from deepfake_detector.validation.manifest import build_manifest, read_manifest, write_manifest

FAKE = Entry(f"{KAGGLE_ROOT}/test/fake/00000.jpg", "test", 1)
PICTURE = draw_sample(1, "test", "fake", 0)


@pytest.fixture
def files() -> dict[str, bytes]:
    pictures = {
        f"{KAGGLE_ROOT}/{split}/{label}/{n}.jpg": draw_sample(1, split, label, n)
        for split in ("train", "test")
        for label in ("real", "fake")
        for n in range(2)
    }
    return pictures | {f"{KAGGLE_ROOT}/train/real/9.jpg": PICTURE[:3000]}


def test_archives_give_a_table_that_is_read_back_from_disk(tmp_path: Path, files: dict[str, bytes]) -> None:
    for source in ("b", "a"):
        (tmp_path / "raw").mkdir(exist_ok=True)
        write_zip(tmp_path / "raw" / f"{source}.zip", files.items())
    table = build_manifest(tmp_path / "raw", {"a": "synthetic", "b": "swap"})
    assert tuple(table.columns) == MANIFEST_COLUMNS
    assert list(table["path"]) == [f"{source}/{path}" for source in "ab" for path in sorted(files)]
    assert list(table["source"]) == ["a"] * 9 + ["b"] * 9
    assert list(table["label"]) == [int("/fake/" in path) for path in sorted(files)] * 2
    assert set(table.loc[table["label"] == 1, "fake_kind"] + table["source"]) >= {"synthetica", "swapb"}
    assert list(table.loc[table["error"] != "", "path"]) == [f"{s}/{KAGGLE_ROOT}/train/real/9.jpg" for s in "ab"]
    assert table["path"].is_unique
    assert list(table["group"]) == list(table["path"])
    write_manifest(table, tmp_path / "data" / "manifest.parquet")
    assert read_manifest(tmp_path / "data" / "manifest.parquet").equals(table)


def test_all_pictures_of_a_left_out_source_are_test_pictures(
    tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "process_map", map)
    (tmp_path / "raw").mkdir()
    for source in ("a", "b"):
        write_zip(tmp_path / "raw" / f"{source}.zip", files.items())
    whole = build_manifest(tmp_path / "raw", {}, cache=tmp_path / "cache")
    table = build_manifest(tmp_path / "raw", {}, cache=tmp_path / "cache", left_out={"b"})
    of_b = table["source"] == "b"
    assert set(table.loc[of_b, "split"]) == {"test"}
    assert table[~of_b].equals(whole[~of_b])
    assert table.drop(columns="split").equals(whole.drop(columns="split"))
    # Rows in the cache keep the archive's own split: the setting may change back.
    assert build_manifest(tmp_path / "raw", {}, cache=tmp_path / "cache").equals(whole)


class InProcess:
    """Stands in for `process_map`: records the pictures, and may interrupt the run before one of them."""

    def __init__(self) -> None:
        self.described: list[str] = []
        self.interrupted_at = -1

    def __call__(
        self, function: Callable[[tuple[Entry, ZipMember]], ImageRecord], pictures: Iterable[tuple[Entry, ZipMember]]
    ) -> Iterator[ImageRecord]:
        for entry, member in pictures:
            if len(self.described) == self.interrupted_at:
                raise KeyboardInterrupt
            self.described.append(entry.path)
            yield function((entry, member))


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> InProcess:
    process_map = InProcess()
    monkeypatch.setattr(manifest, "process_map", process_map)
    return process_map


def test_an_interrupted_run_resumes_and_a_changed_picture_is_described_again(
    tmp_path: Path, files: dict[str, bytes], in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = in_process.described
    monkeypatch.setattr(manifest, "CHUNK_ROWS", 4)
    archive, cache = tmp_path / "a.zip", tmp_path / "cache"
    write_zip(archive, files.items())
    in_process.interrupted_at = 6
    with pytest.raises(KeyboardInterrupt):
        build_manifest(archive, {}, cache=cache)
    assert len(list(cache.iterdir())) == 1
    in_process.interrupted_at = -1
    described.clear()
    resumed = build_manifest(archive, {}, cache=cache)
    assert described == sorted(files)[4:]
    assert resumed.equals(build_manifest(archive, {}))
    for name, table in (("resumed", resumed), ("whole", build_manifest(archive, {}))):
        write_manifest(table, tmp_path / name)
    assert (tmp_path / "resumed").read_bytes() == (tmp_path / "whole").read_bytes()
    (first,) = (p for p in cache.iterdir() if pd.read_parquet(p)["path"].iloc[0] == sorted(files)[0])
    first.write_bytes(first.read_bytes()[:500])  # as a power cut leaves it
    described.clear()
    assert build_manifest(archive, {}, cache=cache).equals(resumed)
    assert described == sorted(files)[:4]
    described.clear()
    write_zip(archive, (files | {sorted(files)[-1]: PICTURE}).items())
    changed = build_manifest(archive, {}, cache=cache)
    assert described == sorted(files)[8:]
    assert changed["sha256"].iloc[-1] == hashlib.sha256(PICTURE).hexdigest()
    assert len(list(cache.iterdir())) == 3  # the chunk with the old picture is deleted


def test_the_zips_of_a_source_are_described_one_after_another(
    tmp_path: Path, files: dict[str, bytes], in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One table of contents is in memory at a time, and a changed zip has only its own pictures described again."""
    opened, most = 0, 0

    class CountedArchive(Archive):
        def __enter__(self) -> Archive:
            nonlocal opened, most
            opened, most = opened + 1, max(most, opened + 1)
            return super().__enter__()

        def close(self) -> None:
            nonlocal opened
            opened -= 1
            super().close()

    monkeypatch.setattr(manifest, "Archive", CountedArchive)
    raw, cache = tmp_path / "raw", tmp_path / "cache"
    (raw / "faces").mkdir(parents=True)
    for shard in ("part-0", "part-1", "part-2"):
        write_zip(raw / "faces" / f"{shard}.zip", files.items())
    table = build_manifest(raw, {"faces": "swap"}, cache=cache)
    paths = [f"faces/part-{number}/{path}" for number in range(3) for path in sorted(files)]
    assert list(table["path"]) == in_process.described == paths
    assert set(table["source"]) == {"faces"}
    assert set(table.loc[table["label"] == 1, "fake_kind"]) == {"swap"}
    assert (opened, most) == (0, 1)
    write_zip(raw / "faces" / "part-1.zip", list(files.items())[1:])
    in_process.described.clear()
    again = build_manifest(raw, {"faces": "swap"}, cache=cache)
    assert in_process.described == [path for path in list(again["path"]) if "/part-1/" in path]
    assert len(again) == len(table) - 1


def test_cached_faces_are_not_reused_after_an_edit_of_the_face_detector(
    tmp_path: Path, files: dict[str, bytes], in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(code_digest.SOURCE_ROOT / code_digest.PACKAGE, tmp_path / "src" / code_digest.PACKAGE)
    monkeypatch.setattr(code_digest, "SOURCE_ROOT", tmp_path / "src")
    archive, cache = tmp_path / "a.zip", tmp_path / "cache"
    write_zip(archive, files.items())
    for edited, expected in (("", 9), ("cli/app.py", 0), ("media/face_detector.py", 9), ("", 0)):
        if edited:
            with (tmp_path / "src" / code_digest.PACKAGE / edited).open("a", encoding="utf-8") as source:
                source.write("# edited\n")
        in_process.described.clear()
        build_manifest(archive, {}, cache=cache)
        assert len(in_process.described) == expected, edited


def test_a_damaged_archive_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    write_zip(path, [(FAKE.path, PICTURE)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert zipfile.is_zipfile(path)
    with pytest.raises(ArchiveRejected, match=r"test/fake/00000\.jpg"):
        build_manifest(path, {})


def test_a_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    write_manifest(pd.DataFrame({"path": ["a.jpg"], "label": [1]}), tmp_path / "manifest.parquet")
    with pytest.raises(DataRejected, match="another version"):
        read_manifest(tmp_path / "manifest.parquet")


def test_a_missing_manifest_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match="no manifest") as caught:
        read_manifest(tmp_path / "manifest.parquet")
    assert "dvc repro validate" in caught.value.hint
