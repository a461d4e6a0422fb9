"""What a training may and may not learn, on the whole way from shards to a delivered network."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

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
from deepfake_detector.preparation.crops import Crop
from deepfake_detector.preparation.shard_writer import write_shards
from deepfake_detector.preparation.shards import Shards
from deepfake_detector.training.batches import held_out_batches, steps_per_epoch, training_batches
from deepfake_detector.training.checkpoint import Checkpoint
from deepfake_detector.training.fit import train

SIDE_PX = 32
LANDMARKS_PX = np.array([(10, 12), (22, 12), (16, 17), (11, 22), (21, 22)], np.float32)
CHEQUERED = (np.indices((SIDE_PX, SIDE_PX)).sum(axis=0) % 2)[..., None]


@pytest.fixture(autouse=True)
def _small_and_float32(monkeypatch):
    monkeypatch.setattr(network, "CHANNELS", ((16,), (16,), (32,)))  # large enough to learn 64 pictures by heart
    yield
    keras.config.set_dtype_policy("float32")


def crops(split: str, n: int, pattern: float, permuted: bool) -> list[Crop]:
    """Noise, half of it fakes with a faint pattern; labels in no order, or exchanged at random afterwards."""
    rng = np.random.default_rng([n, int(permuted)])
    truth = rng.permutation(np.arange(n) % 2)
    told = rng.permutation(truth) if permuted else truth
    made = []
    for i in range(n):
        pixels = (rng.normal(120, 25, (SIDE_PX, SIDE_PX, 3)) + pattern * truth[i] * CHEQUERED).clip(0, 255)
        entry = Entry(f"{split}/{i}.jpg", split, int(told[i]))
        made.append(Crop(entry, pixels.astype(np.uint8), "", landmarks_px=LANDMARKS_PX))
    return made


def trained_on(folder: Path, pictures: list[Crop], epochs: int) -> tuple[Shards, keras.Model]:
    write_shards(pictures, folder, SIDE_PX, 10**7, {"": "synthetic"})
    shards = Shards.open(folder)
    whole = read_settings(Path(__file__).parents[2] / "params.yaml").train
    how = replace(
        whole, epochs=epochs, batch_size=16, learning_rate=0.01, weight_decay=0.0, dropout=0.0, warmup_epochs=1,
        augment="none", precision="float32", patience=0, blend=0.0, ema_momentum=0.0,
    )  # fmt: skip
    change = Augment("none")
    trained = train(
        how, SIDE_PX, 1, training_batches(shards, 16, how.seed, ("synthetic",), change), steps_per_epoch(shards, 16),
        held_out_batches(shards, "valid", 64, ("synthetic",), [change]), Checkpoint(folder / "c.npz"),
        lambda epoch, row: None,
    )  # fmt: skip
    return shards, trained.model


def auc(shards: Shards, model: keras.Model, split: str) -> float:
    held = shards.arrays(split)
    return float(roc_auc_score(held.labels, model.predict(held.crops, batch_size=64, verbose=0)))


@pytest.mark.slow
def test_a_network_learns_64_pictures_by_heart(tmp_path) -> None:
    """Noise with labels at random: what does not fit even that has a fault in its gradient, data or loss."""
    pictures = crops("train", 64, 0, permuted=True)
    again = [replace(c, entry=replace(c.entry, split="valid", path=f"valid/{i}")) for i, c in enumerate(pictures)]
    shards, model = trained_on(tmp_path / "shards", [*pictures, *again], epochs=40)
    held = shards.arrays("train")
    right = (model.predict(held.crops, verbose=0) > 0) == held.labels
    assert right.mean() >= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("permuted", [False, True])
def test_labels_at_random_teach_nothing_about_other_pictures(tmp_path, permuted: bool) -> None:
    """A road that leaks its labels would do better than chance; with true labels the same road learns at once."""
    sizes = {"train": 160, "valid": 64, "test": 400}
    pictures = [crop for split, n in sizes.items() for crop in crops(split, n, 12, permuted)]
    shards, model = trained_on(tmp_path / "shards", pictures, epochs=6)
    found = auc(shards, model, "test")
    if permuted:
        assert abs(found - 0.5) < 0.1  # three and a half standard errors of 400 pictures
    else:
        assert found > 0.95
