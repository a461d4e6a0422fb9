"""Duplicates are left out of training, useful pairs stay, and listed pictures go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from deepfake_detector.errors import SettingsError
from deepfake_detector.preparation.exclusions import exclude_duplicates, exclude_listed, read_drop_list


def table(*rows: tuple[str, str, int, str]) -> pd.DataFrame:
    """Rows of path, split, label, sha256."""
    return pd.DataFrame(rows, columns=["path", "split", "label", "sha256"]).assign(error="")


def codes(manifest: pd.DataFrame) -> dict[str, str]:
    return {path: exclusion.code for path, exclusion in exclude_duplicates(manifest, groups(manifest)).items()}


def groups(manifest: pd.DataFrame) -> NDArray[np.int64]:
    """Pictures are duplicates if the first letters of their digests are equal."""
    return np.asarray(pd.factorize(manifest["sha256"].str[0])[0], np.int64)


def test_different_pictures_all_stay() -> None:
    assert codes(table(*((f"{i}", "train", i % 2, s) for i, s in enumerate("abcdef")))) == {}


@pytest.mark.parametrize(
    ("splits", "stays"),
    [(("train", "test"), "test"), (("train", "valid"), "valid"), (("valid", "test"), "test"),
     (("test", "valid", "train"), "test")],
)  # fmt: skip
def test_the_most_held_out_duplicate_stays(splits: tuple[str, ...], stays: str) -> None:
    manifest = table(*((split, split, 0, "a") for split in splits), ("other", "train", 1, "b"))
    assert codes(manifest) == dict.fromkeys(set(splits) - {stays}, "duplicate")
    assert {exclusion.reason for exclusion in exclude_duplicates(manifest, groups(manifest)).values()} == {
        f"duplicate of {stays}"
    }


def test_a_recompressed_picture_is_a_near_duplicate() -> None:
    manifest = table(("a", "train", 0, "s1"), ("b", "test", 0, "s2"))
    assert exclude_duplicates(manifest, groups(manifest))["a"].reason == "near-duplicate of b"


def test_within_a_split_the_first_stays_and_a_swap_beside_its_original() -> None:
    manifest = table(
        ("b-real", "train", 0, "s1"), ("a-real", "train", 0, "s1"),
        ("swap", "train", 1, "s2"), ("swap again", "train", 1, "s3"),
    )  # fmt: skip
    assert codes(manifest) == {"b-real": "duplicate", "swap again": "near_duplicate"}


def test_a_swap_of_a_test_picture_is_not_trained_on() -> None:
    assert codes(table(("real", "test", 0, "s1"), ("swap", "train", 1, "s2"))) == {"swap": "near_duplicate"}


def test_equal_bytes_with_both_labels_all_go() -> None:
    manifest = table(("r", "train", 0, "a"), ("f", "test", 1, "a"), ("other", "test", 1, "b"))
    assert codes(manifest) == {"r": "conflicting_labels", "f": "conflicting_labels"}


def test_unreadable_pictures_are_no_duplicates() -> None:
    assert codes(table(("a", "train", 0, "s1"), ("b", "test", 0, "s1")).assign(error="cut short")) == {}


def test_a_drop_list_may_hold_comments_and_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "drop.txt").write_text("# looks away\nfaces/a.jpg\n\n  faces/missing.jpg \n", encoding="utf-8")
    names = read_drop_list(tmp_path / "drop.txt")
    assert names == {"faces/a.jpg", "faces/missing.jpg"}
    manifest = table(("faces/a.jpg", "train", 0, "s"), ("faces/b.jpg", "train", 0, "t"))
    assert {path: exclusion.code for path, exclusion in exclude_listed(manifest, names).items()} == {
        "faces/a.jpg": "listed"
    }


def test_a_missing_drop_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"drop\.txt"):
        read_drop_list(tmp_path / "drop.txt")
