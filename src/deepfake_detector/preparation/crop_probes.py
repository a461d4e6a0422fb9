"""Shards -> leak probes of the training crops: do sharpness or compression history alone separate the classes?

`validate` asks the same of the files. What the network sees are crops: unchanged ones and copies with matched
degradation, which should have made both classes alike.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_detector.config import Validate
from deepfake_detector.media.texture_statistics import measure_texture
from deepfake_detector.preparation.shards import RecordReader, Shards
from deepfake_detector.validation.leak_probes import LeakProbe, probe_textures, sample_images

log = logging.getLogger(__name__)
SHARE_OF_A_SOURCE = 4  # intervals are then about +-0.035
_SEED = 20261129


def probe_training_crops(folder: Path, settings: Validate) -> list[dict[str, Any]]:
    """Measure unchanged crops and, if there are any, copies; a probe above its limit is logged as a warning.

    Args:
        folder: of shards, as `write_shards` leaves it.
        settings: `probe_images` of all sources together, a quarter of that in each source with both classes, equally
            many of each class; `max_sharpness_auc`.

    Returns:
        The fields of each `LeakProbe`: `unchanged sharpness`, `unchanged compression`, and the same with `matched`:
        over all sources, and in each that has both classes.
    """
    index = Shards.open(folder).index()
    crops = index[(index["split"] == "train") & (index["shard"] != "")].assign(error="")
    copies = crops[crops["copy"] > 0].sample(frac=1, random_state=_SEED).drop_duplicates("path")  # one of a picture
    probes: list[LeakProbe] = []
    with RecordReader(folder) as reader:
        for name, part in (("unchanged", crops[crops["copy"] == 0]), ("matched", copies)):
            for scope, rows in _samples(part, settings.probe_images):
                textures = _textures(reader, rows)
                probes += probe_textures(rows, textures, settings.max_sharpness_auc, f"{name} ", scope)
    for probe in probes:
        if not probe.passed:
            log.warning("probe %s: %s", probe.name, probe.reason)
    return [asdict(probe) for probe in probes]


def _samples(crops: pd.DataFrame, images: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """Suffix of the probes' names and rows, over all sources and in each that has both classes."""
    several = crops["source"].nunique() > 1
    if len(crops):
        yield " (all sources)" if several else "", sample_images(crops, images)
    for source, rows in crops.groupby("source") if several else ():
        if rows["label"].nunique() == 2:
            yield f" ({source})", sample_images(rows, images // SHARE_OF_A_SOURCE)


def _textures(reader: RecordReader, rows: pd.DataFrame) -> NDArray[np.float64]:
    """What `measure_texture` says about each crop, (n, 6)."""
    places = zip(rows["shard"], rows["offset"], strict=True)
    return np.stack([measure_texture(reader.read(shard, offset).pixels) for shard, offset in places])
