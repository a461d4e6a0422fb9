"""A training step with its real input against one on cached tensors, in float32, and behind Keras' image generator.

All of them with all augmentation. The goal of the first is a ratio of 0.87: a step takes at most 1.15 times as long as
one whose input costs nothing. Beside the time on the clock each is told in processor time, which other work on the
machine changes little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.material import Material
from benchmarks.timing import Comparison, Variant, compare
from deepfake_detector.config import Train, read_settings
from deepfake_detector.datasets.archive import Entry
from deepfake_detector.io import suppress_native_stderr
from deepfake_detector.preparation.crops import CropResult, FaceCropper

BATCH, STEPS, ROUNDS = 64, 8, 5
PICTURES, CROPS = 48, 512  # each picture several times: how long a codec takes depends on what it is given
BLEND = 0.3
CACHED, FLOAT32 = 0.87, 2.0  # goals of issue 7
FROZEN_BLOCKS = 8  # of the backbone, as in the recipe of docs/training.md


def training_rows(material: Material) -> Iterator[Comparison]:
    """Every row, with the present `train` settings but for `augment` and `blend`."""
    with suppress_native_stderr():
        from deepfake_detector.preparation.shard_writer import write_shards
        from deepfake_detector.preparation.shards import Shards
        from deepfake_detector.training.fit import fastest_precision
    how = replace(
        read_settings(material.workspace.params).train, augment="corruptions", self_blend=BLEND, batch_size=BATCH
    )
    fast, folder = fastest_precision(), material.scratch / "shards"
    crops = list(_crops(material))
    write_shards(crops, folder, _side_px(material), 2**30, {"": "synthetic"})
    shards = Shards.open(folder)
    yield from _input(material, how, shards, fast, _as_files(crops, material.scratch / "crops"))
    if fast != "float32":
        yield from _precision(material, how, shards, fast)
    yield from _networks(material, how, shards, fast)


def _input(material: Material, how: Train, shards: Any, precision: str, files: Path) -> list[Comparison]:
    """One network, fed in turn by the real input, from memory and by Keras' generator; nothing in store."""
    step = _step(material, how, precision)
    real, generated = iter(_batches(how, shards)(0)), _image_generator(files, _side_px(material))
    cached = cycle([next(real) for _ in range(4)])

    def ours() -> int:
        for _ in range(2):
            next(real)  # made while the other ways were timed
        return _timed(step, real)

    names = (f"traffic, blend {BLEND}, {precision}", "cached tensors", "ImageDataGenerator")
    with _processor_time(names) as timed:
        ways = [ours, lambda: _timed(step, cached), lambda: _timed(step, generated)]
        each = [Variant(name, timed(i, way)) for i, (name, way) in enumerate(zip(names, ways, strict=True))]
        return compare("training step, input included", each[0], each[1:], "crop", material.some(ROUNDS), (CACHED,))


def _precision(material: Material, how: Train, shards: Any, fast: str) -> list[Comparison]:
    batches = list(_batches(how, shards)(0).take(4))
    names = (fast, "float32")
    steps = [_step(material, how, name) for name in names]
    fed = [cycle(batches) for _ in names]
    with _processor_time(names) as timed:
        ways = [Variant(name, timed(i, partial(_timed, steps[i], fed[i]))) for i, name in enumerate(names)]
        return compare("training step, cached tensors", ways[0], ways[1:], "crop", material.some(ROUNDS), (FLOAT32,))


def _networks(material: Material, how: Train, shards: Any, fast: str) -> list[Comparison]:
    """What a backbone costs, and what is saved when its stem and first half are frozen; random weights take as long."""
    batches = list(_batches(how, shards)(0).take(4))
    settings = [
        replace(how, network="fused", frozen_blocks=FROZEN_BLOCKS),
        replace(how, network="residual"),
        replace(how, network="efficientnet_lite0", frozen_blocks=FROZEN_BLOCKS),
        replace(how, network="fused", frozen_blocks=0),
    ]
    names = ("fused", "residual", "efficientnet_lite0", "fused, nothing frozen")
    steps, fed = [_step(material, each, fast) for each in settings], [cycle(batches) for _ in names]
    with _processor_time(names) as timed:
        ways = [Variant(name, timed(i, partial(_timed, steps[i], fed[i]))) for i, name in enumerate(names)]
        return compare("training step, networks", ways[0], ways[1:], "crop", material.some(ROUNDS))


