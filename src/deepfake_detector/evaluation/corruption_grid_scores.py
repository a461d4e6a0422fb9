"""Test pictures and a scorer -> p_fake per picture and condition, as serving would score the whole pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detector.datasets.archive import Entry
from deepfake_detector.evaluation.corruption_grid import CLEAN, CONDITIONS, RECOMPRESSED
from deepfake_detector.evaluation.corruption_grid_crops import CorruptedCrops
from deepfake_detector.evaluation.metrics import CropScorer
from deepfake_detector.media.image_stats import ImageStats

SCORABLE = ("", "faceless", "unusable_face", "unreadable")  # exclusions; all other codes were chosen on purpose
STATISTICS = tuple(field.name for field in fields(ImageStats))
PICTURES_PER_BATCH = 8  # scored in one call: two hundred crops


@dataclass(frozen=True, eq=False)
class GridScores:
    """Scores of whole test pictures under the conditions of the grid."""

    scores: pd.DataFrame  # a row per picture and condition, see `score_grid`
    pictures: pd.DataFrame  # a row per picture, see `score_grid`
    sampled: frozenset[str]  # paths of the pictures that were corrupted

    @property
    def grid(self) -> pd.DataFrame:
        """Rows of the sampled pictures under all conditions of the grid, which leaves the probe's out."""
        return self.scores[self.scores["path"].isin(self.sampled) & (self.scores["condition"] != RECOMPRESSED.name)]

    def under(self, condition: str) -> pd.DataFrame:
        """Rows of one condition, indexed by path."""
        return self.scores[self.scores["condition"] == condition].set_index("path")


def scorable_pictures(manifest: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    """Rows of the test split, without the pictures that `prepare` excluded on purpose.

    Args:
        manifest: see `validation.manifest`.
        index: of the shards: path, code of the exclusion, ...
    """
    kept = set(index.loc[index["code"].isin(SCORABLE), "path"])
    return manifest[(manifest["split"] == "test") & manifest["path"].isin(kept)].sort_values("path")


def sample_pictures(pictures: pd.DataFrame, per_source: int, seed: int) -> frozenset[str]:
    """Paths of at most `per_source` pictures of each source, half of each class; 0 takes all."""
    if per_source == 0:
        return frozenset(pictures["path"])
    groups = pictures.sort_values("path").groupby(["source", "label"])
    samples = [rows.sample(min(len(rows), -(-per_source // 2)), random_state=seed) for _, rows in groups]
    return frozenset(path for rows in samples for path in rows["path"])


def conditions_per_picture(pictures: pd.DataFrame, sampled: frozenset[str]) -> list[tuple[Entry, tuple[str, ...]]]:
    """Every picture with the names of its conditions: all of them if it was sampled, else only `clean`.

    Args:
        pictures: rows of the manifest.
        sampled: paths of those that are corrupted.
    """
    columns = pictures[["path", "split", "label", "group", "source"]]
    entries = [Entry(*row) for row in columns.itertuples(index=False)]
    return [(entry, tuple(CONDITIONS) if entry.path in sampled else (CLEAN.name,)) for entry in entries]


def score_grid(pictures: Iterable[CorruptedCrops], score: CropScorer) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score the crops; as in serving, a picture has the score of its highest-scoring face.

    Args:
        pictures: with their crops.
        score: of the calibrated engine.

    Returns:
        A row per picture and condition (path, source, label, condition, family, level, p_fake; NaN without a scorable
        face), in the order of the conditions; and a row per picture (path, face_px, jpeg_quality; faces, NaN for an
        unreadable picture; brightness, contrast and sharpness of the largest face's crop, NaN without one).
    """
    remaining = iter(pictures)
    scores: list[dict[str, Any]] = []
    properties: list[dict[str, Any]] = []
    while batch := list(islice(remaining, PICTURES_PER_BATCH)):
        scores += _score_batch(batch, score)
        properties += map(_properties, batch)
    table = pd.DataFrame(scores)
    order = table["condition"].map({name: i for i, name in enumerate(CONDITIONS)})
    table = table.assign(order=order).sort_values(["order", "path"], kind="stable").drop(columns="order")
    return table.reset_index(drop=True), pd.DataFrame(properties)


def _properties(each: CorruptedCrops) -> dict[str, Any]:
    nan = float("nan")
    stats = dict.fromkeys(STATISTICS, nan) if each.stats is None else asdict(each.stats)
    faces = nan if each.faces is None else float(each.faces)
    return {
        "path": each.entry.path, "face_px": each.face_px, "jpeg_quality": each.jpeg_quality, "faces": faces, **stats,
    }  # fmt: skip


def _score_batch(batch: Sequence[CorruptedCrops], score: CropScorer) -> list[dict[str, Any]]:
    stacks = [(each.entry, name, crops) for each in batch for name, crops in each.crops.items()]
    p_fake = iter(score(np.concatenate([crops for _, _, crops in stacks])))
    return [
        {
            "path": entry.path,
            "source": entry.source,
            "label": entry.label,
            "condition": name,
            "family": CONDITIONS[name].family,
            "level": CONDITIONS[name].level,
            "p_fake": _highest(p_fake, len(crops)),
        }
        for entry, name, crops in stacks
    ]


def _highest(p_fake: Iterator[np.float64], faces: int) -> float:
    return max((float(next(p_fake)) for _ in range(faces)), default=float("nan"))
