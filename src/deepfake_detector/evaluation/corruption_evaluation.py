"""Test pictures (encoded) -> the crops that serving would cut out of them in every condition, on all cores.

Worker processes import this module: it must load no TensorFlow, no pandas and no scikit-learn.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.datasets.archive import Archive, Entry, Place
from deepfake_detector.errors import BadInput
from deepfake_detector.evaluation.corruption_grid import ALL, CLEAN, Condition
from deepfake_detector.media.face_alignment import cut
from deepfake_detector.media.face_detector import Face, FaceDetector
from deepfake_detector.media.image import decode_image
from deepfake_detector.parallel import process_map

Pixels = NDArray[np.uint8]
MAX_FACES = 16  # as in scoring/detector.py: the largest of a picture are judged
# Sum of the luminance table that JPEG's annex K gives, which encoders call quality 50.
ANNEX_K_SUM = 3688


@dataclass(frozen=True)
class Road:
    """What serving does to every picture: how faces are cut out."""

    side_px: int
    min_face_px: int
    crop_scale: float
    seed: int


@dataclass(frozen=True, eq=False)
class Walked:
    """One picture at the end of the road.

    Attributes:
        crops: condition -> (faces, side, side, 3); no faces where none is fit to be judged.
        face_px: shorter side of the largest face of the picture as it is; 0 without one.
        jpeg_quality: 1 to 100 as its quantization table says; 0 if it is no JPEG.
    """

    entry: Entry
    crops: dict[str, Pixels]
    face_px: float
    jpeg_quality: int


def walk(
    archive: Path, max_unpacked_bytes: int, road: Road, pictures: Iterable[tuple[Entry, Sequence[str]]]
) -> Iterator[Walked]:
    """Degrade, find and cut, in the order given.

    Args:
        archive: a zip, or a folder of zips.
        max_unpacked_bytes: see `Archive`.
        road: what is done to all.
        pictures: each with the names of the conditions it is wanted in.
    """
    with Archive(archive, max_unpacked_bytes) as opened:
        yield from process_map(
            partial(walk_one, road), ((entry, opened.place(entry), names) for entry, names in pictures)
        )


def walk_one(road: Road, picture: tuple[Entry, Place, Sequence[str]]) -> Walked:
    """One picture in all conditions; one that cannot be read has no crops in any."""
    entry, place, names = picture
    data = place.read()
    nothing = np.zeros((0, road.side_px, road.side_px, 3), np.uint8)
    try:
        rgb = decode_image(data)
    except BadInput:
        return Walked(entry, dict.fromkeys(names, nothing), 0.0, 0)
    faces = _detector().find(rgb)
    crops = {}
    for condition in (ALL[name] for name in names):
        seen, found = (rgb, faces) if condition.change is CLEAN.change else _degraded(rgb, condition, road, entry)
        scale = road.crop_scale * condition.margin
        cuts = [cut(seen, face, road.side_px, road.min_face_px, scale).pixels for face in found[:MAX_FACES]]
        fit = [pixels for pixels in cuts if pixels is not None]
        crops[condition.name] = np.stack(fit) if fit else nothing
    return Walked(entry, crops, faces[0].side_px if faces else 0.0, jpeg_quality(data))


def jpeg_quality(data: bytes) -> int:
    """The quality, 1 to 100, whose scaled standard table has the sum of this file's; 0 if it is no JPEG."""
    with Image.open(io.BytesIO(data)) as picture:
        tables: dict[int, list[int]] = getattr(picture, "quantization", None) or {}
    if not tables:
        return 0
    percent = 100 * sum(tables[min(tables)]) / ANNEX_K_SUM
    quality = (200 - percent) / 2 if percent <= 100 else 5000 / percent
    return int(np.clip(round(quality), 1, 100))


def _degraded(rgb: Pixels, condition: Condition, road: Road, entry: Entry) -> tuple[Pixels, list[Face]]:
    seen = np.ascontiguousarray(condition(rgb, entry.path, road.seed))
    return seen, _detector().find(seen)


@cache
def _detector() -> FaceDetector:
    return FaceDetector()


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
