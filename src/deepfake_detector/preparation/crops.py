"""Crop requests and archives -> aligned face crops uint8 (side, side, 3), made on all cores by the code that serves.

Worker processes import this module: it loads neither pandas nor settings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.datasets.archive import Entry
from deepfake_detector.datasets.raw_folder import RawPictures
from deepfake_detector.datasets.safe_zip import ZipMember
from deepfake_detector.errors import ArchiveRejected, InputTooLarge, UnreadableImage
from deepfake_detector.media.face_alignment import crop_face, landmarks_in_crop
from deepfake_detector.media.face_detector import Face, FaceDetector
from deepfake_detector.media.image import decode_image, encode_jpeg
from deepfake_detector.media.matched_degradation import match_degradation, same_face
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
        copies: crops of copies 1, 2, ... of the same picture with matched degradation, without copies of their own.
    """

    entry: Entry
    pixels: NDArray[np.uint8] | None = None
    landmarks_px: NDArray[np.float32] | None = None
    exclusion: Exclusion | None = None
    copies: tuple[CropResult, ...] = ()


class CropOptions(NamedTuple):
    """Arguments of `FaceCropper`."""

    side_px: int
    min_face_px: int
    crop_scale: float
    reencode: int
    matched_copies: int
    seed: int


class FaceCropper:
    """Bytes of a picture -> the crop of its largest face.

    Args:
        side_px: side of the crops.
        min_face_px: a picture whose largest face is smaller gives no crop, nor does a face that serving rejects.
        crop_scale: side of the crop over that of FFHQ's square.
        reencode: JPEG quality at which every picture is saved before it is cropped; 0: not saved again.
        matched_copies: of each training picture, see `match_degradation`.
        seed: of the copies; each depends on it, the picture's path and the copy's number alone.
    """

    def __init__(
        self,
        side_px: int,
        min_face_px: int,
        crop_scale: float = 1.0,
        reencode: int = 0,
        matched_copies: int = 0,
        seed: int = 0,
    ) -> None:
        self._side_px, self._min_face_px, self._crop_scale = side_px, min_face_px, crop_scale
        self._reencode, self._matched_copies, self._seed = reencode, matched_copies, seed
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
        result = self._crop(entry, rgb, largest, self._min_face_px)
        if result.pixels is None or entry.split != "train":
            return result
        copies = (self._copy(entry, rgb, largest, number) for number in range(1, self._matched_copies + 1))
        return replace(result, copies=tuple(copies))

    def _crop(self, entry: Entry, rgb: NDArray[np.uint8], face: Face, min_face_px: int) -> CropResult:
        crop = crop_face(rgb, face, self._side_px, min_face_px, self._crop_scale)
        if crop.pixels is None:
            return CropResult(entry, exclusion=Exclusion("unusable_face", crop.problem or ""))
        return CropResult(entry, crop.pixels, landmarks_in_crop(face, self._side_px, self._crop_scale))

    def _copy(self, entry: Entry, rgb: NDArray[np.uint8], face: Face, number: int) -> CropResult:
        """Copy `number`; its face may be smaller than serving accepts: detail is what it lacks, as in a poor file."""
        path_hash = int.from_bytes(hashlib.sha256(entry.path.encode()).digest()[:8])
        rng = np.random.default_rng([self._seed, number, path_hash])
        region, expected = match_degradation(rgb, face, rng)
        # A search of the turned image, for faces less sure than usual, would take twice the time for most copies.
        found = same_face(self._detector.find_upright(region), expected)
        found = found or same_face(self._detector.find(region), expected)  # the picture may show its face turned
        return CropResult(entry, exclusion=NO_FACE) if found is None else self._crop(entry, region, found, 0)


def crop_images(
    archive: Path, requests: Iterable[CropRequest], settings: Prepare, max_unpacked_bytes: int
) -> Iterator[CropResult]:
    """Crop many pictures on all cores, a few at a time in memory.

    Args:
        archive: a zip, or data/raw.
        requests: read as they are needed.
        settings: the section `prepare` of params.yaml.
        max_unpacked_bytes: see `RawPictures`.

    Yields:
        One result per request, in their order.

    Raises:
        ArchiveRejected: the archive is damaged, or holds another picture than the manifest describes.
    """
    options = CropOptions(
        settings.side_px,
        settings.min_face_px,
        settings.crop_scale,
        settings.reencode,
        settings.matched_copies,
        settings.seed,
    )
    with RawPictures(archive, max_unpacked_bytes) as pictures:
        work = ((request, pictures.member(request.entry.path)) for request in requests)
        yield from process_map(partial(_crop_member, options), work)


@cache
def _cropper(options: CropOptions) -> FaceCropper:
    """One per worker process: YuNet is compiled once."""
    return FaceCropper(*options)


def _crop_member(options: CropOptions, work: tuple[CropRequest, ZipMember]) -> CropResult:
    request, member = work
    if request.exclusion is not None:
        return CropResult(request.entry, exclusion=request.exclusion)
    data = member.read()
    if hashlib.sha256(data).hexdigest() != request.sha256:
        raise ArchiveRejected(
            f"{request.entry.path} is not the picture that was validated", "run `dvc repro`, which validates it first"
        )
    return _cropper(options)(request.entry, data, request.face)
