"""What is known of a picture before it is cut, and the order of the shards."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deepfake_detector.preparation.selection import LeftOut, in_random_order, wanted
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
    ordered = in_random_order(manifest, 7)
    assert list(ordered["split"].unique()) == ["train", "valid", "test"]
    assert list(ordered["split"]) == sorted(ordered["split"], key=("train", "valid", "test").index)
    assert sorted(ordered["path"]) == sorted(manifest["path"])
    train = ordered.loc[ordered["split"] == "train", "path"].tolist()
    assert train != sorted(train)
    assert ordered.equals(in_random_order(manifest.sample(frac=1.0, random_state=1), 7))
    assert not ordered.equals(in_random_order(manifest, 8))


def test_faces_and_reasons_are_known_where_the_picture_stays_as_it_is(manifest: pd.DataFrame) -> None:
    manifest.loc[0, "error"], manifest.loc[0, "faces"] = "cut short", 0
    manifest.loc[1, "faces"] = 0
    manifest.loc[:1, list(FACE_COLUMNS)] = np.nan
    unwanted = {"test/02.jpg": LeftOut("listed", "on the list"), "test/00.jpg": LeftOut("copy", "of another")}
    found = list(wanted(manifest.iloc[:4], unwanted, as_they_are=True))
    reasons = [None if w.left_out is None else (w.left_out.why, w.left_out.reason) for w in found]
    assert reasons == [("copy", "of another"), ("faceless", "no face found"), ("listed", "on the list"), None]
    assert [w.face is None for w in found] == [True, True, True, False]
    assert (found[3].entry.path, found[3].entry.label, found[3].sha256) == ("test/03.jpg", 1, "3")
    assert found[3].face is not None
    assert found[3].face.box_px == (3.0,) * 4
    (unreadable,) = wanted(manifest.iloc[:1], {}, as_they_are=True)
    assert unreadable.left_out == LeftOut("unreadable", "cut short")


def test_a_picture_that_is_saved_anew_is_looked_at_anew(manifest: pd.DataFrame) -> None:
    manifest.loc[1, "faces"] = 0
    found = list(wanted(manifest.iloc[:3], {}, as_they_are=False))
    assert [(w.face, w.left_out) for w in found] == [(None, None)] * 3
