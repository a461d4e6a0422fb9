"""Training crops of which one class is softer are reported; copies that make the classes alike pass."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.config import read_settings
from deepfake_detector.datasets.archive import Entry
from deepfake_detector.media import corruptions
from deepfake_detector.preparation.crop_probes import probe_training_crops
from deepfake_detector.preparation.crops import CropResult
from deepfake_detector.preparation.shard_writer import write_shards

SETTINGS = read_settings(Path(__file__).parents[2] / "params.yaml").validate
SIDE_PX, CROPS = 48, 240
LANDMARKS_PX = np.zeros((5, 2), np.float32)


def crop(i: int, sigma_px: float, rng: np.random.Generator) -> CropResult:
    pixels: NDArray[np.uint8] = rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    entry = Entry(f"s/{i}.jpg", "train", i % 2, f"{i}", "s")
    return CropResult(entry, corruptions.blur(pixels, sigma_px), LANDMARKS_PX)


def shards(folder: Path, copies: int) -> Path:
    """Fakes are softer than real crops; copies of both are equally soft, and one in ten is lost."""
    rng, results = np.random.default_rng(0), []
    for i in range(CROPS):
        one = crop(i, 0.7 + 0.5 * (i % 2) + rng.uniform(0, 0.3), rng)
        same = [crop(i, rng.uniform(0.7, 1.5), rng) for _ in range(copies if i % 10 else 0)]
        results.append(replace(one, copies=tuple(same)))
    held_out = replace(crop(0, 9, rng), entry=Entry("s/valid.jpg", "valid", 1, "", "s"))
    write_shards([*results, held_out], folder / "shards", SIDE_PX, 10**6, {"s": "swap"})
    return folder / "shards"


def test_copies_make_the_classes_alike(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        probes = {probe["name"]: probe for probe in probe_training_crops(shards(tmp_path, 2), SETTINGS)}
    assert list(probes) == [f"{crops} {name}" for crops in ("unchanged", "matched") for name in
                            ("sharpness", "compression")]  # fmt: skip
    assert [probe["passed"] for probe in probes.values()] == [False, False, True, True]
    assert probes["unchanged sharpness"]["auc"] > 0.9
    assert (probes["unchanged sharpness"]["images"], probes["matched sharpness"]["images"]) == (CROPS, CROPS * 9 // 10)
    assert "probe unchanged sharpness: sharpness (variance of the Laplacian) alone separates" in caplog.text


def test_without_copies_the_unchanged_crops_alone_are_measured(tmp_path: Path) -> None:
    folder = shards(tmp_path, 0)
    assert [probe["name"] for probe in probe_training_crops(folder, SETTINGS)] == [
        "unchanged sharpness", "unchanged compression",
    ]  # fmt: skip
    assert probe_training_crops(folder, replace(SETTINGS, probe_images=100))[0]["images"] == 100


def test_each_source_with_both_classes_is_measured_apart(tmp_path: Path) -> None:
    rng, results = np.random.default_rng(0), []
    for i in range(CROPS * 2):
        source = ("a", "b", "real")[i % 3]
        entry = Entry(f"{source}/{i}.jpg", "train", 0 if source == "real" else i // 3 % 2, f"{i}", source)
        softness = 1.0 if source == "a" and entry.label else 0.2
        results.append(replace(crop(i, 0.7 + softness + rng.uniform(0, 0.3), rng), entry=entry))
    write_shards(results, tmp_path / "shards", SIDE_PX, 10**6, dict.fromkeys(("a", "b", "real"), "swap"))
    probes = {probe["name"]: probe for probe in probe_training_crops(tmp_path / "shards", SETTINGS)}
    assert list(probes) == [f"unchanged {name} ({scope})" for scope in ("all sources", "a", "b") for name in
                            ("sharpness", "compression")]  # fmt: skip
    assert [probes[f"unchanged sharpness ({scope})"]["passed"] for scope in ("a", "b")] == [False, True]
