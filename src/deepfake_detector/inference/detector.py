"""One image (bytes) or video (file) -> verdict: decode, find faces, cut out, score in one batch, decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.errors import InputTooLarge
from deepfake_detector.inference.content_credentials import read_credentials
from deepfake_detector.inference.decision import image_verdict, kind_shares, posterior_at
from deepfake_detector.inference.engine import Engine
from deepfake_detector.inference.frame_sampling import shot_at
from deepfake_detector.inference.heatmap import explain as explain_face
from deepfake_detector.inference.scored_face import Judged, face_verdict, followed, judged_by
from deepfake_detector.inference.verdict import ImageVerdict, VideoVerdict, name_model
from deepfake_detector.inference.video_verdict import video_verdict
from deepfake_detector.media.face_alignment import Cut, cut
from deepfake_detector.media.face_detector import FaceDetector
from deepfake_detector.media.file_type import HEAD_BYTES, looks_like_image
from deepfake_detector.media.image import ImageLimits, decode_image
from deepfake_detector.media.video_limits import VideoLimits
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.parallel import available_cores


@dataclass(frozen=True)
class ScoringLimits:
    """How much of an input is looked at."""

    frames: int = 16  # 8 to 16 recover most of the accuracy of 32 [Serackis 2026]
    max_faces: int = 16  # the largest; the others are listed as not judged
    image: ImageLimits = field(default_factory=ImageLimits)
    video: VideoLimits = field(default_factory=VideoLimits)


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
        self._eyes = FaceDetector()
        self._threads = streams or available_cores()

    def file(self, path: Path, prior: float | None = None) -> ImageVerdict | VideoVerdict:
        """Judge a file as the image or video that its content says it is; for `prior` see `image`.

        Raises:
            OSError: it cannot be read.
            UnreadableImage, UnreadableVideo, InputTooLarge: see `image` and `video`.
        """
        return self.image(self.picture(path), prior=prior) if is_image(path) else self.video(path, prior=prior)

    def picture(self, path: Path) -> bytes:
        """Content of a picture file; one over the limit is not read first."""
        if (found := path.stat().st_size) > (most := self.limits.image.max_bytes):
            raise InputTooLarge(f"{path.name} has {found:,} bytes, the limit is {most:,}", "send a smaller file")
        return path.read_bytes()

    def image(self, data: bytes, explain: bool = False, prior: float | None = None) -> ImageVerdict:
        """Judge an encoded picture.

        Args:
            data: of the file.
            explain: add what the model saw of each face, and the heat on it.
            prior: share of fakes where the file comes from, for the answer's `posterior`.

        Raises:
            UnreadableImage, InputTooLarge: see `decode_image`.
            BadInput: the prior is no share between 0 and 1.
        """
        rgb = decode_image(data, self.limits.image)
        answer = self.image_of(self.judge(rgb), explain, prior)
        return answer.model_copy(update={"content_credentials": read_credentials(data)})

    def judge(self, rgb: NDArray[np.uint8]) -> list[Judged]:
        """Find and score the faces of a picture, uint8 (height, width, 3), largest first."""
        return self._score([self.look(rgb)])[0]

    def look(self, rgb: NDArray[np.uint8]) -> list[Cut]:
        """Find the faces of a picture, uint8 (height, width, 3), largest first, and cut out what the model is shown."""
        faces = self._eyes.find(rgb)
        contract, most = self.bundle.contract, self.limits.max_faces
        too_many = f"only the {most} largest faces of a picture are judged"
        largest = [cut(rgb, face, contract.side_px, contract.min_face_px, contract.crop_scale) for face in faces[:most]]
        return largest + [Cut(face, None, too_many) for face in faces[most:]]

    def image_of(self, judged: Sequence[Judged], explain: bool = False, prior: float | None = None) -> ImageVerdict:
        """Turn the judged faces of one picture into the answer; see `image`."""
        faces = [face_verdict(each) for each in judged]
        if explain:
            scale = self.bundle.contract.crop_scale
            why = [explain_face(each, scale) for each in judged]
            faces = [face.model_copy(update={"explanation": each}) for face, each in zip(faces, why, strict=True)]
        answer = image_verdict(faces, self.model)
        return answer.model_copy(update={"posterior": posterior_at(answer.p_fake, prior)})

    def video(self, path: Path, explain: bool = False, prior: float | None = None) -> VideoVerdict:
        """Judge a video file by frames spread over it and its shots.

        Args:
            path: of the file.
            explain: add to the best frames what the model saw there, and the heat on it.
            prior: share of fakes where the file comes from, for the answer's `posterior`.

        Raises:
            UnreadableVideo, InputTooLarge: see `probe_video` and `read_frames`.
            BadInput: the prior is no share between 0 and 1.
        """
        from deepfake_detector.inference.frame_sampling import watch
        from deepfake_detector.media.video import probe_video  # libav: 0.1 s

        info = probe_video(path, self.limits.video)
        seen, shots = watch(path, info, self.limits.frames, self.limits.video, self.look, self._threads)
        times_s = [each.t_s for each in seen]
        judged = self._score([each.cuts for each in seen])
        faces = followed(times_s, [shot_at(t_s, shots) for t_s in times_s], judged)
        answer = video_verdict(faces, times_s, info.full_duration_s, self.model, sampled_s=info.duration_s)
        best = answer.best_frames
        if explain:
            flat, scale = [each for frame in judged for each in frame], self.bundle.contract.crop_scale
            best = tuple(b.model_copy(update={"explanation": explain_face(flat[b.face], scale)}) for b in best)
        return answer.model_copy(
            update={
                "best_frames": best,
                "shots": tuple(shots),
                "posterior": posterior_at(answer.p_fake, prior),
                "content_credentials": read_credentials(path),
            }
        )

    def _score(self, pictures: Sequence[Sequence[Cut]]) -> list[list[Judged]]:
        """Score the faces of all pictures in one call."""
        crops = [each.pixels for cuts in pictures for each in cuts if each.pixels is not None]
        shape = (len(crops), self._engine.side_px, self._engine.side_px, 3)
        scores = self._engine.score(np.array(crops, np.uint8).reshape(shape))  # no face, no crops
        kinds = kind_shares(scores.kinds, self.bundle.contract.kinds)
        scored = iter(zip(self._engine.p_fake(scores.logits), kinds, scores.logit_map, strict=True))
        return [[judged_by(each, scored) for each in cuts] for cuts in pictures]


def is_image(path: Path) -> bool:
    """Whether a file's first bytes claim a picture; all else may be a video."""
    with path.open("rb") as stream:
        return looks_like_image(stream.read(HEAD_BYTES))
