"""Which pictures are corrupted, and how their crops become scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deepfake_detector.datasets.archive import Entry
from deepfake_detector.evaluation.corruption_grid import CONDITIONS
from deepfake_detector.evaluation.corruption_grid_crops import CorruptedCrops
from deepfake_detector.evaluation.corruption_grid_scores import (
    conditions_per_picture,
    sample_pictures,
    scorable_pictures,
    score_grid,
)
from deepfake_detector.media.image_stats import ImageStats


@pytest.fixture
def pictures() -> pd.DataFrame:
    rows = [(f"{s}/{i:02d}", "test", i % 2, f"g{i}", s) for s in ("a", "b") for i in range(20)]
    return pd.DataFrame(rows, columns=["path", "split", "label", "group", "source"])


def test_the_sample_is_balanced_per_source_and_class(pictures: pd.DataFrame) -> None:
    sampled = pictures[pictures["path"].isin(sample_pictures(pictures, 8, seed=1))]
    assert sampled.groupby(["source", "label"]).size().to_dict() == {
        ("a", 0): 4, ("a", 1): 4, ("b", 0): 4, ("b", 1): 4,
    }  # fmt: skip


def test_the_sample_depends_on_the_seed_but_not_on_the_order(pictures: pd.DataFrame) -> None:
    first = sample_pictures(pictures, 8, seed=1)
    assert first == sample_pictures(pictures.iloc[::-1], 8, seed=1)
    assert first != sample_pictures(pictures, 8, seed=2)


def test_zero_or_a_large_number_takes_all(pictures: pd.DataFrame) -> None:
    assert sample_pictures(pictures, 0, 1) == sample_pictures(pictures, 1000, 1) == frozenset(pictures["path"])


def test_deliberately_excluded_pictures_are_not_scored(pictures: pd.DataFrame) -> None:
    code = ["", "faceless", "unusable_face", "unreadable", "listed", "duplicate"] + [""] * 34
    index = pd.DataFrame({"path": pictures["path"], "code": code})
    pictures.loc[39, "split"] = "train"
    scorable = set(scorable_pictures(pictures, index)["path"])
    assert set(pictures["path"]) - scorable == {"a/04", "a/05", "b/19"}


def test_all_pictures_are_scored_clean_and_the_sample_under_all_conditions(pictures: pd.DataFrame) -> None:
    conditions = dict(conditions_per_picture(pictures, frozenset({"a/03"})))
    assert len(conditions) == 40
    entry = Entry("a/03", "test", 1, "g3", "a")
    assert conditions[entry] == tuple(CONDITIONS)
    assert {names for other, names in conditions.items() if other != entry} == {("clean",)}


def test_a_picture_has_the_score_of_its_highest_face_or_none() -> None:
    stats = ImageStats(brightness=120.0, contrast=40.0, sharpness=7.5)

    def crops(path: str, greys: list[int]) -> CorruptedCrops:
        stack = np.array(greys, np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
        return CorruptedCrops(
            Entry(path, "test", 0, "", "s"),
            {"JPEG 50": stack, "clean": stack[:1]},
            100.0,
            75,
            len(greys),
            stats if greys else None,
        )

    pictures = [crops(f"{i}", greys) for i, greys in enumerate([[51, 204, 102], [], [255]] * 4)]  # several batches
    scores, properties = score_grid(pictures, lambda pixels: pixels.mean(axis=(1, 2, 3)) / 255)
    p_fake = scores.set_index(["condition", "path"])["p_fake"]
    assert p_fake["JPEG 50", "0"] == 0.8
    assert p_fake["clean", "0"] == 0.2
    assert np.isnan(p_fake["clean", "1"])
    assert p_fake["clean", "11"] == 1.0
    assert scores["condition"].tolist() == ["clean"] * 12 + ["JPEG 50"] * 12
    assert properties.loc[0].to_dict() == {
        "path": "0", "face_px": 100.0, "jpeg_quality": 75, "faces": 3, "brightness": 120.0, "contrast": 40.0,
        "sharpness": 7.5,
    }  # fmt: skip
    assert properties.loc[1, ["brightness", "contrast", "sharpness"]].isna().all()
    unreadable = CorruptedCrops(
        Entry("x", "test", 0, "", "s"), {"clean": np.zeros((0, 2, 2, 3), np.uint8)}, 0.0, 0, None, None
    )
    assert score_grid([unreadable], lambda pixels: np.zeros(len(pixels)))[1]["faces"].isna().all()
