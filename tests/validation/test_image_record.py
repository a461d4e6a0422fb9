"""One picture -> one record, readable or not; a face is read back from its columns to the last bit."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.datasets.archive import KAGGLE_ROOT, Entry
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.media.face_detector import Face, FaceDetector
from deepfake_detector.media.image import encode_png
from deepfake_detector.validation.image_record import (
    FACE_COLUMNS,
    MANIFEST_COLUMNS,
    describe_image,
    face_from_columns,
    face_to_columns,
)

FAKE = Entry(f"{KAGGLE_ROOT}/test/fake/00000.jpg", "test", 1)
PICTURE = draw_sample(1, "test", "fake", 0)


def test_a_picture_is_described() -> None:
    record = describe_image(FAKE, PICTURE, "synthetic")
    assert (record.path, record.split, record.label, record.group) == (FAKE.path, "test", 1, FAKE.path)
    assert (record.width_px, record.height_px, record.mode, record.format, record.subsampling) == (
        256,
        256,
        "RGB",
        "JPEG",
        "4:2:0",
    )
    assert (record.sha256, record.bytes, record.error) == (hashlib.sha256(PICTURE).hexdigest(), len(PICTURE), "")
    assert len(record.phash) == len(record.quantization) == 16


def test_the_perceptual_hash_survives_recompression_and_the_checksum_does_not() -> None:
    recompressed = io.BytesIO()
    Image.open(io.BytesIO(PICTURE)).save(recompressed, "JPEG", quality=60)
    first, second = describe_image(FAKE, PICTURE, ""), describe_image(FAKE, recompressed.getvalue(), "")
    other = describe_image(FAKE, draw_sample(1, "test", "fake", 1), "")
    assert first.sha256 != second.sha256
    assert first.quantization != second.quantization

    def distance(a: str, b: str) -> int:
        return (int(a, 16) ^ int(b, 16)).bit_count()

    assert distance(first.phash, second.phash) <= 4
    assert distance(first.phash, other.phash) > 4


@pytest.mark.parametrize(
    "data", [b"", b"hello", PICTURE[:3000], PICTURE[: len(PICTURE) // 2]], ids=["empty", "text", "head", "half"]
)
def test_an_unreadable_file_is_a_record_with_an_error(data: bytes) -> None:
    record = describe_image(FAKE, data, "synthetic")
    assert record.error
    assert (record.width_px, record.height_px, record.phash) == (0, 0, "")
    assert record.sha256 == hashlib.sha256(data).hexdigest()


def test_a_picture_without_jpeg_tables_has_none() -> None:
    png = io.BytesIO()
    Image.fromarray(np.zeros((40, 30), np.uint8)).save(png, "PNG")
    record = describe_image(FAKE, png.getvalue(), "")
    assert (record.format, record.mode, record.quantization, record.subsampling) == ("PNG", "L", "", "")
    assert (record.width_px, record.height_px) == (30, 40)


def test_statistics_faces_and_exif_are_recorded() -> None:
    record = describe_image(FAKE, PICTURE, "synthetic")
    assert (record.faces, record.exif, record.fake_kind) == (1, False, "synthetic")
    assert 20 < record.brightness < 235
    assert record.contrast > 8
    assert record.sharpness > 3
    flat, tagged = io.BytesIO(), Image.Exif()
    tagged[0x010F] = "Camera"
    Image.fromarray(np.full((40, 30, 3), 200, np.uint8)).save(flat, "JPEG", exif=tagged)
    wall = describe_image(FAKE, flat.getvalue(), "synthetic")
    assert (wall.faces, wall.exif, round(wall.brightness), wall.contrast, wall.sharpness) == (0, True, 200, 0.0, 0.0)


def test_a_real_picture_has_no_fake_kind_and_keeps_its_group() -> None:
    record = describe_image(Entry("mine/a.jpg", "train", 0, "mine/video 7", "mine"), PICTURE, "swap")
    assert (record.fake_kind, record.group, record.source) == ("", "mine/video 7", "mine")


def same(one: Face, other: Face) -> bool:
    return (
        (one.box_px, one.score) == (other.box_px, other.score)
        and one.landmarks_px.dtype == other.landmarks_px.dtype == np.float32
        and one.landmarks_px.tobytes() == other.landmarks_px.tobytes()
    )


def random_face(rng: np.random.Generator) -> Face:
    """Arbitrary finite float32 values."""
    values = rng.integers(0, 2**32, 400, dtype=np.uint32).view(np.float32)
    x, y, width, height, score, *landmarks = values[np.isfinite(values)][:15]
    return Face(
        (float(x), float(y), float(width), float(height)), np.array(landmarks, np.float32).reshape(5, 2), float(score)
    )


def test_every_float32_is_read_back_from_parquet(tmp_path: Path) -> None:
    faces = [random_face(np.random.default_rng(seed)) for seed in range(200)]
    for kind in ("float32", "float64"):
        pd.DataFrame([face_to_columns(face) for face in faces]).astype(kind).to_parquet(tmp_path / "a.parquet")
        table = pd.read_parquet(tmp_path / "a.parquet")
        assert tuple(table.columns) == FACE_COLUMNS
        read = [face_from_columns(row) for row in table.itertuples(index=False, name=None)]
        assert all(same(face, other) for face, other in zip(faces, read, strict=True))


def test_a_record_holds_the_largest_face_as_the_detector_finds_it(portrait: NDArray[np.uint8]) -> None:
    page = np.full((300, 500, 3), 90, np.uint8)
    page[20:276, 20:276] = portrait
    page[100:228:1, 330:458] = portrait[::2, ::2]
    faces = FaceDetector().find(page)
    record = describe_image(Entry("a.png", "test", 0), encode_png(page), "")
    assert (len(faces), record.faces) == (2, 2)
    assert faces[0].side_px > faces[1].side_px
    values = [getattr(record, name) for name in FACE_COLUMNS]
    assert same(face_from_columns(values), faces[0])
    assert not same(face_from_columns(values), faces[1])


def test_the_face_columns_are_the_last_and_empty_without_a_face() -> None:
    assert MANIFEST_COLUMNS[-len(FACE_COLUMNS) :] == FACE_COLUMNS
    record = describe_image(Entry("a.png", "test", 0), encode_png(np.full((64, 64, 3), 9, np.uint8)), "")
    assert record.faces == 0
    assert all(np.isnan(getattr(record, name)) for name in FACE_COLUMNS)
