"""Faces detected in sampled frames (boxes in px) -> tracks: the detections of one face, in order of time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

BoxPx = tuple[float, float, float, float]  # x, y, width, height
# A face that the detector misses in one sampled frame is still the same face in the next.
MAX_GAP_FRAMES = 2
MAX_SIZE_RATIO = 2.0


@dataclass(frozen=True)
class Detection:
    """One face in one sampled frame; `p_fake` is None where it has no score."""

    frame: int  # index of the sampled frame
    t_s: float
    box_px: BoxPx
    p_fake: float | None
    shot: int = 0


def track_faces(detections: Sequence[Detection]) -> list[list[int]]:
    """Join detections of the same face in neighbouring frames of a shot, nearest pairs first.

    Frames lie seconds apart, so boxes of one face seldom overlap: the distance of their centres decides.

    Args:
        detections: all faces of all frames, in any order.

    Returns:
        Tracks as indices into `detections`, in order of their first frame. Every detection is in exactly one track, and
        no track holds two of one frame.
    """
    tracks: list[list[int]] = []
    for frame in sorted({each.frame for each in detections}):
        current = [i for i, each in enumerate(detections) if each.frame == frame]
        open_tracks = [track for track in tracks if _may_continue(detections[track[-1]], detections[current[0]])]
        for index, track in _matches(detections, open_tracks, current).items():
            track.append(index)
            current.remove(index)
        tracks += [[index] for index in current]
    return tracks


def _may_continue(last: Detection, current: Detection) -> bool:
    return current.frame - last.frame <= MAX_GAP_FRAMES and current.shot == last.shot


def _matches(
    detections: Sequence[Detection], tracks: Sequence[list[int]], current: Sequence[int]
) -> dict[int, list[int]]:
    """Detection of the current frame -> the track that it continues."""
    candidates = [
        (proximity(detections[track[-1]].box_px, detections[index].box_px), number, index)
        for number, track in enumerate(tracks)
        for index in current
    ]
    matches: dict[int, list[int]] = {}
    used: set[int] = set()
    for value, number, index in sorted(candidates, key=lambda candidate: -candidate[0]):
        if value > 0 and number not in used and index not in matches:
            matches[index] = tracks[number]
            used.add(number)
    return matches


def proximity(a: BoxPx, b: BoxPx) -> float:
    """1 for the same box, falling to 0 when centres are a face apart; 0 where sizes differ more than twice."""
    side_a, side_b = math.sqrt(max(a[2] * a[3], 0.0)), math.sqrt(max(b[2] * b[3], 0.0))
    if min(side_a, side_b) <= 0 or max(side_a, side_b) / min(side_a, side_b) > MAX_SIZE_RATIO:
        return 0.0
    distance_px = math.hypot(a[0] + a[2] / 2 - b[0] - b[2] / 2, a[1] + a[3] / 2 - b[1] - b[3] / 2)
    return max(0.0, 1.0 - distance_px / max(side_a, side_b))
