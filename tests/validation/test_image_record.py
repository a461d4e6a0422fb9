"""A face survives the way through a manifest's file to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_detector.datasets.archive import Entry
from deepfake_detector.media.face_detector import Face, FaceDetector
from deepfake_detector.media.image import encode_png
from deepfake_detector.validation.image_record import COLUMNS, FACE_COLUMNS, examine, face_figures, face_from


def same(one: Face, other: Face) -> bool:
    return (
        (one.box_px, one.score) == (other.box_px, other.score)
        and one.landmarks_px.dtype == other.landmarks_px.dtype == np.float32
        and one.landmarks_px.tobytes() == other.landmarks_px.tobytes()
    )


def awkward(rng: np.random.Generator) -> Face:
    """Any float32 at all, as long as it is a number."""
    figures = rng.integers(0, 2**32, 400, dtype=np.uint32).view(np.float32)
    x, y, width, height, score, *landmarks = figures[np.isfinite(figures)][:15]
    return Face(
        (float(x), float(y), float(width), float(height)), np.array(landmarks, np.float32).reshape(5, 2), float(score)
    )


def test_every_float32_comes_back_from_parquet(tmp_path: Path) -> None:
    faces = [awkward(np.random.default_rng(seed)) for seed in range(200)]
    for kind in ("float32", "float64"):
        pd.DataFrame([face_figures(face) for face in faces]).astype(kind).to_parquet(tmp_path / "a.parquet")
        table = pd.read_parquet(tmp_path / "a.parquet")
        assert tuple(table.columns) == FACE_COLUMNS
        back = [face_from(row) for row in table.itertuples(index=False, name=None)]
        assert all(same(face, other) for face, other in zip(faces, back, strict=True))


def test_a_row_holds_the_largest_face_as_the_detector_finds_it(portrait: NDArray[np.uint8]) -> None:
    page = np.full((300, 500, 3), 90, np.uint8)
    page[20:276, 20:276] = portrait
    page[100:228:1, 330:458] = portrait[::2, ::2]
    faces = FaceDetector().find(page)
    row = examine(Entry("a.png", "test", 0), encode_png(page), "")
    assert (len(faces), row.faces) == (2, 2)
    assert faces[0].side_px > faces[1].side_px
    figures = [getattr(row, name) for name in FACE_COLUMNS]
    assert same(face_from(figures), faces[0])
    assert not same(face_from(figures), faces[1])


def test_the_columns_are_the_rows_last_fields_and_empty_without_a_face() -> None:
    assert COLUMNS[-len(FACE_COLUMNS) :] == FACE_COLUMNS
    row = examine(Entry("a.png", "test", 0), encode_png(np.full((64, 64, 3), 9, np.uint8)), "")
    assert row.faces == 0
    assert all(np.isnan(getattr(row, name)) for name in FACE_COLUMNS)
