"""One row per picture, whatever is wrong with it."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_detector.data.archives import ROOT, Entry, pack
from deepfake_detector.data.manifest import COLUMNS, build_manifest, examine, read_manifest, write_manifest
from deepfake_detector.data.sample import draw_sample
from deepfake_detector.errors import ArchiveRejected, DataRejected

FAKE = Entry(f"{ROOT}/test/fake/00000.jpg", "test", 1)
PICTURE = draw_sample(1, "test", "fake", 0)


def test_a_picture_is_described() -> None:
    row = examine(FAKE, PICTURE, "sample", "drawn")
    assert (row.path, row.split, row.label, row.group) == (FAKE.path, "test", 1, FAKE.path)
    assert (row.width_px, row.height_px, row.mode, row.format, row.subsampling) == (256, 256, "RGB", "JPEG", "4:2:0")
    assert (row.sha256, row.bytes, row.error) == (hashlib.sha256(PICTURE).hexdigest(), len(PICTURE), "")
    assert len(row.phash) == len(row.quantization) == 16


def test_the_perceptual_hash_survives_what_the_checksum_does_not() -> None:
    again = io.BytesIO()
    Image.open(io.BytesIO(PICTURE)).save(again, "JPEG", quality=60)
    first, second = examine(FAKE, PICTURE, "", ""), examine(FAKE, again.getvalue(), "", "")
    other = examine(FAKE, draw_sample(1, "test", "fake", 1), "", "")
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
    row = examine(FAKE, data, "sample", "drawn")
    assert row.error
    assert (row.width_px, row.height_px, row.phash) == (0, 0, "")
    assert row.sha256 == hashlib.sha256(data).hexdigest()


def test_a_picture_without_jpeg_tables_has_none() -> None:
    png = io.BytesIO()
    Image.fromarray(np.zeros((40, 30), np.uint8)).save(png, "PNG")
    row = examine(FAKE, png.getvalue(), "archive", "")
    assert (row.format, row.mode, row.quantization, row.subsampling) == ("PNG", "L", "", "")
    assert (row.width_px, row.height_px) == (30, 40)


def test_an_archive_becomes_a_table_and_comes_back_from_disk(tmp_path: Path) -> None:
    files = {
        f"{ROOT}/{split}/{label}/{n}.jpg": draw_sample(1, split, label, n)
        for split in ("train", "test")
        for label in ("real", "fake")
        for n in range(2)
    }
    files[f"{ROOT}/train/real/9.jpg"] = PICTURE[:3000]
    pack(tmp_path / "faces.zip", files.items())
    manifest = build_manifest(tmp_path / "faces.zip", "sample", "drawn")
    assert tuple(manifest.columns) == COLUMNS
    assert list(manifest["path"]) == sorted(files)
    assert list(manifest["label"]) == [int("/fake/" in path) for path in sorted(files)]
    assert list(manifest["fake_kind"]) == ["drawn" if "/fake/" in path else "" for path in sorted(files)]
    assert list(manifest.loc[manifest["error"] != "", "path"]) == [f"{ROOT}/train/real/9.jpg"]
    write_manifest(manifest, tmp_path / "data" / "manifest.parquet")
    assert read_manifest(tmp_path / "data" / "manifest.parquet").equals(manifest)


def test_a_damaged_archive_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    pack(path, [(FAKE.path, PICTURE)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert zipfile.is_zipfile(path)
    with pytest.raises(ArchiveRejected, match=r"test/fake/00000\.jpg"):
        build_manifest(path, "sample", "drawn")


def test_a_missing_manifest_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match="no manifest") as caught:
        read_manifest(tmp_path / "manifest.parquet")
    assert "dvc repro validate" in caught.value.hint
