"""Crop requests: known faces and exclusions, and the order of the shards."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deepfake_detector.preparation.crop_requests import Exclusion, crop_requests, shuffled_within_splits
from deepfake_detector.validation.image_record import FACE_COLUMNS


@pytest.fixture
def manifest() -> pd.DataFrame:
    rows = [
        {"path": f"{split}/{i:02}.jpg", "split": split, "label": i % 2, "group": "g", "source": "s", "sha256": f"{i}",
         "error": "", "faces": 1} | {name: float(i) for name in FACE_COLUMNS}
        for split in ("test", "train", "valid")
        for i in range(20)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_order_is_split_by_split_and_random_within(manifest: pd.DataFrame) -> None:
    ordered = shuffled_within_splits(manifest, 7)
    assert list(ordered["split"].unique()) == ["train", "valid", "test"]
    assert list(ordered["split"]) == sorted(ordered["split"], key=("train", "valid", "test").index)
    assert sorted(ordered["path"]) == sorted(manifest["path"])
    train = ordered.loc[ordered["split"] == "train", "path"].tolist()
    assert train != sorted(train)
    assert ordered.equals(shuffled_within_splits(manifest.sample(frac=1.0, random_state=1), 7))
    assert not ordered.equals(shuffled_within_splits(manifest, 8))


def test_faces_and_exclusions_are_known_for_unchanged_pictures(manifest: pd.DataFrame) -> None:
    manifest.loc[0, "error"], manifest.loc[0, "faces"] = "cut short", 0
    manifest.loc[1, "faces"] = 0
    manifest.loc[:1, list(FACE_COLUMNS)] = np.nan
    given = {"test/02.jpg": Exclusion("listed", "a"), "test/00.jpg": Exclusion("duplicate", "b")}
    requests = list(crop_requests(manifest.iloc[:4], given, reuse_faces=True))
    assert [request.exclusion for request in requests] == [
        Exclusion("duplicate", "b"), Exclusion("faceless", "no face found"), Exclusion("listed", "a"), None,
    ]  # fmt: skip
    assert [request.face is None for request in requests] == [True, True, True, False]
    assert (requests[3].entry.path, requests[3].entry.label, requests[3].sha256) == ("test/03.jpg", 1, "3")
    assert requests[3].face is not None
    assert requests[3].face.box_px == (3.0,) * 4
    (unreadable,) = crop_requests(manifest.iloc[:1], {}, reuse_faces=True)
    assert unreadable.exclusion == Exclusion("unreadable", "cut short")


def test_faces_of_recompressed_pictures_are_detected_again(manifest: pd.DataFrame) -> None:
    manifest.loc[1, "faces"] = 0
    requests = list(crop_requests(manifest.iloc[:3], {}, reuse_faces=False))
    assert [(request.face, request.exclusion) for request in requests] == [(None, None)] * 3
