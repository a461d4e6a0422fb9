"""Held-out pictures -> face crops, uint8 (draws, n, side, side, 3), after random corruption of the whole pictures.

In use a whole picture is recompressed, resized or blurred first, and its face is cropped afterwards. Alignment rotates
and interpolates, so the result differs from a crop that is corrupted after alignment: with thresholds set on the
latter, noise of two grey levels made ten times as many false positives on whole pictures (validation split). Worker
processes import this module: it must load no TensorFlow and no pandas.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from deepfake_detector.datasets.archive import Archive
from deepfake_detector.datasets.safe_zip import ZipMember
from deepfake_detector.media.corruptions import random_corruption
from deepfake_detector.media.face_alignment import align_face
from deepfake_detector.media.face_detector import Face
from deepfake_detector.media.image import decode_image
from deepfake_detector.parallel import process_map

if TYPE_CHECKING:
    from deepfake_detector.config import Settings
    from deepfake_detector.paths import Workspace
    from deepfake_detector.preparation.shards import HeldOutSplit

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class RandomCorruptionSpec:
    """How every picture is corrupted and cropped, and how often."""

    side_px: int
    crop_scale: float
    seed: int
    draws: int


def corrupt_split(workspace: Workspace, settings: Settings, split: HeldOutSplit, draws: int = 1) -> Pixels:
    """Corrupt whole pictures at random and crop the faces that were detected in the clean ones, on all cores.

    Every face is cropped, even one that serving would reject as too blurred by now: each row belongs to its crop. A
    face that was detected only after `prepare.reencode` recompressed its picture keeps its clean crop.

    Args:
        workspace: holds archives and manifest.
        settings: params.yaml.
        split: each draw depends on `evaluate.seed` and the row in the split alone.
        draws: independent corruptions of each picture.

    Returns:
        (draws, n, side, side, 3).
    """
    spec = RandomCorruptionSpec(split.crops.shape[1], settings.prepare.crop_scale, settings.evaluate.seed, draws)
    crops = np.repeat(split.crops[None], draws, axis=0)
    with Archive(workspace.raw, settings.download.max_unpacked_bytes) as opened:
        results = process_map(partial(corrupt_picture, spec), split_pictures(workspace, split, opened))
        for i, corrupted in tqdm(results, "corrupt", len(split.paths), unit="picture", mininterval=1):
            crops[:, i] = corrupted
    return crops


def corrupt_picture(spec: RandomCorruptionSpec, picture: tuple[int, ZipMember, Face]) -> tuple[int, Pixels]:
    """One picture: its row, and its crops (draws, side, side, 3)."""
    row, member, face = picture
    rgb = decode_image(member.read())
    corrupted = (random_corruption(rgb, np.random.default_rng([spec.seed, draw, row])) for draw in range(spec.draws))
    return row, np.stack([align_face(each, face, spec.side_px, spec.crop_scale) for each in corrupted])


def split_pictures(
    workspace: Workspace, split: HeldOutSplit, opened: Archive, rows: Sequence[int] | None = None
) -> Iterator[tuple[int, ZipMember, Face]]:
    """Each picture of a split whose face the manifest knows: its row, its file and its largest face.

    Args:
        workspace: holds the manifest.
        split: whose pictures are wanted.
        opened: the archives, open.
        rows: of the split; None for all.
    """
    from deepfake_detector.preparation.crop_requests import crop_requests
    from deepfake_detector.validation.manifest import read_manifest

    wanted = {split.paths[row]: row for row in (range(len(split.paths)) if rows is None else rows)}
    manifest = read_manifest(workspace.manifest)
    for picture in crop_requests(manifest[manifest["path"].isin(wanted)], {}, reuse_faces=True):
        if picture.face is not None:
            yield wanted[picture.entry.path], opened.member(picture.entry), picture.face
