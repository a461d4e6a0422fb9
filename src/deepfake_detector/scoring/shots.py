"""Sampled frames of a clip (seconds, shares of colours) -> the shots they lie in, and where to look twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.scoring.verdict import Shot

# Share of the colours that two neighbouring frames do not have in common. In the eight clips of ../shared/data, about
# a second apart: at most 0.33 within a clip, at least 0.51 between clips.
CUT = 0.42


def shots_of(times_s: Sequence[float], colours: Sequence[NDArray[np.float32]], duration_s: float) -> list[Shot]:
    """Cut a clip where the colours change; a cut lies half-way between the frames it was seen at.

    Args:
        times_s: of the frames, rising.
        colours: (512,) each, see `media.look.colours`.
        duration_s: of the clip.
    """
    pairs = zip(times_s, times_s[1:], colours, colours[1:], strict=False)
    cuts_s = [(before + after) / 2 for before, after, old, new in pairs if 1 - np.minimum(old, new).sum() > CUT]
    ends_s = [*cuts_s, max(duration_s, *times_s, 0.0)]
    return (
        [Shot(start_s=start, end_s=end) for start, end in zip([0.0, *cuts_s], ends_s, strict=True)] if times_s else []
    )


def shot_at(t_s: float, shots: Sequence[Shot]) -> int:
    """Place of the shot that a second lies in."""
    return sum(shot.end_s < t_s for shot in shots[:-1])


def second_look(times_s: Sequence[float], shots: Sequence[Shot]) -> list[float]:
    """Seconds at which to look again: before and after the only frame of a shot, as one frame decides nothing.

    Args:
        times_s: of the frames.
        shots: theirs.
    """
    if len(shots) < 2:
        return []
    inside = [[t_s for t_s in times_s if shot_at(t_s, shots) == number] for number in range(len(shots))]
    alone = [(shot, seen[0]) for shot, seen in zip(shots, inside, strict=True) if len(seen) == 1]
    return [(edge_s + t_s) / 2 for shot, t_s in alone for edge_s in (shot.start_s, shot.end_s)]
