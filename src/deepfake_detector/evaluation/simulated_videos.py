"""Validation pictures with their faces -> simulated videos: crops uint8 (f, side, side, 3) and face sides (f,) px.

There are too few labelled videos to calibrate on. A simulated video shows one picture in f frames with small movements
and changes of light, at one size, compressed by H.264 as one video; its face is detected and cropped anew in each
frame, as serving does. Frames of one face err together, as those of real videos do. Worker processes import this
module: it must load no TensorFlow and no pandas.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from deepfake_detector.datasets.archive import Archive
from deepfake_detector.datasets.safe_zip import ZipMember
from deepfake_detector.evaluation.random_corruption_crops import split_pictures
from deepfake_detector.media.face_alignment import crop_face
from deepfake_detector.media.face_detector import Face, FaceDetector
from deepfake_detector.media.image import decode_image
from deepfake_detector.media.simulated_video import h264_clip, random_crf, simulate_frames
from deepfake_detector.parallel import process_map

if TYPE_CHECKING:
    from deepfake_detector.config import Settings
    from deepfake_detector.model.bundle_contract import Contract
    from deepfake_detector.paths import Workspace
    from deepfake_detector.preparation.shards import HeldOutSplit

Pixels = NDArray[np.uint8]
MIN_FRAMES = 4  # with a face; a video with fewer is left out


@dataclass(frozen=True)
class VideoSpec:
    """How serving crops faces, and the seed of the movements."""

    side_px: int
    min_face_px: int
    crop_scale: float
    seed: int


@dataclass(frozen=True, eq=False)
class SimulatedVideo:
    """The crops of one simulated video; `row` is that of its picture in the split."""

    row: int
    crops: Pixels  # (f, side, side, 3)
    sides_px: list[float]  # shorter sides of the detected faces


def simulate_videos(
    workspace: Workspace, settings: Settings, contract: Contract, split: HeldOutSplit
) -> Iterator[SimulatedVideo]:
    """Simulate `evaluate.simulated_videos` videos, spread evenly over sources and classes, on all cores.

    Args:
        workspace: holds archives and manifest.
        settings: params.yaml; each video depends on `evaluate.seed` and the row of its picture alone.
        contract: how faces are cropped.
        split: of validation pictures.
    """
    count, seed = settings.evaluate.simulated_videos, settings.evaluate.seed
    if count == 0:
        return
    spec = VideoSpec(contract.side_px, contract.min_face_px, contract.crop_scale, seed)
    rows = spread_rows(split, count, seed)
    with Archive(workspace.raw, settings.download.max_unpacked_bytes) as opened:
        videos = process_map(partial(simulate_video, spec), split_pictures(workspace, split, opened, rows))
        for video in tqdm(videos, "videos", len(rows), unit="video", mininterval=1):
            if len(video.crops) >= MIN_FRAMES:
                yield video


def spread_rows(split: HeldOutSplit, count: int, seed: int) -> list[int]:
    """At most `count` rows, as many of each source and class as there are and as fit, drawn without replacement."""
    order = np.random.default_rng(seed).permutation(len(split.labels)).tolist()
    groups: dict[tuple[int, str], list[int]] = {}
    for row in order:
        groups.setdefault((int(split.labels[row]), split.sources[row]), []).append(row)
    chosen: list[int] = []
    for label in (0, 1):
        queues = [rows for (group_label, _), rows in sorted(groups.items()) if group_label == label]
        wanted = count - len(chosen) if label else count // 2
        turns = [rows[turn] for turn in range(max(map(len, queues), default=0)) for rows in queues if turn < len(rows)]
        chosen += turns[:wanted]
    return sorted(chosen)


def simulate_video(spec: VideoSpec, picture: tuple[int, ZipMember, Face]) -> SimulatedVideo:
    """One picture as a video: frames, H.264, and the largest face of each frame."""
    row, member, face = picture
    rng = np.random.default_rng([spec.seed, row])
    frames = simulate_frames(decode_image(member.read()), face, rng)
    crops, sides_px = [], []
    for frame in h264_clip(frames, random_crf(rng)):
        for found in _detector().find(frame)[:1]:
            crop = crop_face(frame, found, spec.side_px, spec.min_face_px, spec.crop_scale)
            if crop.pixels is not None:
                crops.append(crop.pixels)
                sides_px.append(found.side_px)
    empty = np.zeros((0, spec.side_px, spec.side_px, 3), np.uint8)
    return SimulatedVideo(row, np.stack(crops) if crops else empty, sides_px)


@cache
def _detector() -> FaceDetector:
    return FaceDetector()
