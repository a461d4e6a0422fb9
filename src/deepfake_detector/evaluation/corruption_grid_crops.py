"""Encoded test pictures -> face crops, uint8 (faces, side, side, 3), under every condition of the grid, on all cores.

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

from deepfake_detector.datasets.archive import Archive, Entry
from deepfake_detector.datasets.safe_zip import ZipMember
from deepfake_detector.errors import BadInput
from deepfake_detector.evaluation.corruption_grid import CLEAN, CONDITIONS, Condition
from deepfake_detector.media.face_alignment import crop_face
from deepfake_detector.media.face_detector import Face, FaceDetector
from deepfake_detector.media.image import decode_image
from deepfake_detector.media.image_stats import ImageStats, measure_image
from deepfake_detector.parallel import process_map

Pixels = NDArray[np.uint8]
MAX_FACES = 16  # as in inference/detector.py: the largest faces of a picture are scored
# Sum of the luminance table in annex K of the JPEG standard, which encoders call quality 50.
ANNEX_K_SUM = 3688


@dataclass(frozen=True)
class GridCropSpec:
    """How serving crops faces, and the seed of the random corruptions."""

    side_px: int
    min_face_px: int
    crop_scale: float
    seed: int


@dataclass(frozen=True, eq=False)
class CorruptedCrops:
    """The faces of one picture under several conditions.

    Attributes:
        crops: condition -> (faces, side, side, 3); no faces where none can be scored.
        face_px: shorter side of the largest face of the clean picture; 0 without a face.
        jpeg_quality: 1 to 100, estimated from the quantization table; 0 if it is no JPEG.
        faces: detected in the clean picture; None if it cannot be read.
        stats: of the largest face's clean crop, as the prediction log has them; None without such a crop.
    """

    entry: Entry
    crops: dict[str, Pixels]
    face_px: float
    jpeg_quality: int
    faces: int | None
    stats: ImageStats | None


def crop_grid(
    archive: Path, max_unpacked_bytes: int, spec: GridCropSpec, pictures: Iterable[tuple[Entry, Sequence[str]]]
) -> Iterator[CorruptedCrops]:
    """Corrupt pictures, detect and crop their faces; results come in the order given.

    Args:
        archive: a zip, or a folder of zips.
        max_unpacked_bytes: see `Archive`.
        spec: the same for all pictures.
        pictures: each with the names of its conditions.
    """
    with Archive(archive, max_unpacked_bytes) as opened:
        yield from process_map(
            partial(crop_picture, spec), ((entry, opened.member(entry), names) for entry, names in pictures)
        )


def crop_picture(spec: GridCropSpec, picture: tuple[Entry, ZipMember, Sequence[str]]) -> CorruptedCrops:
    """One picture under its conditions; an unreadable picture has no crops."""
    entry, member, names = picture
    data = member.read()
    no_crops = np.zeros((0, spec.side_px, spec.side_px, 3), np.uint8)
    try:
        clean = decode_image(data)
    except BadInput:
        return CorruptedCrops(entry, dict.fromkeys(names, no_crops), 0.0, 0, None, None)
    clean_faces = _detector().find(clean)
    crops, stats = {}, None
    for condition in (CONDITIONS[name] for name in names):
        rgb, faces = clean, clean_faces
        if condition.corrupt is not CLEAN.corrupt:
            rgb, faces = _corrupt_and_detect(clean, condition, entry, spec.seed)
        scale = spec.crop_scale * condition.margin
        cropped = [crop_face(rgb, face, spec.side_px, spec.min_face_px, scale).pixels for face in faces[:MAX_FACES]]
        if condition.name == CLEAN.name and cropped and cropped[0] is not None:
            stats = measure_image(cropped[0])
        usable = [pixels for pixels in cropped if pixels is not None]
        crops[condition.name] = np.stack(usable) if usable else no_crops
    face_px = clean_faces[0].side_px if clean_faces else 0.0
    return CorruptedCrops(entry, crops, face_px, jpeg_quality(data), len(clean_faces), stats)


def jpeg_quality(data: bytes) -> int:
    """The quality, 1 to 100, whose scaled standard table has the same sum as this file's; 0 if it is no JPEG."""
    with Image.open(io.BytesIO(data)) as picture:
        tables: dict[int, list[int]] = getattr(picture, "quantization", None) or {}
    if not tables:
        return 0
    percent = 100 * sum(tables[min(tables)]) / ANNEX_K_SUM
    quality = (200 - percent) / 2 if percent <= 100 else 5000 / percent
    return int(np.clip(round(quality), 1, 100))


def _corrupt_and_detect(clean: Pixels, condition: Condition, entry: Entry, seed: int) -> tuple[Pixels, list[Face]]:
    rgb = np.ascontiguousarray(condition(clean, entry.path, seed))
    return rgb, _detector().find(rgb)


@cache
def _detector() -> FaceDetector:
    return FaceDetector()
