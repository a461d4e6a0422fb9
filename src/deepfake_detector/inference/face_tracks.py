"""Faces in sampled frames (boxes in px) -> tracks: the sightings of one face, in order of time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

BoxPx = tuple[float, float, float, float]  # x, y, width, height
# A face missed in one sampled frame is still the same face in the next.
MAX_GAP_FRAMES = 2
MAX_SIZE_RATIO = 2.0


@dataclass(frozen=True)
class Sighting:
    """One face in one sampled frame; `p_fake` is None when it could not be judged."""

    frame: int  # place of the frame in the sample, from 0
    t_s: float
    box_px: BoxPx
    p_fake: float | None
    shot: int = 0


def follow(sightings: Sequence[Sighting]) -> list[list[int]]:
    """Join sightings of the same face in neighbouring frames of a shot, nearest pairs first.

    Boxes overlap too seldom between frames that lie seconds apart, so nearness of centres decides, not their overlap.

    Args:
        sightings: all faces of all frames, in any order.

    Returns:
        Tracks as places in `sightings`, in order of their first frame; every sighting is in exactly one, and no track
        holds two of one frame.
    """
    tracks: list[list[int]] = []
    for frame in sorted({s.frame for s in sightings}):
        here = [i for i, s in enumerate(sightings) if s.frame == frame]
        still_open = [track for track in tracks if _goes_on(sightings[track[-1]], sightings[here[0]])]
        for place, track in _pairs(sightings, still_open, here).items():
            track.append(place)
            here.remove(place)
        tracks += [[place] for place in here]
    return tracks


def _goes_on(last: Sighting, here: Sighting) -> bool:
    return here.frame - last.frame <= MAX_GAP_FRAMES and here.shot == last.shot


def _pairs(sightings: Sequence[Sighting], tracks: Sequence[list[int]], here: Sequence[int]) -> dict[int, list[int]]:
    """Sighting -> the track it continues."""
    near = [
        (closeness(sightings[track[-1]].box_px, sightings[place].box_px), number, place)
        for number, track in enumerate(tracks)
        for place in here
    ]
    pairs: dict[int, list[int]] = {}
    used: set[int] = set()
    for value, number, place in sorted(near, key=lambda pair: -pair[0]):
        if value > 0 and number not in used and place not in pairs:
            pairs[place] = tracks[number]
            used.add(number)
    return pairs


def closeness(a: BoxPx, b: BoxPx) -> float:
    """1 for the same box, falling to 0 when centres are a face apart; 0 for sizes that differ more than twice."""
    side_a, side_b = math.sqrt(max(a[2] * a[3], 0.0)), math.sqrt(max(b[2] * b[3], 0.0))
    if min(side_a, side_b) <= 0 or max(side_a, side_b) / min(side_a, side_b) > MAX_SIZE_RATIO:
        return 0.0
    apart_px = math.hypot(a[0] + a[2] / 2 - b[0] - b[2] / 2, a[1] + a[3] / 2 - b[1] - b[3] / 2)
    return max(0.0, 1.0 - apart_px / max(side_a, side_b))
