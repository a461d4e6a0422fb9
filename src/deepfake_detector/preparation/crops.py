"""Crop requests and archives -> aligned face crops uint8 (side, side, 3), made on all cores by the code that serves.

Worker processes import this module: it loads neither pandas nor settings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.datasets.archive import Archive, Entry, ZipMember
from deepfake_detector.errors import ArchiveRejected, InputTooLarge, UnreadableImage
from deepfake_detector.media.face_alignment import crop_face, landmarks_in_crop
from deepfake_detector.media.face_detector import Face, FaceDetector
from deepfake_detector.media.image import decode_image, encode_jpeg
from deepfake_detector.parallel import process_map
from deepfake_detector.preparation.crop_requests import NO_FACE, CropRequest, Exclusion

if TYPE_CHECKING:
    from deepfake_detector.config import Prepare


@dataclass(frozen=True, eq=False)
class CropResult:
    """A crop with its landmarks, or the reason why a picture has none.

    Attributes:
        pixels: uint8 (side, side, 3) RGB.
        landmarks_px: float32 (5, 2), positions of eyes, nose and mouth corners in the crop.
        exclusion: set if, and only if, pixels and landmarks are None.
    """

    entry: Entry
    pixels: NDArray[np.uint8] | None = None
    landmarks_px: NDArray[np.float32] | None = None
    exclusion: Exclusion | None = None


class FaceCropper:
    """Bytes of a picture -> the crop of its largest face.

    Args:
        side_px: side of the crops.
        min_face_px: a picture whose largest face is smaller gives no crop, nor does a face that serving rejects.
        crop_scale: side of the crop over that of FFHQ's square.
        reencode: JPEG quality at which every picture is saved before it is cropped; 0: not saved again.
    """

    def __init__(self, side_px: int, min_face_px: int, crop_scale: float = 1.0, reencode: int = 0) -> None:
        self._side_px, self._min_face_px, self._crop_scale = side_px, min_face_px, crop_scale
        self._reencode = reencode
        self._detector = FaceDetector()

    def __call__(self, entry: Entry, data: bytes, face: Face | None = None) -> CropResult:
        """Crop one picture.

        Args:
            entry: where it comes from.
            data: the file.
            face: its largest face, if that is known; ignored when the picture is saved again before.
        """
        try:
            rgb = decode_image(data)
        except (UnreadableImage, InputTooLarge) as error:
            return CropResult(entry, exclusion=Exclusion("unreadable", error.message))
        if self._reencode:
            rgb, face = decode_image(encode_jpeg(rgb, self._reencode)), None
        largest = next(iter(self._detector.find(rgb)), None) if face is None else face
        if largest is None:
            return CropResult(entry, exclusion=NO_FACE)
        crop = crop_face(rgb, largest, self._side_px, self._min_face_px, self._crop_scale)
        if crop.pixels is None:
            return CropResult(entry, exclusion=Exclusion("unusable_face", crop.problem or ""))
        return CropResult(entry, crop.pixels, landmarks_in_crop(largest, self._side_px, self._crop_scale))


def crop_images(
    archive: Path, requests: Iterable[CropRequest], settings: Prepare, max_unpacked_bytes: int
) -> Iterator[CropResult]:
    """Crop many pictures on all cores, a few at a time in memory.

    Args:
        archive: a zip, or a folder of zips.
        requests: read as they are needed.
        settings: the section `prepare` of params.yaml.
        max_unpacked_bytes: see `Archive`.

    Yields:
        One result per request, in their order.

    Raises:
        ArchiveRejected: the archive is damaged, or holds another picture than the manifest describes.
    """
    options = (settings.side_px, settings.min_face_px, settings.crop_scale, settings.reencode)
    with Archive(archive, max_unpacked_bytes) as opened:
        work = ((request, opened.member(request.entry)) for request in requests)
        yield from process_map(partial(_crop_member, options), work)


@cache
def _cropper(options: tuple[int, int, float, int]) -> FaceCropper:
    """One per worker process: YuNet is compiled once."""
    return FaceCropper(*options)


def _crop_member(options: tuple[int, int, float, int], work: tuple[CropRequest, ZipMember]) -> CropResult:
    request, member = work
    if request.exclusion is not None:
        return CropResult(request.entry, exclusion=request.exclusion)
    data = member.read()
    if hashlib.sha256(data).hexdigest() != request.sha256:
        raise ArchiveRejected(
            f"{request.entry.path} is not the picture that was validated", "run `dvc repro`, which validates it first"
        )
    return _cropper(options)(request.entry, data, request.face)
