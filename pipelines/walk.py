"""Test pictures (encoded) -> the crops that serving would cut out of them in every condition, on all cores.

Worker processes import this module: it must load no TensorFlow, no pandas and no scikit-learn.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.data.archives import Archive, Entry
from deepfake_detector.data.place import Place
from deepfake_detector.data.stream import in_order
from deepfake_detector.errors import BadInput
from deepfake_detector.media.crop import cut
from deepfake_detector.media.face import Face, FaceDetector
from deepfake_detector.media.image import decode_image
from pipelines.conditions import ALL, CLEAN, Condition

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
        yield from in_order(partial(walk_one, road), ((entry, opened.place(entry), names) for entry, names in pictures))


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
