"""What a training can and cannot learn, from shards to the finished network."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from deepfake_detector.config import read_settings
from deepfake_detector.datasets.archive import Entry
from deepfake_detector.media.augmentation import Augment
from deepfake_detector.model import network
from deepfake_detector.preparation.crops import CropResult
from deepfake_detector.preparation.shard_writer import write_shards
from deepfake_detector.preparation.shards import Shards
from deepfake_detector.training.batches import held_out_batches, steps_per_epoch, training_batches
from deepfake_detector.training.checkpoint import Checkpoint
from deepfake_detector.training.fit import train

SIDE_PX = 32
LANDMARKS_PX = np.array([(10, 12), (22, 12), (16, 17), (11, 22), (21, 22)], np.float32)
CHEQUERED = (np.indices((SIDE_PX, SIDE_PX)).sum(axis=0) % 2)[..., None]


@pytest.fixture(autouse=True)
def _small_and_float32(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(network, "CHANNELS", ((16,), (16,), (32,)))  # large enough to memorize 64 pictures
    yield
    keras.config.set_dtype_policy("float32")


def noise_crops(split: str, n: int, pattern: float, permuted: bool) -> list[CropResult]:
    """Noise in random order; half are fakes with a faint pattern. With `permuted`, labels are independent of it."""
    rng = np.random.default_rng([n, int(permuted)])
    truth = rng.permutation(np.arange(n) % 2)
    labels = rng.permutation(truth) if permuted else truth
    results = []
    for i in range(n):
        pixels = (rng.normal(120, 25, (SIDE_PX, SIDE_PX, 3)) + pattern * truth[i] * CHEQUERED).clip(0, 255)
        entry = Entry(f"{split}/{i}.jpg", split, int(labels[i]))
        results.append(CropResult(entry, pixels.astype(np.uint8), landmarks_px=LANDMARKS_PX))
    return results


def train_network(folder: Path, crops: list[CropResult], epochs: int) -> tuple[Shards, keras.Model]:
    write_shards(crops, folder, SIDE_PX, 10**7, {"": "synthetic"})
    shards = Shards.open(folder)
    committed = read_settings(Path(__file__).parents[2] / "params.yaml").train
    settings = replace(
        committed, epochs=epochs, batch_size=16, learning_rate=0.01, weight_decay=0.0, dropout=0.0, warmup_epochs=1,
        augment="none", precision="float32", patience=0, self_blend=0.0, ema_momentum=0.0,
    )  # fmt: skip
    kinds, augment = ("synthetic",), Augment("none")
    result = train(
        settings, SIDE_PX, 1, training_batches(shards, 16, settings.seed, kinds, augment), steps_per_epoch(shards, 16),
        held_out_batches(shards, "valid", 64, kinds, [augment]), Checkpoint(folder / "c.npz"), lambda epoch, row: None,
    )  # fmt: skip
    return shards, result.model


def auc(shards: Shards, model: keras.Model, split: str) -> float:
    held_out = shards.arrays(split)
    return float(roc_auc_score(held_out.labels, model.predict(held_out.crops, batch_size=64, verbose=0)))


@pytest.mark.slow
def test_a_network_can_memorize_64_random_labels(tmp_path: Path) -> None:
    """If it cannot, its gradient, data or loss is wrong."""
    training = noise_crops("train", 64, 0, permuted=True)
    valid = [replace(c, entry=replace(c.entry, split="valid", path=f"valid/{i}")) for i, c in enumerate(training)]
    shards, model = train_network(tmp_path / "shards", [*training, *valid], epochs=40)
    split = shards.arrays("train")
    correct = (model.predict(split.crops, verbose=0) > 0) == split.labels
    assert correct.mean() >= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("permuted", [False, True])
def test_random_labels_teach_nothing_about_other_pictures(tmp_path: Path, permuted: bool) -> None:
    """A pipeline that leaks labels would beat chance here; with true labels the same training succeeds."""
    sizes = {"train": 160, "valid": 64, "test": 400}
    crops = [crop for split, n in sizes.items() for crop in noise_crops(split, n, 12, permuted)]
    shards, model = train_network(tmp_path / "shards", crops, epochs=6)
    found = auc(shards, model, "test")
    if permuted:
        assert abs(found - 0.5) < 0.1  # three and a half standard errors of 400 pictures
    else:
        assert found > 0.95
