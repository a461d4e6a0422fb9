"""Swapped classes in one split are found where image statistics are informative, and nowhere else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deepfake_detector.validation.label_consistency import label_consistency_table

SIZES = {"train": 300, "valid": 80, "test": 80}


def manifest(seed: int, shift: float, swapped: str = "") -> pd.DataFrame:
    """Pictures whose fakes are sharper by `shift` standard deviations; the labels of one split may be swapped."""
    rng = np.random.default_rng(seed)
    split = np.repeat(list(SIZES), list(SIZES.values()))
    n = len(split)
    label = rng.permutation(np.arange(n) % 2)
    table = pd.DataFrame({"split": split, "label": label, "error": "", "source": "faces"})
    table["path"] = table["group"] = [f"{i}.jpg" for i in range(n)]
    for name in ("bytes", "brightness", "contrast"):
        table[name] = rng.normal(100, 10, n)
    table["sharpness"] = rng.normal(100, 10, n) + 10 * shift * label
    table["phash"] = [f"{h:016x}" for h in rng.integers(0, 2**63, n)]
    table.loc[table["split"] == swapped, "label"] ^= 1
    return table


def suspected(table: pd.DataFrame) -> list[str]:
    splits = label_consistency_table(table)
    return splits.loc[splits["auc_high"] < 0.5, "path"].tolist()


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_swapped_split_is_named(split: str) -> None:
    assert suspected(manifest(0, 1.5, split)) == [f"{split} of faces"]


def test_a_swapped_training_split_makes_the_others_suspect() -> None:
    assert suspected(manifest(0, 3.0, "train")) == ["valid of faces", "test of faces"]


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.5])
def test_correct_labels_raise_no_alarm(shift: float) -> None:
    assert [seed for seed in range(20) if suspected(manifest(seed, shift))] == []


def test_each_source_is_tested_alone() -> None:
    sharp, blurred = manifest(0, 1.5), manifest(1, -1.5).assign(source="swaps")
    assert suspected(pd.concat([sharp, blurred])) == []  # sharper fakes here, more blurred ones there: both may be


def test_frames_of_one_video_count_as_one_observation() -> None:
    table = manifest(0, 1.5, "test")
    narrow = label_consistency_table(table).set_index("path").loc["test of faces"]
    table["group"] = np.arange(len(table)) // 4
    wide = label_consistency_table(table).set_index("path").loc["test of faces"]
    assert wide["auc"] == narrow["auc"]
    assert wide["auc_high"] - wide["auc"] == pytest.approx(2 * (narrow["auc_high"] - narrow["auc"]))


def test_too_few_pictures_give_no_value() -> None:
    table = manifest(0, 1.5, "test")
    assert label_consistency_table(table[table["split"] == "test"])["auc"].isna().all()
    few = pd.concat([table[table["split"] == "train"], table[table["split"] == "test"].head(12)])
    assert label_consistency_table(few)["auc"].isna().all()


def test_constant_features_give_an_auc_of_one_half() -> None:
    table = manifest(0, 0.0).assign(phash="0" * 16, bytes=1, brightness=0.0, contrast=0.0, sharpness=5.0)
    assert label_consistency_table(table)["auc"].dropna().tolist() == [0.5, 0.5]


def test_the_standard_error_is_that_of_uninformative_scores() -> None:
    table = manifest(0, 1.5)
    n, n_fake = SIZES["test"], int(table.loc[table["split"] == "test", "label"].sum())
    split = label_consistency_table(table).set_index("path").loc["test of faces"]
    error = np.sqrt((n + 1) / (12 * n_fake * (n - n_fake)))
    assert split["auc_high"] - split["auc"] == pytest.approx(4 * error)
