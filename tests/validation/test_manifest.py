"""One row per picture, whatever is wrong with it."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from deepfake_detector.datasets.archive import ROOT, Entry, Place, pack
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.errors import ArchiveRejected, DataRejected
from deepfake_detector.validation import manifest
from deepfake_detector.validation.manifest import COLUMNS, Row, build_manifest, examine, read_manifest, write_manifest

FAKE = Entry(f"{ROOT}/test/fake/00000.jpg", "test", 1)
PICTURE = draw_sample(1, "test", "fake", 0)


def test_a_picture_is_described() -> None:
    row = examine(FAKE, PICTURE, "synthetic")
    assert (row.path, row.split, row.label, row.group) == (FAKE.path, "test", 1, FAKE.path)
    assert (row.width_px, row.height_px, row.mode, row.format, row.subsampling) == (256, 256, "RGB", "JPEG", "4:2:0")
    assert (row.sha256, row.bytes, row.error) == (hashlib.sha256(PICTURE).hexdigest(), len(PICTURE), "")
    assert len(row.phash) == len(row.quantization) == 16


def test_the_perceptual_hash_survives_what_the_checksum_does_not() -> None:
    again = io.BytesIO()
    Image.open(io.BytesIO(PICTURE)).save(again, "JPEG", quality=60)
    first, second = examine(FAKE, PICTURE, ""), examine(FAKE, again.getvalue(), "")
    other = examine(FAKE, draw_sample(1, "test", "fake", 1), "")
    assert first.sha256 != second.sha256
    assert first.quantization != second.quantization

    def apart(a: str, b: str) -> int:
        return (int(a, 16) ^ int(b, 16)).bit_count()

    assert apart(first.phash, second.phash) <= 4
    assert apart(first.phash, other.phash) > 4


@pytest.mark.parametrize(
    "data", [b"", b"hello", PICTURE[:3000], PICTURE[: len(PICTURE) // 2]], ids=["empty", "text", "head", "half"]
)
def test_what_cannot_be_read_is_a_row_with_an_error(data: bytes) -> None:
    row = examine(FAKE, data, "synthetic")
    assert row.error
    assert (row.width_px, row.height_px, row.phash) == (0, 0, "")
    assert row.sha256 == hashlib.sha256(data).hexdigest()


def test_a_picture_without_jpeg_tables_has_none() -> None:
    png = io.BytesIO()
    Image.fromarray(np.zeros((40, 30), np.uint8)).save(png, "PNG")
    row = examine(FAKE, png.getvalue(), "")
    assert (row.format, row.mode, row.quantization, row.subsampling) == ("PNG", "L", "", "")
    assert (row.width_px, row.height_px) == (30, 40)


def test_look_faces_and_exif_are_columns() -> None:
    row = examine(FAKE, PICTURE, "synthetic")
    assert (row.faces, row.exif, row.fake_kind) == (1, False, "synthetic")
    assert 20 < row.brightness < 235
    assert row.contrast > 8
    assert row.sharpness > 3
    flat, tagged = io.BytesIO(), Image.Exif()
    tagged[0x010F] = "Camera"
    Image.fromarray(np.full((40, 30, 3), 200, np.uint8)).save(flat, "JPEG", exif=tagged)
    wall = examine(FAKE, flat.getvalue(), "synthetic")
    assert (wall.faces, wall.exif, round(wall.brightness), wall.contrast, wall.sharpness) == (0, True, 200, 0.0, 0.0)


def test_real_pictures_have_no_kind_of_fake_and_a_known_group_stays() -> None:
    row = examine(Entry("mine/a.jpg", "train", 0, "mine/video 7", "mine"), PICTURE, "swap")
    assert (row.fake_kind, row.group, row.source) == ("", "mine/video 7", "mine")


@pytest.fixture
def files() -> dict[str, bytes]:
    drawn = {
        f"{ROOT}/{split}/{label}/{n}.jpg": draw_sample(1, split, label, n)
        for split in ("train", "test")
        for label in ("real", "fake")
        for n in range(2)
    }
    return drawn | {f"{ROOT}/train/real/9.jpg": PICTURE[:3000]}


def test_archives_become_a_table_and_come_back_from_disk(tmp_path: Path, files: dict[str, bytes]) -> None:
    for source in ("b", "a"):
        (tmp_path / "raw").mkdir(exist_ok=True)
        pack(tmp_path / "raw" / f"{source}.zip", files.items())
    table = build_manifest(tmp_path / "raw", {"a": "synthetic", "b": "swap"})
    assert tuple(table.columns) == COLUMNS
    assert list(table["path"]) == [f"{source}/{path}" for source in "ab" for path in sorted(files)]
    assert list(table["source"]) == ["a"] * 9 + ["b"] * 9
    assert list(table["label"]) == [int("/fake/" in path) for path in sorted(files)] * 2
    assert set(table.loc[table["label"] == 1, "fake_kind"] + table["source"]) >= {"synthetica", "swapb"}
    assert list(table.loc[table["error"] != "", "path"]) == [f"{s}/{ROOT}/train/real/9.jpg" for s in "ab"]
    assert table["path"].is_unique
    assert list(table["group"]) == list(table["path"])
    write_manifest(table, tmp_path / "data" / "manifest.parquet")
    assert read_manifest(tmp_path / "data" / "manifest.parquet").equals(table)


def test_a_killed_run_goes_on_and_a_changed_picture_is_looked_at_again(
    tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    dies_at = [6]

    def in_this_process(
        function: Callable[[tuple[Entry, Place]], Row], pictures: Iterable[tuple[Entry, Place]]
    ) -> Iterator[Row]:
        for entry, place in pictures:
            if len(looked) == dies_at[0]:
                raise KeyboardInterrupt
            looked.append(entry.path)
            yield function((entry, place))

    monkeypatch.setattr(manifest, "in_order", in_this_process)
    monkeypatch.setattr(manifest, "PIECE", 4)
    archive, pieces = tmp_path / "a.zip", tmp_path / "pieces"
    pack(archive, files.items())
    with pytest.raises(KeyboardInterrupt):
        build_manifest(archive, {}, pieces=pieces)
    assert len(list(pieces.iterdir())) == 1
    dies_at[0], looked[:] = 99, []
    resumed = build_manifest(archive, {}, pieces=pieces)
    assert looked == sorted(files)[4:]
    assert resumed.equals(build_manifest(archive, {}))
    for name, table in (("resumed", resumed), ("whole", build_manifest(archive, {}))):
        write_manifest(table, tmp_path / name)
    assert (tmp_path / "resumed").read_bytes() == (tmp_path / "whole").read_bytes()
    (first,) = (p for p in pieces.iterdir() if pd.read_parquet(p)["path"].iloc[0] == sorted(files)[0])
    first.write_bytes(first.read_bytes()[:500])  # as a power cut leaves it
    looked.clear()
    assert build_manifest(archive, {}, pieces=pieces).equals(resumed)
    assert looked == sorted(files)[:4]
    looked.clear()
    pack(archive, (files | {sorted(files)[-1]: PICTURE}).items())
    changed = build_manifest(archive, {}, pieces=pieces)
    assert looked == sorted(files)[8:]
    assert changed["sha256"].iloc[-1] == hashlib.sha256(PICTURE).hexdigest()
    assert len(list(pieces.iterdir())) == 3  # the piece with the old picture is gone


def test_a_damaged_archive_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    pack(path, [(FAKE.path, PICTURE)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert zipfile.is_zipfile(path)
    with pytest.raises(ArchiveRejected, match=r"test/fake/00000\.jpg"):
        build_manifest(path, {})


def test_a_manifest_of_an_older_version_is_not_read(tmp_path: Path) -> None:
    write_manifest(pd.DataFrame({"path": ["a.jpg"], "label": [1]}), tmp_path / "manifest.parquet")
    with pytest.raises(DataRejected, match="another version"):
        read_manifest(tmp_path / "manifest.parquet")


def test_a_missing_manifest_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match="no manifest") as caught:
        read_manifest(tmp_path / "manifest.parquet")
    assert "dvc repro validate" in caught.value.hint
