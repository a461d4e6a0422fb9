"""Face crops and the engine's scores -> scored faces, and their entries in an image's or a video's verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.inference.face_tracks import Detection, track_faces
from deepfake_detector.inference.verdict import FaceVerdict, VideoFaceVerdict
from deepfake_detector.media.face_alignment import FaceCrop
from deepfake_detector.media.face_detector import Face

# p_fake, shares of the kinds of fakes, logit map (h, w)
FaceScores = tuple[np.float64, dict[str, float] | None, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class ScoredFace:
    """A face with its crop and scores; without both where `problem` says why it was not scored."""

    face: Face
    problem: str | None = None
    p_fake: float | None = None
    kind_of_fake: dict[str, float] | None = None
    crop: NDArray[np.uint8] | None = None  # (side, side, 3)
    logit_map: NDArray[np.float32] | None = None  # (h, w)


def scored_face(found: FaceCrop, scores: Iterator[FaceScores]) -> ScoredFace:
    """Join a face with the next of `scores`; a face without a crop takes none."""
    if found.pixels is None:
        return ScoredFace(found.face, found.problem)
    p_fake, kind_of_fake, logit_map = next(scores)
    return ScoredFace(found.face, None, float(p_fake), kind_of_fake, found.pixels, logit_map)


def image_face_verdict(scored: ScoredFace) -> FaceVerdict:
    """The entry of a face in an image's verdict."""
    return FaceVerdict(**_common_fields(scored))


def video_face_verdicts(
    times_s: Sequence[float], shots: Sequence[int], scored: Sequence[Sequence[ScoredFace]]
) -> list[VideoFaceVerdict]:
    """The entries of the faces of all sampled frames in a video's verdict, frame by frame, each with its track.

    Args:
        times_s: of the frames.
        shots: index of each frame's shot.
        scored: faces of each frame.
    """
    flat = [(frame, face) for frame, faces in enumerate(scored) for face in faces]
    detections = [Detection(frame, times_s[frame], each.face.box_px, each.p_fake, shots[frame]) for frame, each in flat]
    track_of = {index: number for number, track in enumerate(track_faces(detections)) for index in track}
    return [
        VideoFaceVerdict(**_common_fields(face), t_s=times_s[frame], track=track_of[index])
        for index, (frame, face) in enumerate(flat)
    ]


def _common_fields(scored: ScoredFace) -> dict[str, object]:
    face = scored.face
    return {
        "box_px": tuple(round(v, 1) for v in face.box_px),
        "landmarks_px": tuple((round(float(x), 1), round(float(y), 1)) for x, y in face.landmarks_px),
        "score": round(face.score, 4),
        "p_fake": scored.p_fake,
        "kind_of_fake": scored.kind_of_fake,
        "problem": scored.problem,
    }
