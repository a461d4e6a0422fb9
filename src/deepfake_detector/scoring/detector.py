"""One image (bytes) or video (file) -> verdict: decode, find faces, cut out, score in one batch, decide."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.errors import InputTooLarge
from deepfake_detector.media.crop import Cut, cut
from deepfake_detector.media.face import Face, FaceDetector
from deepfake_detector.media.image import ImageLimits, decode_image
from deepfake_detector.media.video_limits import VideoLimits
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.scoring.engine import Engine
from deepfake_detector.scoring.fake_kind import kind_shares
from deepfake_detector.scoring.fuse import video_verdict
from deepfake_detector.scoring.kind import HEAD_BYTES, looks_like_image
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
    kind_of_fake: dict[str, float] | None = None
    crop: NDArray[np.uint8] | None = None  # (side, side, 3)
    logit_map: NDArray[np.float32] | None = None  # (h, w)


class Detector:
    """Judges images and videos with one bundle; safe to share between threads.

    Args:
        bundle: the model.
        limits: how much of an input is looked at.
        streams: see `Engine`.

    Raises:
        BundleCorrupt, ToolFailed: see `Engine`.
    """

    def __init__(self, bundle: Bundle, limits: ScoringLimits | None = None, streams: int | None = None) -> None:
        self.bundle = bundle
        self.limits = limits or ScoringLimits()
        self.model = name_model(bundle)
        self._engine = Engine(bundle, streams=streams)
        # YuNet keeps state while it looks, so each serves one thread at a time. deque's append and pop are atomic.
        self._eyes: deque[FaceDetector] = deque([FaceDetector()])

    def file(self, path: Path) -> ImageVerdict | VideoVerdict:
        """Judge a file as the image or video that its content says it is.

        Raises:
            OSError: it cannot be read.
            UnreadableImage, UnreadableVideo, InputTooLarge: see `image` and `video`.
        """
        return self.image_of(self.judge(self.picture(path))) if is_image(path) else self.video(path)

    def picture(self, path: Path) -> NDArray[np.uint8]:
        """Pixels of a picture file, uint8 (height, width, 3); one over the limit is not read first."""
        if (found := path.stat().st_size) > (most := self.limits.image.max_bytes):
            raise InputTooLarge(f"{path.name} has {found:,} bytes, the limit is {most:,}", "send a smaller file")
        return decode_image(path.read_bytes(), self.limits.image)

    def image(self, data: bytes) -> ImageVerdict:
        """Judge an encoded picture.

        Raises:
            UnreadableImage, InputTooLarge: see `decode_image`.
        """
        rgb = decode_image(data, self.limits.image)
        return self.image_of(self.judge(rgb))

    def judge(self, rgb: NDArray[np.uint8]) -> list[Judged]:
        """Find and score the faces of a picture, uint8 (height, width, 3), largest first."""
        return self._score([self.look(rgb)])[0]

    def look(self, rgb: NDArray[np.uint8]) -> list[Cut]:
        """Find the faces of a picture, uint8 (height, width, 3), largest first, and cut out what the model is shown."""
        with self._borrowed_eyes() as eyes:
            faces = eyes.find(rgb)
        contract, most = self.bundle.contract, self.limits.max_faces
        too_many = f"only the {most} largest faces of a picture are judged"
        largest = [cut(rgb, face, contract.side_px, contract.min_face_px, contract.crop_scale) for face in faces[:most]]
        return largest + [Cut(face, None, too_many) for face in faces[most:]]

    def image_of(self, judged: Sequence[Judged]) -> ImageVerdict:
        """Turn the judged faces of one picture into the answer."""
        return image_verdict([FaceVerdict(**_face_fields(each)) for each in judged], self.model)

    def video(self, path: Path) -> VideoVerdict:
        """Judge a video file by frames spread evenly over it; only those are decoded.

        Raises:
            UnreadableVideo, InputTooLarge: see `probe_video` and `read_frames`.
        """
        from deepfake_detector.media.video import probe_video, read_frames, sample_times  # libav: 0.1 s

        info = probe_video(path, self.limits.video)
        times_s = sample_times(info, self.limits.frames)
        seen: dict[float, list[Cut]] = {}
        for frame in read_frames(path, times_s, self.limits.video):
            seen[frame.t_s] = self.look(frame.rgb)  # the frame itself is dropped: sixteen of 4K are 400 MB
        judged = self._score(list(seen.values()))
        return video_verdict(
            _followed(list(seen), judged), list(seen), info.full_duration_s, self.model, sampled_s=info.duration_s
        )

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

    def _score(self, pictures: Sequence[Sequence[Cut]]) -> list[list[Judged]]:
        """Score the faces of all pictures in one call."""
        crops = [each.pixels for cuts in pictures for each in cuts if each.pixels is not None]
        shape = (len(crops), self._engine.side_px, self._engine.side_px, 3)
        scores = self._engine.score(np.array(crops, np.uint8).reshape(shape))  # no face, no crops
        kinds = kind_shares(scores.kinds, self.bundle.contract.kinds)
        scored = iter(zip(self._engine.p_fake(scores.logits), kinds, scores.logit_map, strict=True))
        return [[_judged(each, scored) for each in cuts] for cuts in pictures]


def is_image(path: Path) -> bool:
    """Whether a file's first bytes claim a picture; all else may be a video."""
    with path.open("rb") as stream:
        return looks_like_image(stream.read(HEAD_BYTES))


def _judged(found: Cut, scored: Iterator[tuple[np.float64, dict[str, float] | None, NDArray[np.float32]]]) -> Judged:
    if found.pixels is None:
        return Judged(found.face, found.problem)
    p_fake, kind_of_fake, logit_map = next(scored)
    return Judged(found.face, None, float(p_fake), kind_of_fake, found.pixels, logit_map)


def _face_fields(judged: Judged) -> dict[str, object]:
    face = judged.face
    return {
        "box_px": tuple(round(v, 1) for v in face.box_px),
        "landmarks_px": tuple((round(float(x), 1), round(float(y), 1)) for x, y in face.landmarks_px),
        "score": round(face.score, 4),
        "p_fake": judged.p_fake,
        "kind_of_fake": judged.kind_of_fake,
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
