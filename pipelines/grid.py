"""Test pictures and a bundle's engine -> how serving scores each of them, as it is and in every condition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_detector.data.archives import Entry
from pipelines.conditions import ALL, CLEAN
from pipelines.walk import Walked

Score = Callable[[NDArray[np.uint8]], NDArray[np.float64]]  # crops (n, side, side, 3) -> p_fake (n,)
JUDGEABLE = ("", "faceless", "unfit", "unreadable")  # why a picture gave no crop; others were left out on purpose
AT_ONCE = 8  # pictures scored in one call: two hundred crops


def pictures_to_judge(manifest: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    """Rows of the manifest that are tested: the test split without what `prepare` was told to leave out.

    Args:
        manifest: see `data.manifest.Row`.
        index: of the shards: path, why, ...
    """
    kept = set(index.loc[index["why"].isin(JUDGEABLE), "path"])
    return manifest[(manifest["split"] == "test") & manifest["path"].isin(kept)].sort_values("path")


def choose(pictures: pd.DataFrame, per_source: int, seed: int) -> frozenset[str]:
    """Paths of at most `per_source` pictures of each source, half of each class; 0 takes all."""
    if per_source == 0:
        return frozenset(pictures["path"])
    groups = pictures.sort_values("path").groupby(["source", "label"])
    chosen = [rows.sample(min(len(rows), -(-per_source // 2)), random_state=seed) for _, rows in groups]
    return frozenset(path for rows in chosen for path in rows["path"])


def wishes(pictures: pd.DataFrame, chosen: frozenset[str]) -> list[tuple[Entry, tuple[str, ...]]]:
    """Every picture as it is, and the chosen ones in all conditions as well.

    Args:
        pictures: rows of the manifest.
        chosen: paths of those that are degraded.
    """
    columns = pictures[["path", "split", "label", "group", "source"]]
    entries = [Entry(*row) for row in columns.itertuples(index=False)]
    return [(entry, tuple(ALL) if entry.path in chosen else (CLEAN.name,)) for entry in entries]


def score_road(walked: Iterable[Walked], score: Score) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score what came of every picture; as in serving, a picture counts by its most suspicious face.

    Args:
        walked: pictures at the end of the road.
        score: of the calibrated engine.

    Returns:
        A row per picture and condition (path, source, label, condition, family, level, p_fake, NaN if not judged), in
        the order of the conditions; and a row per picture (path, face_px, jpeg_quality).
    """
    progress = iter(walked)
    scores: list[dict[str, Any]] = []
    facts: list[tuple[str, float, int]] = []
    while some := list(islice(progress, AT_ONCE)):
        scores += _scored(some, score)
        facts += [(each.entry.path, each.face_px, each.jpeg_quality) for each in some]
    table = pd.DataFrame(scores)
    order = table["condition"].map({name: i for i, name in enumerate(ALL)})
    table = table.assign(order=order).sort_values(["order", "path"], kind="stable").drop(columns="order")
    return table.reset_index(drop=True), pd.DataFrame(facts, columns=["path", "face_px", "jpeg_quality"])


def _scored(some: Sequence[Walked], score: Score) -> list[dict[str, Any]]:
    stacks = [(each.entry, name, crops) for each in some for name, crops in each.crops.items()]
    p_fake = iter(score(np.concatenate([crops for _, _, crops in stacks])))
    return [
        {
            "path": entry.path,
            "source": entry.source,
            "label": entry.label,
            "condition": name,
            "family": ALL[name].family,
            "level": ALL[name].level,
            "p_fake": _most_suspicious(p_fake, len(crops)),
        }
        for entry, name, crops in stacks
    ]


def _most_suspicious(p_fake: Iterator[np.float64], faces: int) -> float:
    return max((float(next(p_fake)) for _ in range(faces)), default=float("nan"))
