"""Pictures of an archive -> aligned face crops uint8 (side, side, 3), cut on all cores by the code that serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_detector.data.archives import Archive, Entry
from deepfake_detector.data.repairs import LeftOut
from deepfake_detector.data.stream import in_order
from deepfake_detector.errors import BadInput
from deepfake_detector.media.crop import cut
from deepfake_detector.media.face import FaceDetector
from deepfake_detector.media.image import decode_image, encode_jpeg
from deepfake_detector.settings import Prepare


@dataclass(frozen=True, eq=False)
class Crop:
    """What became of one picture: a crop, or the reason why there is none.

    Attributes:
        pixels: uint8 (side, side, 3) RGB; None if left out.
        reason: one clause for people; "" when there is a crop.
        why: the reason by a short name to count by: unreadable | faceless | unfit, or what `repairs` found.
    """

    entry: Entry
    pixels: NDArray[np.uint8] | None
    reason: str
    why: str = ""


class Cutter:
    """Bytes of a picture -> the crop of its largest face.

    Args:
        archive: an open archive.
        side_px: side of the crops.
        min_face_px: a picture whose largest face is smaller gives no crop, nor does a face that serving refuses.
        reencode: JPEG quality that every picture is saved with before it is cut; 0: as it is.
    """

    def __init__(self, archive: Archive, side_px: int, min_face_px: int, reencode: int = 0) -> None:
        self._archive, self._side_px, self._min_face_px = archive, side_px, min_face_px
        self._reencode = reencode
        self._detector = FaceDetector()

    def __call__(self, entry: Entry) -> Crop:
        """Cut one picture; the reason of an unreadable one is its error, that of an unfit face its problem."""
        try:
            rgb = decode_image(self._archive.read(entry))
        except BadInput as error:
            return Crop(entry, None, error.message, "unreadable")
        if self._reencode:
            rgb = decode_image(encode_jpeg(rgb, self._reencode))
        faces = self._detector.find(rgb)
        if not faces:
            return Crop(entry, None, "no face found", "faceless")
        largest = cut(rgb, faces[0], self._side_px, self._min_face_px)
        return Crop(entry, largest.pixels, largest.problem or "", "unfit" if largest.problem else "")


def in_random_order(manifest: pd.DataFrame, seed: int) -> list[Entry]:
    """Entries of a manifest, shuffled by `seed`, so that neighbours in a shard are of both classes."""
    rows = manifest.sort_values("path").sample(frac=1.0, random_state=seed)
    return [Entry(*row) for row in rows[["path", "split", "label", "group", "source"]].itertuples(index=False)]


def cut_crops(
    archive: Path, entries: Sequence[Entry], settings: Prepare, left_out: Mapping[str, LeftOut], max_unpacked_bytes: int
) -> Iterator[Crop]:
    """Cut many pictures on all cores, a few at a time in memory.

    Args:
        archive: a zip, or a folder of zips.
        entries: the pictures, in the order in which crops are wanted.
        settings: the section `prepare` of params.yaml.
        left_out: path -> why it is not cut at all; such pictures come first.
        max_unpacked_bytes: see `Archive`.

    Yields:
        One `Crop` per entry.
    """
    for entry in entries:
        if entry.path in left_out:
            yield Crop(entry, None, left_out[entry.path].reason, left_out[entry.path].why)
    how = (settings.side_px, settings.min_face_px, settings.reencode)
    wanted = (entry for entry in entries if entry.path not in left_out)
    yield from in_order(partial(_cut, archive, max_unpacked_bytes, how), wanted)


@cache
def _cutter(archive: Path, max_unpacked_bytes: int, how: tuple[int, int, int]) -> Cutter:
    """One per worker process: tables of contents are long, and YuNet is built once."""
    return Cutter(Archive(archive, max_unpacked_bytes), *how)


def _cut(archive: Path, max_unpacked_bytes: int, how: tuple[int, int, int], entry: Entry) -> Crop:
    return _cutter(archive, max_unpacked_bytes, how)(entry)