def _image_generator(files: Path, side_px: int) -> Iterator[Any]:
    """What most tutorials do: JPEG files, SciPy's turns and shifts, float32; in the training thread."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    changes = ImageDataGenerator(
        rotation_range=15, width_shift_range=0.1, height_shift_range=0.1, zoom_range=0.1,
        brightness_range=(0.8, 1.2), horizontal_flip=True,
    )  # fmt: skip
    with suppress_native_stderr():
        return iter(changes.flow_from_directory(files, (side_px, side_px), batch_size=BATCH, class_mode="sparse"))


def _batches(how: Train, shards: Any) -> Callable[[int], Any]:
    from deepfake_detector.training.batches import training_batches
    from deepfake_detector.training.plan import plan_transforms

    kinds, change, _ = plan_transforms(how, shards.kinds)
    return training_batches(shards, how.batch_size, how.seed, kinds, change)


def _step(material: Material, how: Train, precision: str) -> Callable[[Any, Any], None]:
    """A network as `model.training` builds it, and one step of it."""
    import keras

    from deepfake_detector.model.backbone import freeze_blocks
    from deepfake_detector.model.losses import build_metrics, build_optimizer, kinds_loss
    from deepfake_detector.model.network import build_network, per_cell

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    network = build_network(how.network, _side_px(material), how.dropout, fused=True, kinds=2)
    freeze_blocks(network, how.frozen_blocks)
    model = per_cell(network)
    keras.config.set_dtype_policy(before)
    model.compile(optimizer=build_optimizer(how, 100), loss=kinds_loss, metrics=build_metrics())
    return lambda crops, classes: model.train_on_batch(crops, classes)


def _timed(step: Callable[[Any, Any], None], batches: Iterator[Any]) -> int:
    for _ in range(STEPS):
        step(*next(batches))
    return STEPS * BATCH


@contextmanager
def _processor_time(names: tuple[str, ...]) -> Iterator[Callable[[int, Callable[[], int]], Callable[[], int]]]:
    """Print the ratios of processor seconds, of all threads, when the block ends."""
    spent: list[list[float]] = [[] for _ in names]

    def timed(which: int, work: Callable[[], int]) -> Callable[[], int]:
        def run() -> int:
            started_s = time.process_time()
            units = work()
            spent[which].append(time.process_time() - started_s)
            return units

        return run

    yield timed
    for name, other in zip(names[1:], spent[1:], strict=True):
        ratios = [b / a for a, b in zip(spent[0][1:], other[1:], strict=True)]
        print(f"  in processor time: {median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}] of {name}", flush=True)


def _side_px(material: Material) -> int:
    return material.bundle.contract.side_px


def _crops(material: Material) -> Iterator[CropResult]:
    contract, random = material.bundle.contract, np.random.default_rng(0)
    cutter = FaceCropper(contract.side_px, contract.min_face_px, contract.crop_scale)
    cut = [cutter(Entry("", "train", i % 2), data) for i, data in enumerate(material.pictures(material.some(PICTURES)))]
    found = [(crop, crop.pixels) for crop in cut if crop.pixels is not None]
    for i in range(max(2 * BATCH, material.some(CROPS))):
        crop, pixels = found[i % len(found)]
        grained = np.clip(pixels + random.normal(0, 3, pixels.shape), 0, 255).astype(np.uint8)
        yield replace(crop, entry=Entry(f"{i}.jpg", "train", crop.entry.label), pixels=grained)


def _as_files(crops: list[CropResult], folder: Path) -> Path:
    for crop in crops:
        file = folder / ("real", "fake")[crop.entry.label] / crop.entry.path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(crop.pixels)).save(file, quality=95)
    return folder
