"""One image (bytes) or video (file) -> verdict: decode, find faces, cut out, score in one batch, decide."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.media.face import Face, FaceDetector, align_all
from deepfake_detector.media.image import ImageLimits, decode_image
from deepfake_detector.media.video import VideoLimits, probe_video, read_frames, sample_times
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.scoring.engine import Engine
from deepfake_detector.scoring.fitness import why_not
from deepfake_detector.scoring.fuse import video_verdict
from deepfake_detector.scoring.tracks import Sighting, follow
from deepfake_detector.scoring.verdict import (
    FaceVerdict,
    ImageVerdict,
    VideoFaceVerdict,
    VideoVerdict,
    image_verdict,
    name_model,
)


@dataclass(frozen=True)
class ScoringLimits:
    """How much of an input is looked at."""

    frames: int = 16  # 8 to 16 recover most of the accuracy of 32 [Serackis 2026]
    max_faces: int = 16  # the largest; the others are listed as not judged
    image: ImageLimits = field(default_factory=ImageLimits)
    video: VideoLimits = field(default_factory=VideoLimits)


@dataclass(frozen=True, eq=False)
class Judged:
    """A face and what the model says of it; nothing when `problem` says why it was not judged."""

    face: Face
    problem: str | None = None
    p_fake: float | None = None
    crop: NDArray[np.uint8] | None = None  # (side, side, 3)
    logit_map: NDArray[np.float32] | None = None  # (h, w)


@dataclass(frozen=True, eq=False)
class _Seen:
    """The faces of one picture before scoring; only those without a problem are cut out."""

    faces: list[Face]
    problems: list[str | None]
    crops: NDArray[np.uint8]  # (faces without a problem, side, side, 3)


class Detector:
    """Judges images and videos with one bundle; safe to share between threads.

    Raises:
        BundleCorrupt, ToolFailed: see `Engine`.
    """

    def __init__(self, bundle: Bundle, limits: ScoringLimits | None = None) -> None:
        self.bundle = bundle
        self.limits = limits or ScoringLimits()
        self.model = name_model(bundle)
        self._engine = Engine(bundle)
        # YuNet keeps state while it looks, so each serves one thread at a time. deque's append and pop are atomic.
        self._eyes: deque[FaceDetector] = deque([FaceDetector()])

    def image(self, data: bytes) -> ImageVerdict:
        """Judge an encoded picture.

        Raises:
            UnreadableImage, InputTooLarge: see `decode_image`.
        """
        rgb = decode_image(data, self.limits.image)
        return self.image_of(self.judge(rgb))

    def judge(self, rgb: NDArray[np.uint8]) -> list[Judged]:
        """Find and score the faces of a picture, uint8 (height, width, 3), largest first."""
        return self._score([self._look(rgb)])[0]

    def image_of(self, judged: Sequence[Judged]) -> ImageVerdict:
        """Turn the judged faces of one picture into the answer."""
        return image_verdict([FaceVerdict(**_face_fields(each)) for each in judged], self.model)

    def video(self, path: Path) -> VideoVerdict:
        """Judge a video file by frames spread evenly over it; only those are decoded.

        Raises:
            UnreadableVideo, InputTooLarge: see `probe_video` and `read_frames`.
        """
        info = probe_video(path, self.limits.video)
        times_s = sample_times(info, self.limits.frames)
        seen: dict[float, _Seen] = {}
        for frame in read_frames(path, times_s, self.limits.video):
            seen[frame.t_s] = self._look(frame.rgb)  # the frame itself is dropped: sixteen of 4K are 400 MB
        judged = self._score(list(seen.values()))
        return video_verdict(
            _followed(list(seen), judged), list(seen), info.full_duration_s, self.model, sampled_s=info.duration_s
        )

    def _look(self, rgb: NDArray[np.uint8]) -> _Seen:
        with self._borrowed_eyes() as eyes:
            faces = eyes.find(rgb)
        problems = [
            why_not(face, self.bundle.contract.min_face_px) if place < self.limits.max_faces else self._too_many
            for place, face in enumerate(faces)
        ]
        fit = [face for face, problem in zip(faces, problems, strict=True) if problem is None]
        return _Seen(faces, problems, align_all(rgb, fit, self._engine.side_px))

    @property
    def _too_many(self) -> str:
        return f"only the {self.limits.max_faces} largest faces of a picture are judged"

    @contextmanager
    def _borrowed_eyes(self) -> Iterator[FaceDetector]:
        try:
            eyes = self._eyes.pop()
        except IndexError:
            eyes = FaceDetector()
        try:
            yield eyes
        finally:
            self._eyes.append(eyes)

    def _score(self, pictures: Sequence[_Seen]) -> list[list[Judged]]:
        """Score the faces of all pictures in one call."""
        if not pictures:
            return []
        crops = np.concatenate([seen.crops for seen in pictures])
        scores = self._engine.score(crops)
        scored = iter(zip(crops, self._engine.p_fake(scores.logits), scores.logit_map, strict=True))
        return [
            [
                Judged(face, problem) if problem else _judged(face, *next(scored))
                for face, problem in zip(seen.faces, seen.problems, strict=True)
            ]
            for seen in pictures
        ]


def _judged(face: Face, crop: NDArray[np.uint8], p_fake: np.float64, logit_map: NDArray[np.float32]) -> Judged:
    return Judged(face, None, float(p_fake), crop, logit_map)


def _face_fields(judged: Judged) -> dict[str, object]:
    face = judged.face
    return {
        "box_px": tuple(round(v, 1) for v in face.box_px),
        "landmarks_px": tuple((round(float(x), 1), round(float(y), 1)) for x, y in face.landmarks_px),
        "score": round(face.score, 4),
        "p_fake": judged.p_fake,
        "problem": judged.problem,
    }


def _followed(times_s: Sequence[float], judged: Sequence[Sequence[Judged]]) -> list[VideoFaceVerdict]:
    flat = [(frame, each) for frame, faces in enumerate(judged) for each in faces]
    sightings = [Sighting(frame, times_s[frame], each.face.box_px, each.p_fake) for frame, each in flat]
    track_of = {place: number for number, track in enumerate(follow(sightings)) for place in track}
    return [
        VideoFaceVerdict(**_face_fields(each), t_s=times_s[frame], track=track_of[place])
        for place, (frame, each) in enumerate(flat)
    ]
