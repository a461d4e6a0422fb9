"""The comparisons of training: a step with its real input against one on cached tensors; bfloat16 against float32.

`python -m benchmarks.training_rows` runs these alone. The goal of the first is a ratio of at least 0.87: a step with
all augmentation takes at most 1.15 times as long as one whose input costs nothing. Beside the time on the clock each
row is told in processor time, which other work on the machine changes little.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.timing import Row, compare
from deepfake_detector.data.archives import Entry
from deepfake_detector.data.crops import Crop
from deepfake_detector.data.sample import draw_sample
from deepfake_detector.media.crop import align, place_in_crop
from deepfake_detector.media.face import FaceDetector
from deepfake_detector.media.image import decode_image
from deepfake_detector.settings import Train, read_settings
from deepfake_detector.workspace import Workspace
from pipelines.stage import quietly, run_stage

SIDE_PX, BATCH, STEPS, RUNS = 128, 64, 8, 7
DRAWN, CROPS = 24, 512  # pictures, each of them several times: how long a codec takes depends on what it is given
BLEND = 0.3


def training_rows(workspace: Workspace) -> Iterator[Row]:
    """Every row, one after another, with the present `train` settings but for `augment` and `blend`."""
    with quietly():
        from deepfake_detector.data.shards import Shards, write_shards
        from deepfake_detector.model.training import fastest_precision
    how = replace(read_settings(workspace.params).train, augment="traffic", blend=BLEND, batch_size=BATCH)
    fast = fastest_precision()
    with TemporaryDirectory() as folder:
        write_shards(_crops(), Path(folder), SIDE_PX, 2**30, {"": "synthetic"})
        shards = Shards.open(Path(folder))
        yield _input(how, shards, fast)
        if fast != "float32":
            yield _precision(how, shards)


def _input(how: Train, shards: Any, precision: str) -> Row:
    """One network, fed in turn by the real input and from memory; the real one starts with nothing in store."""
    step = _step(how, precision)
    real = iter(_batches(how, shards)(0))
    cached = cycle([next(real) for _ in range(4)])

    def ours() -> int:
        for _ in range(2):
            next(real)  # made while the other way was timed
        return _timed(step, real)

    names = (f"traffic, blend {BLEND}, {precision}", "cached tensors")
    with _processor_time(names) as timed:
        return compare(
            "a training step, input included", (names[0], timed(0, ours)),
            (names[1], timed(1, lambda: _timed(step, cached))), "crops", RUNS,
        )  # fmt: skip


def _precision(how: Train, shards: Any) -> Row:
    batches = list(_batches(how, shards)(0).take(4))
    names = ("mixed_bfloat16", "float32")
    steps = [_step(how, name) for name in names]
    fed = [cycle(batches) for _ in names]
    with _processor_time(names) as timed:
        ways = [(name, timed(i, lambda i=i: _timed(steps[i], fed[i]))) for i, name in enumerate(names)]
        return compare("a training step, cached tensors", ways[0], ways[1], "crops", RUNS)


def _batches(how: Train, shards: Any) -> Callable[[int], Any]:
    from deepfake_detector.data.batches import training_batches
    from pipelines.training_run import changes

    kinds, change, _ = changes(how, shards.kinds)
    return training_batches(shards, how.batch_size, how.seed, kinds, change)


def _step(how: Train, precision: str) -> Callable[[Any, Any], None]:
    """A network as `model.training` builds it, and one step of it."""
    import keras

    from deepfake_detector.model.network import build_network, by_kind
    from deepfake_detector.model.objective import kinds_loss, metrics, optimizer

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    model = by_kind(build_network(how.network, SIDE_PX, how.dropout, fused=True, kinds=2))
    keras.config.set_dtype_policy(before)
    model.compile(optimizer=optimizer(how, 100), loss=kinds_loss, metrics=metrics())
    return lambda crops, classes: model.train_on_batch(crops, classes)


def _timed(step: Callable[[Any, Any], None], batches: Iterator[Any]) -> int:
    for _ in range(STEPS):
        step(*next(batches))
    return STEPS * BATCH


@contextmanager
def _processor_time(names: tuple[str, str]) -> Iterator[Callable[[int, Callable[[], int]], Callable[[], int]]]:
    """Print the ratio of processor seconds, of all threads, when the block ends."""
    spent: tuple[list[float], list[float]] = ([], [])

    def timed(which: int, work: Callable[[], int]) -> Callable[[], int]:
        def run() -> int:
            started_s = time.process_time()
            units = work()
            spent[which].append(time.process_time() - started_s)
            return units

        return run

    yield timed
    ratios = [ours / other for ours, other in zip(spent[0][1:], spent[1][1:], strict=True)]
    print(f"processor time, {names[0]} over {names[1]}: {median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}")


def _crops() -> Iterator[Crop]:
    found = []
    finder, random = FaceDetector(), np.random.default_rng(0)
    for i in range(DRAWN):
        rgb = decode_image(draw_sample(3, "train", ("real", "fake")[i % 2], i))
        face = finder.find(rgb)[0]
        found.append((align(rgb, face, SIDE_PX, 0.6), place_in_crop(face, SIDE_PX, 0.6)))
    for i in range(CROPS):
        pixels, landmarks = found[i % DRAWN]
        grain = random.normal(0, 3, pixels.shape)
        grained = np.clip(pixels + grain, 0, 255).astype(np.uint8)
        yield Crop(Entry(f"{i}.jpg", "train", i % 2), grained, "", landmarks_px=landmarks)


def main() -> None:
    """Print the rows."""
    for row in training_rows(Workspace().enter()):
        print(
            f"{row.name}: {row.ours} {row.ours_per_s:.0f} {row.unit}/s, {row.other} {row.other_per_s:.0f}; "
            f"ratio {row.ratio:.3f} ({row.spread[0]:.3f} to {row.spread[1]:.3f})", flush=True,
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(run_stage(main))
