"""The derived tables: paths of matching pictures, missing values of unreadable files, and class counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from deepfake_detector.validation.check_tables import class_table, file_table

NO_PAIRS = np.empty((0, 2), np.int64)


def rows(*changed: Mapping[str, object]) -> pd.DataFrame:
    plain = {
        "label": 0, "split": "train", "width_px": 90, "height_px": 80, "mode": "RGB", "format": "JPEG",
        "quantization": "q", "subsampling": "4:2:0", "source": "faces", "error": "",
        "brightness": 1.0, "contrast": 1.0, "sharpness": 1.0, "faces": 1,
    }  # fmt: skip
    own = [{"path": f"{n}.jpg", "group": f"{n}.jpg", "sha256": str(n)} for n in range(len(changed))]
    return pd.DataFrame([plain | names | dict(change) for names, change in zip(own, changed, strict=True)])


def matches(manifest: pd.DataFrame, column: str, pairs: np.ndarray = NO_PAIRS) -> list[str]:
    return list(file_table(manifest, pairs, pd.Series(np.nan, index=manifest.index))[column])


def test_duplicates_name_the_first_match() -> None:
    train, test = {"sha256": "x"}, {"sha256": "x", "split": "test"}
    manifest = rows(train, train, test, test | {"label": 1}, {})
    assert matches(manifest, "duplicate_in_other_split") == ["2.jpg", "2.jpg", "0.jpg", "0.jpg", ""]
    assert matches(manifest, "duplicate_in_split") == ["1.jpg", "0.jpg", "3.jpg", "2.jpg", ""]
    assert matches(manifest, "duplicate_with_other_label") == ["3.jpg", "3.jpg", "3.jpg", "0.jpg", ""]


def test_rows_with_equal_path_and_index_are_distinct() -> None:
    manifest = rows({"sha256": "x"}, {"sha256": "x"}, {"split": "test", "sha256": "x"})
    manifest["path"] = ["same.jpg", "same.jpg", "test.jpg"]
    manifest.index = [7, 7, 7]
    assert matches(manifest, "duplicate_in_other_split") == ["test.jpg", "test.jpg", "same.jpg"]
    assert matches(manifest, "duplicate_in_split") == ["same.jpg", "same.jpg", ""]


def test_a_group_in_two_splits_is_found() -> None:
    manifest = rows({"group": "a.mp4"}, {"group": "a.mp4", "label": 1}, {"group": "a.mp4", "split": "test"}, {})
    assert matches(manifest, "group_in_other_split") == ["2.jpg", "2.jpg", "0.jpg", ""]


def test_near_duplicates_of_one_group_may_have_both_labels_but_not_lie_in_two_splits() -> None:
    manifest = rows({"group": "a"}, {"group": "a", "label": 1}, {"group": "a", "split": "test"}, {"label": 1})
    pairs = np.array([[0, 1], [0, 2], [2, 3]])
    assert matches(manifest, "near_duplicate_with_other_label", pairs) == ["", "", "3.jpg", "2.jpg"]
    assert matches(manifest, "near_duplicate_in_other_split", pairs) == ["2.jpg", "", "3.jpg", "2.jpg"]


def test_unknown_values_are_missing() -> None:
    manifest = rows({"error": "cut short", "width_px": 0}, {"format": "PNG", "quantization": "", "subsampling": ""}, {})
    table = file_table(manifest, NO_PAIRS, pd.Series([np.nan, 1.0, 0.0]))
    for name in ("side_px", "brightness", "contrast", "sharpness", "faces", "mode", "format"):
        assert table[name].isna().tolist() == [True, False, False], name
    assert table["quantization"].isna().tolist() == [True, True, False]
    assert table["side_px"].tolist()[1:] == [80, 80]
    assert table["csv_label"].tolist()[1:] == [1.0, 0.0]


def test_classes_are_counts_among_readable_pictures() -> None:
    manifest = rows({}, {}, {"error": "cut short"}, {"label": 1})
    counts = class_table(manifest).set_index("path")
    assert len(counts) == 6
    assert counts.loc["train/real", "images"] == 2
    assert counts.loc["train/fake", "imbalance"] == pytest.approx(1 / 3)
    assert counts.loc["test/real", "imbalance"] == 1


def test_a_source_of_one_class_is_named_once_and_may_be_unbalanced() -> None:
    counts = class_table(rows(
        {}, {"label": 1}, {"source": "celeba", "split": "valid"}, {"source": "celeba", "split": "test"},
    )).set_index("path")  # fmt: skip
    assert counts.loc["valid/real of celeba", "only_class"] == "real"
    assert (counts["only_class"] != "").sum() == 1
    assert counts.loc["valid/real of celeba", "imbalance"] == 0
    assert counts.loc["valid/real", "imbalance"] == 1  # of all sources together


def test_a_left_out_source_counts_neither_for_balance_nor_for_encoding() -> None:
    manifest = rows({}, {"label": 1}, {"label": 1, "source": "new", "split": "test"})
    assert list(class_table(manifest, {"new"})["images"]) == [1, 1, 0, 0, 0, 0]
    table = file_table(manifest, NO_PAIRS, pd.Series(np.nan, index=manifest.index), {"new"})
    assert list(table["class_name"].fillna("none")) == ["real", "fake", "none"]


def test_several_sources_are_counts_separately() -> None:
    counts = class_table(
        rows({}, {"label": 1}, {"source": "swaps"}, {"label": 1, "source": "swaps"}, {"source": "swaps"})
    )
    counts = counts.set_index("path")
    assert len(counts) == 18
    assert counts.loc["train/real", "images"] == 3
    assert counts.loc["train/real of swaps", "images"] == 2
    assert counts.loc["train/real of swaps", "imbalance"] == pytest.approx(1 / 3)
    assert counts.loc["test/real of swaps", "imbalance"] == 0  # it need not have a test split
