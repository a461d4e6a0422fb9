"""Pictures of an archive -> aligned face crops uint8 (side, side, 3), cut on all cores by the code that serves."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_detector.data.archives import Archive, Entry
from deepfake_detector.errors import BadInput
from deepfake_detector.media.crop import cut
from deepfake_detector.media.face import FaceDetector
from deepfake_detector.media.image import decode_image


@dataclass(frozen=True, eq=False)
class Crop:
    """What became of one picture: a crop, or the reason why there is none."""

    entry: Entry
    pixels: NDArray[np.uint8] | None  # (side, side, 3) RGB
    reason: str  # "" when there is a crop


class Cutter:
    """Bytes of a picture -> the crop of its largest face.

    Args:
        archive: an open archive.
        side_px: side of the crops.
        min_face_px: a picture whose largest face is smaller gives no crop, nor does a face that serving refuses.
    """

    def __init__(self, archive: Archive, side_px: int, min_face_px: int) -> None:
        self._archive, self._side_px, self._min_face_px = archive, side_px, min_face_px
        self._detector = FaceDetector()

    def __call__(self, entry: Entry) -> Crop:
        """Cut one picture; the reason of an unreadable one is its error, that of an unfit face its problem."""
        try:
            rgb = decode_image(self._archive.read(entry))
        except BadInput as error:
            return Crop(entry, None, error.message)
        faces = self._detector.find(rgb)
        if not faces:
            return Crop(entry, None, "no face found")
        largest = cut(rgb, faces[0], self._side_px, self._min_face_px)
        return Crop(entry, largest.pixels, largest.problem or "")


def in_random_order(manifest: pd.DataFrame, seed: int) -> list[Entry]:
    """Entries of a manifest, shuffled by `seed`, so that neighbours in a shard are of both classes."""
    rows = manifest.sort_values("path").sample(frac=1.0, random_state=seed)
    return [Entry(*row) for row in rows[["path", "split", "label"]].itertuples(index=False)]


@contextmanager
def cut_crops(
    archive: Path, entries: Sequence[Entry], side_px: int, min_face_px: int, max_unpacked_bytes: int
) -> Iterator[Iterator[Crop]]:
    """Cut many pictures on all cores, in the order given.

    Yields:
        An iterator with one `Crop` per entry. Leaving the block ends the worker processes.
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy TensorFlow's threads half-alive
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    arguments = (archive, side_px, min_face_px, max_unpacked_bytes)
    with context.Pool(workers, initializer=_open_cutter, initargs=arguments) as pool:
        yield pool.imap(_cut, entries, chunksize=16)


_cutters: list[Cutter] = []  # one per worker process, made once by its initializer


def _open_cutter(archive: Path, side_px: int, min_face_px: int, max_unpacked_bytes: int) -> None:
    _cutters.append(Cutter(Archive(archive, max_unpacked_bytes), side_px, min_face_px))


def _cut(entry: Entry) -> Crop:
    return _cutters[-1](entry)
