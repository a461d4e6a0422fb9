"""Copies go from where they spoil the figures; pairs worth having stay; a list is a list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from deepfake_detector.errors import SettingsError
from deepfake_detector.preparation.exclusions import duplicates, listed, read_drop_list


def table(*rows: tuple[str, str, int, str]) -> pd.DataFrame:
    """Rows of path, split, label, sha256."""
    return pd.DataFrame(rows, columns=["path", "split", "label", "sha256"]).assign(error="")


def whys(manifest: pd.DataFrame) -> dict[str, str]:
    return {path: left_out.why for path, left_out in duplicates(manifest, groups(manifest)).items()}


def groups(manifest: pd.DataFrame) -> NDArray[np.int64]:
    """Twins have the same first letter of their digest."""
    return np.asarray(pd.factorize(manifest["sha256"].str[0])[0], np.int64)


def test_different_pictures_all_stay() -> None:
    assert whys(table(*((f"{i}", "train", i % 2, s) for i, s in enumerate("abcdef")))) == {}


@pytest.mark.parametrize(
    ("splits", "stays"),
    [(("train", "test"), "test"), (("train", "valid"), "valid"), (("valid", "test"), "test"),
     (("test", "valid", "train"), "test")],
)  # fmt: skip
def test_the_most_held_out_copy_stays(splits: tuple[str, ...], stays: str) -> None:
    manifest = table(*((split, split, 0, "a") for split in splits), ("other", "train", 1, "b"))
    assert whys(manifest) == dict.fromkeys(set(splits) - {stays}, "copy")
    assert {left_out.reason for left_out in duplicates(manifest, groups(manifest)).values()} == {f"copy of {stays}"}


def test_one_saved_again_is_a_near_copy() -> None:
    manifest = table(("a", "train", 0, "s1"), ("b", "test", 0, "s2"))
    assert duplicates(manifest, groups(manifest))["a"].reason == "near copy of b"


def test_within_a_split_the_first_stays_and_a_swap_beside_its_original() -> None:
    manifest = table(
        ("b-real", "train", 0, "s1"), ("a-real", "train", 0, "s1"),
        ("swap", "train", 1, "s2"), ("swap again", "train", 1, "s3"),
    )  # fmt: skip
    assert whys(manifest) == {"b-real": "copy", "swap again": "near copy"}


def test_a_swap_of_a_test_picture_is_not_trained_on() -> None:
    assert whys(table(("real", "test", 0, "s1"), ("swap", "train", 1, "s2"))) == {"swap": "near copy"}


def test_the_same_bytes_under_both_labels_all_go() -> None:
    manifest = table(("r", "train", 0, "a"), ("f", "test", 1, "a"), ("other", "test", 1, "b"))
    assert whys(manifest) == {"r": "labelled both ways", "f": "labelled both ways"}


def test_unreadable_pictures_are_left_to_their_error() -> None:
    assert whys(table(("a", "train", 0, "s1"), ("b", "test", 0, "s1")).assign(error="cut short")) == {}


def test_a_list_with_remarks(tmp_path: Path) -> None:
    (tmp_path / "drop.txt").write_text("# turned away\nfaces/a.jpg\n\n  faces/gone.jpg \n", encoding="utf-8")
    names = read_drop_list(tmp_path / "drop.txt")
    assert names == {"faces/a.jpg", "faces/gone.jpg"}
    manifest = table(("faces/a.jpg", "train", 0, "s"), ("faces/b.jpg", "train", 0, "t"))
    assert {path: left_out.why for path, left_out in listed(manifest, names).items()} == {"faces/a.jpg": "listed"}


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"drop\.txt"):
        read_drop_list(tmp_path / "drop.txt")
