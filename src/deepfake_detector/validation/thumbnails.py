"""Pictures of an archive -> grey thumbnails uint8 (n, 32, 32), so small that only layout and light remain; textures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from deepfake_detector.datasets.raw_folder import RawPictures
from deepfake_detector.media.image import decode_image
from deepfake_detector.media.texture_statistics import STATISTICS, measure_texture
from deepfake_detector.parallel import available_cores, thread_map

Result = TypeVar("Result")

SIDE_PX = 32
_BORDER_PX = 4  # the outer eighth: in a portrait, the background. 448 of 1,024 pixels
_CENTRE_PX = 20  # the middle: eyes, nose and mouth. 400 of 1,024 pixels, about as many as the border


def read_thumbnails(archive: Path, paths: Sequence[str], max_unpacked_bytes: int) -> NDArray[np.uint8]:
    """Decode and shrink pictures, on all cores; only the thumbnails stay in memory.

    Args:
        archive: the zip that holds them, or data/raw.
        paths: (n,) of readable pictures inside it.
        max_unpacked_bytes: see `RawPictures`.

    Returns:
        uint8 (n, 32, 32) grey, in the order of `paths`; pictures that are not square are distorted.

    Raises:
        ArchiveRejected: a path is not in the archive, or the archive is damaged.
        UnreadableImage, InputTooLarge: a picture cannot be decoded.
    """
    thumbnails = np.empty((len(paths), SIDE_PX, SIDE_PX), np.uint8)
    for i, small in enumerate(_map_pictures(thumbnail, archive, paths, max_unpacked_bytes)):
        thumbnails[i] = small
    return thumbnails


def read_thumbnails_and_textures(
    archive: Path, paths: Sequence[str], max_unpacked_bytes: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The same, and what `measure_texture` says about each picture: (n, 6)."""

    def measure(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        return thumbnail(rgb), measure_texture(rgb)

    thumbnails, textures = np.empty((len(paths), SIDE_PX, SIDE_PX), np.uint8), np.empty((len(paths), len(STATISTICS)))
    for i, (small, texture) in enumerate(_map_pictures(measure, archive, paths, max_unpacked_bytes)):
        thumbnails[i], textures[i] = small, texture
    return thumbnails, textures


def _map_pictures(
    function: Callable[[NDArray[np.uint8]], Result], archive: Path, paths: Sequence[str], max_unpacked_bytes: int
) -> Iterator[Result]:
    """What a function says about each picture, in the order of `paths`; a few pictures are in memory at a time."""
    with RawPictures(archive, max_unpacked_bytes) as pictures:

        def measure(path: str) -> Result:
            return function(decode_image(pictures.member(path).read()))

        # Threads are enough: inflating, decoding and shrinking release the GIL.
        measured = thread_map(measure, paths, available_cores())
        yield from tqdm(measured, total=len(paths), desc="probing", unit="img", mininterval=1)


def thumbnail(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink one picture, uint8 (h, w, 3), to grey (32, 32), each pixel the mean of its area."""
    grey = Image.fromarray(rgb).convert("L")
    return np.asarray(grey.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX))


def border(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The outer four pixels of thumbnails (n, 32, 32): (n, 448)."""
    mask = np.ones((SIDE_PX, SIDE_PX), np.bool_)
    mask[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX] = False
    return thumbnails[:, mask]


def centre(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of thumbnails (n, 32, 32): (n, 400)."""
    edge_px = (SIDE_PX - _CENTRE_PX) // 2
    return thumbnails[:, edge_px:-edge_px, edge_px:-edge_px].reshape(len(thumbnails), -1)
