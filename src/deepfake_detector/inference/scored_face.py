"""Faces cut out of pictures and what the engine says of them -> judged faces, and their part of the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.inference.face_tracks import Sighting, follow
from deepfake_detector.inference.verdict import FaceVerdict, VideoFaceVerdict
from deepfake_detector.media.face_alignment import Cut
from deepfake_detector.media.face_detector import Face

Scored = tuple[np.float64, dict[str, float] | None, NDArray[np.float32]]  # p_fake, shares of kinds, logit map (h, w)


@dataclass(frozen=True, eq=False)
class Judged:
    """A face and what the model says of it; nothing when `problem` says why it was not judged."""

    face: Face
    problem: str | None = None
    p_fake: float | None = None
    kind_of_fake: dict[str, float] | None = None
    crop: NDArray[np.uint8] | None = None  # (side, side, 3)
    logit_map: NDArray[np.float32] | None = None  # (h, w)


def judged_by(found: Cut, scored: Iterator[Scored]) -> Judged:
    """Put a face and its scores together; only faces that were cut out take from `scored`."""
    if found.pixels is None:
        return Judged(found.face, found.problem)
    p_fake, kind_of_fake, logit_map = next(scored)
    return Judged(found.face, None, float(p_fake), kind_of_fake, found.pixels, logit_map)


def face_verdict(judged: Judged) -> FaceVerdict:
    """A face of a picture, for the answer."""
    return FaceVerdict(**_fields(judged))


def followed(
    times_s: Sequence[float], shots: Sequence[int], judged: Sequence[Sequence[Judged]]
) -> list[VideoFaceVerdict]:
    """The faces of all sampled frames, frame by frame, each with its track.

    Args:
        times_s: of the frames.
        shots: the number of each frame's.
        judged: their faces.
    """
    flat = [(frame, each) for frame, faces in enumerate(judged) for each in faces]
    sightings = [Sighting(frame, times_s[frame], each.face.box_px, each.p_fake, shots[frame]) for frame, each in flat]
    track_of = {place: number for number, track in enumerate(follow(sightings)) for place in track}
    return [
        VideoFaceVerdict(**_fields(each), t_s=times_s[frame], track=track_of[place])
        for place, (frame, each) in enumerate(flat)
    ]


def _fields(judged: Judged) -> dict[str, object]:
    face = judged.face
    return {
        "box_px": tuple(round(v, 1) for v in face.box_px),
        "landmarks_px": tuple((round(float(x), 1), round(float(y), 1)) for x, y in face.landmarks_px),
        "score": round(face.score, 4),
        "p_fake": judged.p_fake,
        "kind_of_fake": judged.kind_of_fake,
        "problem": judged.problem,
    }
