"""Pictures of an archive -> aligned face crops uint8 (side, side, 3), cut on all cores by the code that serves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.datasets.archive import Archive, Entry, Place
from deepfake_detector.errors import ArchiveRejected, InputTooLarge, UnreadableImage
from deepfake_detector.media.face_alignment import cut, place_in_crop
from deepfake_detector.media.face_detector import Face, FaceDetector
from deepfake_detector.media.image import decode_image, encode_jpeg
from deepfake_detector.parallel import process_map
from deepfake_detector.preparation.selection import NO_FACE, Wanted

if TYPE_CHECKING:
    from deepfake_detector.config import Prepare


@dataclass(frozen=True, eq=False)
class Crop:
    """What became of one picture: a crop, or the reason why there is none.

    Attributes:
        pixels: uint8 (side, side, 3) RGB; None if left out.
        reason: one clause for people; "" when there is a crop.
        why: the reason by a short name to count by: unreadable | faceless | unfit, or what `repairs` found.
        landmarks_px: float32 (5, 2), where eyes, nose and mouth corners lie in the crop; None if left out.
    """

    entry: Entry
    pixels: NDArray[np.uint8] | None
    reason: str
    why: str = ""
    landmarks_px: NDArray[np.float32] | None = None


class Cutter:
    """Bytes of a picture -> the crop of its largest face.

    Args:
        side_px: side of the crops.
        min_face_px: a picture whose largest face is smaller gives no crop, nor does a face that serving refuses.
        crop_scale: side of the square cut out over that of FFHQ's.
        reencode: JPEG quality that every picture is saved with before it is cut; 0: as it is.
    """

    def __init__(self, side_px: int, min_face_px: int, crop_scale: float = 1.0, reencode: int = 0) -> None:
        self._side_px, self._min_face_px, self._crop_scale = side_px, min_face_px, crop_scale
        self._reencode = reencode
        self._detector = FaceDetector()

    def __call__(self, entry: Entry, data: bytes, face: Face | None = None) -> Crop:
        """Cut one picture; the reason of an unreadable one is its error, that of an unfit face its problem.

        Args:
            entry: where it comes from.
            data: the file.
            face: its largest face, if that is known; it must have been found in this file, not saved anew.
        """
        try:
            rgb = decode_image(data)
        except (UnreadableImage, InputTooLarge) as error:
            return Crop(entry, None, error.message, "unreadable")
        if self._reencode:
            rgb, face = decode_image(encode_jpeg(rgb, self._reencode)), None
        largest = next(iter(self._detector.find(rgb)), None) if face is None else face
        if largest is None:
            return Crop(entry, None, NO_FACE, "faceless")
        found = cut(rgb, largest, self._side_px, self._min_face_px, self._crop_scale)
        if found.pixels is None:
            return Crop(entry, None, found.problem or "", "unfit")
        return Crop(entry, found.pixels, "", "", place_in_crop(largest, self._side_px, self._crop_scale))


def cut_crops(archive: Path, pictures: Iterable[Wanted], settings: Prepare, max_unpacked_bytes: int) -> Iterator[Crop]:
    """Cut many pictures on all cores, a few at a time in memory.

    Args:
        archive: a zip, or a folder of zips.
        pictures: in the order in which crops are wanted; read as they are needed.
        settings: the section `prepare` of params.yaml.
        max_unpacked_bytes: see `Archive`.

    Yields:
        One `Crop` per picture.

    Raises:
        ArchiveRejected: the archive is damaged, or holds another picture than the manifest describes.
    """
    how = (settings.side_px, settings.min_face_px, settings.crop_scale, settings.reencode)
    with Archive(archive, max_unpacked_bytes) as opened:
        yield from process_map(partial(_cut, how), ((picture, opened.place(picture.entry)) for picture in pictures))


@cache
def _cutter(how: tuple[int, int, float, int]) -> Cutter:
    """One per worker process: YuNet is built once."""
    return Cutter(*how)


def _cut(how: tuple[int, int, float, int], picture: tuple[Wanted, Place]) -> Crop:
    wanted, place = picture
    if wanted.left_out is not None:
        return Crop(wanted.entry, None, wanted.left_out.reason, wanted.left_out.why)
    data = place.read()
    if hashlib.sha256(data).hexdigest() != wanted.sha256:
        raise ArchiveRejected(
            f"{wanted.entry.path} is not the picture that was validated", "run `dvc repro`, which validates it first"
        )
    return _cutter(how)(wanted.entry, data, wanted.face)
