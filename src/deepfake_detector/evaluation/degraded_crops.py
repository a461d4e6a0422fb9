"""Held-out pictures -> their crops (draws, n, side, side, 3) after websites and phones have had the whole pictures.

In use a picture is saved, shrunk and blurred first, and its face is cut out afterwards. Cutting turns and interpolates,
so what is left does not look like a crop that was worn after cutting: with thresholds set on such crops, noise of two
grey levels made ten times as many false alarms on pictures (validation split). Worker processes import this module: it
must load no TensorFlow and no pandas.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from deepfake_detector.datasets.archive import Archive, Place
from deepfake_detector.media.augmentation import as_traffic
from deepfake_detector.media.face_alignment import align
from deepfake_detector.media.face_detector import Face
from deepfake_detector.media.image import decode_image
from deepfake_detector.parallel import process_map

if TYPE_CHECKING:
    from deepfake_detector.config import Settings
    from deepfake_detector.paths import Workspace
    from deepfake_detector.preparation.shards import Held

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Sending:
    """What is done to every picture, and how often."""

    side_px: int
    crop_scale: float
    seed: int
    draws: int


def sent_whole(workspace: Workspace, settings: Settings, held: Held, draws: int = 1) -> Pixels:
    """Send pictures, then cut the faces that were found in them as they are, on all cores.

    Every face is cut, also one that serving would refuse as too blurred by now: each row stays that of its crop. A face
    that was found only after `prepare.reencode` had saved its picture anew stays as it is.

    Args:
        workspace: holds archives and manifest.
        settings: params.yaml.
        held: the split; each draw depends on `evaluate.seed` and the place in it alone.
        draws: how often each picture is sent, each time otherwise.

    Returns:
        (draws, n, side, side, 3).
    """
    how = Sending(held.crops.shape[1], settings.prepare.crop_scale, settings.evaluate.seed, draws)
    crops = np.repeat(held.crops[None], draws, axis=0)
    with Archive(workspace.raw, settings.download.max_unpacked_bytes) as opened:
        found = process_map(partial(send_one, how), _pictures(workspace, held, opened))
        for i, each in tqdm(found, "sent", len(held.paths), unit="picture", mininterval=1):
            crops[:, i] = each
    return crops


def send_one(how: Sending, picture: tuple[int, Place, Face]) -> tuple[int, Pixels]:
    """One picture: its row, and its crops (draws, side, side, 3)."""
    row, place, face = picture
    rgb = decode_image(place.read())
    draws = (as_traffic(rgb, np.random.default_rng([how.seed, draw, row])) for draw in range(how.draws))
    return row, np.stack([align(sent, face, how.side_px, how.crop_scale) for sent in draws])


def _pictures(workspace: Workspace, held: Held, opened: Archive) -> Iterator[tuple[int, Place, Face]]:
    from deepfake_detector.preparation.selection import wanted
    from deepfake_detector.validation.manifest import read_manifest

    rows = {path: row for row, path in enumerate(held.paths)}
    manifest = read_manifest(workspace.manifest)
    for picture in wanted(manifest[manifest["path"].isin(rows)], {}, as_they_are=True):
        if picture.face is not None:
            yield rows[picture.entry.path], opened.place(picture.entry), picture.face
