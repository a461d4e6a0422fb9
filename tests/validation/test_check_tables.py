"""Tables derived from a manifest: partners, what is unknown of unreadable files, and counts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deepfake_detector.validation.check_tables import class_table, file_table

NO_PAIRS = np.empty((0, 2), np.int64)


def rows(*changed: dict[str, object]) -> pd.DataFrame:
    plain = {
        "label": 0, "split": "train", "width_px": 90, "height_px": 80, "mode": "RGB", "format": "JPEG",
        "quantization": "q", "subsampling": "4:2:0", "source": "faces", "error": "",
        "brightness": 1.0, "contrast": 1.0, "sharpness": 1.0, "faces": 1,
    }  # fmt: skip
    own = [{"path": f"{n}.jpg", "group": f"{n}.jpg", "sha256": str(n)} for n in range(len(changed))]
    return pd.DataFrame([plain | names | change for names, change in zip(own, changed, strict=True)])


def partners(manifest: pd.DataFrame, column: str, pairs: np.ndarray = NO_PAIRS) -> list[str]:
    return list(file_table(manifest, pairs, pd.Series(np.nan, index=manifest.index))[column])


def test_copies_name_the_first_partner_on_another_side() -> None:
    copy, there = {"sha256": "x"}, {"sha256": "x", "split": "test"}
    manifest = rows(copy, copy, there, there | {"label": 1}, {})
    assert partners(manifest, "copy_elsewhere") == ["2.jpg", "2.jpg", "0.jpg", "0.jpg", ""]
    assert partners(manifest, "copy_beside") == ["1.jpg", "0.jpg", "3.jpg", "2.jpg", ""]
    assert partners(manifest, "copy_otherwise") == ["3.jpg", "3.jpg", "3.jpg", "0.jpg", ""]


def test_rows_are_told_apart_even_if_paths_and_index_are_not() -> None:
    manifest = rows({"sha256": "x"}, {"sha256": "x"}, {"split": "test", "sha256": "x"})
    manifest["path"] = ["same.jpg", "same.jpg", "test.jpg"]
    manifest.index = [7, 7, 7]
    assert partners(manifest, "copy_elsewhere") == ["test.jpg", "test.jpg", "same.jpg"]
    assert partners(manifest, "copy_beside") == ["same.jpg", "same.jpg", ""]


def test_groups_may_not_be_parted() -> None:
    manifest = rows({"group": "a.mp4"}, {"group": "a.mp4", "label": 1}, {"group": "a.mp4", "split": "test"}, {})
    assert partners(manifest, "group_elsewhere") == ["2.jpg", "2.jpg", "0.jpg", ""]


def test_lookalikes_within_a_group_may_have_both_labels_but_not_lie_in_two_splits() -> None:
    manifest = rows({"group": "a"}, {"group": "a", "label": 1}, {"group": "a", "split": "test"}, {"label": 1})
    pairs = np.array([[0, 1], [0, 2], [2, 3]])
    assert partners(manifest, "lookalike_otherwise", pairs) == ["", "", "3.jpg", "2.jpg"]
    assert partners(manifest, "lookalike_elsewhere", pairs) == ["2.jpg", "", "3.jpg", "2.jpg"]


def test_what_nobody_saw_is_missing() -> None:
    manifest = rows({"error": "cut short", "width_px": 0}, {"format": "PNG", "quantization": "", "subsampling": ""}, {})
    table = file_table(manifest, NO_PAIRS, pd.Series([np.nan, 1.0, 0.0]))
    for name in ("side_px", "brightness", "contrast", "sharpness", "faces", "mode", "format"):
        assert table[name].isna().tolist() == [True, False, False], name
    assert table["quantization"].isna().tolist() == [True, True, False]
    assert table["side_px"].tolist()[1:] == [80, 80]
    assert table["listed"].tolist()[1:] == [1.0, 0.0]


def test_classes_are_counted_among_the_readable() -> None:
    manifest = rows({}, {}, {"error": "cut short"}, {"label": 1})
    counted = class_table(manifest).set_index("path")
    assert len(counted) == 6
    assert counted.loc["train/real", "images"] == 2
    assert counted.loc["train/fake", "imbalance"] == pytest.approx(1 / 3)
    assert counted.loc["test/real", "imbalance"] == 1


def test_several_sources_are_counted_each_for_itself() -> None:
    counted = class_table(
        rows({}, {"label": 1}, {"source": "swaps"}, {"label": 1, "source": "swaps"}, {"source": "swaps"})
    )
    counted = counted.set_index("path")
    assert len(counted) == 18
    assert counted.loc["train/real", "images"] == 3
    assert counted.loc["train/real of swaps", "images"] == 2
    assert counted.loc["train/real of swaps", "imbalance"] == pytest.approx(1 / 3)
    assert counted.loc["test/real of swaps", "imbalance"] == 0  # it need not have a test split
