"""One image (bytes) or video (file) -> its verdict: decode, find faces, crop them, score all crops, decide."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.errors import InputTooLarge, needs_extra
from deepfake_detector.inference.content_credentials import read_credentials
from deepfake_detector.inference.decision import image_verdict, kind_shares, posterior_verdict
from deepfake_detector.inference.engine import Engine
from deepfake_detector.inference.heatmap import explain_face
from deepfake_detector.inference.scored_face import ScoredFace, image_face_verdict, scored_face, video_face_verdicts
from deepfake_detector.inference.verdict import EvidenceFrame, ImageVerdict, Metadata, VideoVerdict, model_info
from deepfake_detector.inference.video_verdict import video_verdict
from deepfake_detector.media.animation import MAX_ANIMATION_BYTES, is_animation, may_be_animation
from deepfake_detector.media.face_alignment import FaceCrop, crop_face
from deepfake_detector.media.face_detector import FaceDetector
from deepfake_detector.media.file_type import HEAD_BYTES, file_type
from deepfake_detector.media.image import decode_image_with_notes
from deepfake_detector.media.image_stats import ImageStats, measure_image
from deepfake_detector.media.limits import ImageLimits, VideoLimits
from deepfake_detector.media.metadata import read_metadata
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.parallel import available_cores

Step = Literal["find", "score"]


@dataclass(frozen=True)
class ScoringLimits:
    """How much of an input is decoded and scored."""

    frames: int = 16  # 8 to 16 recover most of the accuracy of 32 [Serackis 2026]
    max_faces: int = 16  # the largest; the others are listed without a score
    image: ImageLimits = field(default_factory=ImageLimits)
    video: VideoLimits = field(default_factory=VideoLimits)


class DetectorObserver(Protocol):
    """Receives what a detector measures while it works on a file, in the thread that does the step."""

    def step_done(self, step: Step, seconds: float) -> None:
        """A step has ended: "find" once per picture or frame (detection and cropping), "score" once per file."""

    def crops_measured(self, stats: Sequence[ImageStats]) -> None:
        """Statistics of the largest crop of each picture or frame, once per file with crops."""


class Detector:
    """Answers about images and videos with one bundle; threads may share it.

    Args:
        bundle: the model.
        limits: how much of an input is decoded and scored.
        streams: see `Engine`.
        observer: receives timings and crop statistics; without one nothing is measured.

    Raises:
        BundleCorrupt, ToolFailed: see `Engine`.
    """

    def __init__(
        self,
        bundle: Bundle,
        limits: ScoringLimits | None = None,
        streams: int | None = None,
        observer: DetectorObserver | None = None,
    ) -> None:
        self.bundle = bundle
        self.limits = limits or ScoringLimits()
        self.model = model_info(bundle)
        self._engine = Engine(bundle, streams=streams)
        self._face_detector = FaceDetector()
        self._threads = streams or available_cores()
        self._observer = observer

    @classmethod
    def load(cls, model: str | PathLike[str] | None = None) -> Self:
        """The detector of the model that `deepfake predict` uses.

        Args:
            model: champion, pretrained or a bundle's folder; None for the default, see `deepfake about`.

        Raises:
            ModelNotFound, BundleCorrupt, ToolFailed: see `select_model` and `Engine`.
        """
        from deepfake_detector.inference.model_selection import select_model

        return cls(select_model(model if model is None else str(model)).bundle)

    def image(
        self, source: str | PathLike[str] | bytes, explain: bool = False, prior: float | None = None
    ) -> ImageVerdict:
        """Answer about an image: a file's name or its content. For the other arguments and errors see `predict_image`.

        Raises:
            OSError: the file cannot be read.
        """
        content = source if isinstance(source, bytes) else self.read_image(Path(source))
        return self.predict_image(content, explain, prior)

    def video(self, path: str | PathLike[str], explain: bool = False, prior: float | None = None) -> VideoVerdict:
        """Answer about a video file. For the other arguments and errors see `predict_video`."""
        return self.predict_video(Path(path), explain, prior)

    def predict_file(self, path: Path, prior: float | None = None) -> ImageVerdict | VideoVerdict:
        """Answer about a file; its content decides whether it is read as an image or a video (see `is_image`).

        Args:
            path: of the file.
            prior: see `predict_image`.

        Raises:
            OSError: the file cannot be read.
            UnreadableImage, UnreadableVideo, InputTooLarge: see `predict_image` and `predict_video`.
        """
        if is_image(path):
            return self.predict_image(self.read_image(path), prior=prior)
        return self.predict_video(path, prior=prior)

    def read_image(self, path: Path) -> bytes:
        """Content of an image file.

        Raises:
            OSError: the file cannot be read.
            InputTooLarge: it has more bytes than the limit; then it is not read.
        """
        if (size := path.stat().st_size) > (limit := self.limits.image.max_bytes):
            raise InputTooLarge(f"{path.name} has {size:,} bytes, the limit is {limit:,}", "send a smaller file")
        return path.read_bytes()

    def predict_image(
        self, data: bytes, explain: bool = False, prior: float | None = None, location: bool = False
    ) -> ImageVerdict:
        """Answer about an encoded image.

        Args:
            data: content of the file.
            explain: add the crop of each face and its heatmap.
            prior: share of fakes where the file comes from, for the answer's `posterior`.
            location: add the position that the file holds to the answer's `metadata`.

        Raises:
            UnreadableImage, InputTooLarge: see `decode_image`.
            BadInput: the prior does not lie between 0 and 1.
        """
        decoded = decode_image_with_notes(data, self.limits.image)
        faces = self.score_faces(decoded.rgb)
        coverage = self.bundle.contract.coverage.get("image")
        verdict = image_verdict([image_face_verdict(face) for face in faces], self.model, decoded.notes, coverage)
        if explain:
            verdict = verdict.model_copy(update={"faces": self._with_explanations(verdict, faces)})
        added = {"posterior": posterior_verdict(verdict.p_fake, prior), **_claims(data, location)}
        return verdict.model_copy(update=added)

    def score_faces(self, rgb: NDArray[np.uint8]) -> list[ScoredFace]:
        """Find and score the faces of a picture, uint8 (height, width, 3), largest first."""
        return self._score([self.crop_faces(rgb)])[0]

    def crop_faces(self, rgb: NDArray[np.uint8]) -> list[FaceCrop]:
        """Find the faces of a picture, uint8 (height, width, 3), and crop them for the model; largest first."""
        contract, limit = self.bundle.contract, self.limits.max_faces
        too_many = f"only the {limit} largest faces of a picture are scored"
        with self._timed("find"):
            faces = self._face_detector.find(rgb)
            crops = [
                crop_face(rgb, face, contract.side_px, contract.min_face_px, contract.crop_scale)
                for face in faces[:limit]
            ]
        return crops + [FaceCrop(face, None, too_many) for face in faces[limit:]]

    def predict_video(
        self, path: Path, explain: bool = False, prior: float | None = None, location: bool = False
    ) -> VideoVerdict:
        """Answer about a video file, from frames spread over it and its shots.

        Args:
            path: of the file.
            explain: add the crop and the heatmap to each of `best_frames`.
            prior: share of fakes where the file comes from, for the answer's `posterior`.
            location: add the position that the file holds to the answer's `metadata`.

        Raises:
            UnreadableVideo, InputTooLarge: see `probe_video` and `read_frames`.
            MissingExtra: the extra `video` is not installed.
            BadInput: the prior does not lie between 0 and 1.
        """
        with needs_extra("video", "videos"):
            from deepfake_detector.inference.frame_sampling import sample_video, shot_index  # both load libav: 0.1 s
            from deepfake_detector.media.video import probe_video

        info = probe_video(path, self.limits.video)
        sample = sample_video(path, info, self.limits.frames, self.limits.video, self.crop_faces, self._threads)
        times_s = [frame.t_s for frame in sample.frames]
        scored = self._score([frame.crops for frame in sample.frames])
        faces = video_face_verdicts(times_s, [shot_index(t_s, sample.shots) for t_s in times_s], scored)
        verdict = video_verdict(
            faces,
            times_s,
            sample.info.full_duration_s,
            self.model,
            self.bundle.contract.video,
            coverage=self.bundle.contract.coverage.get("video"),
            sampled_s=sample.info.duration_s,
            notes=sample.notes,
        )
        added: dict[str, object] = {
            "shots": tuple(sample.shots),
            "posterior": posterior_verdict(verdict.p_fake, prior),
            **_claims(path, location),
        }
        if explain:
            added["best_frames"] = self._with_crops(verdict.best_frames, [face for frame in scored for face in frame])
        return verdict.model_copy(update=added)

    def _score(self, pictures: Sequence[Sequence[FaceCrop]]) -> list[list[ScoredFace]]:
        """Score the faces of all pictures in one call of the engine."""
        self._measure_crops(pictures)
        with self._timed("score"):
            crops = [face.pixels for faces in pictures for face in faces if face.pixels is not None]
            shape = (len(crops), self._engine.side_px, self._engine.side_px, 3)
            output = self._engine.score(np.array(crops, np.uint8).reshape(shape))  # reshaped for the case of no crops
            kinds = kind_shares(output.kinds, self.bundle.contract.kinds)
            scores = iter(zip(self._engine.p_fake(output.logits), kinds, output.logit_map, strict=True))
            return [[scored_face(face, scores) for face in faces] for faces in pictures]

    def _with_explanations(self, verdict: ImageVerdict, faces: Sequence[ScoredFace]) -> tuple[object, ...]:
        scale = self.bundle.contract.crop_scale
        return tuple(
            face.model_copy(update={"explanation": explain_face(scored, scale)})
            for face, scored in zip(verdict.faces, faces, strict=True)
        )

    def _with_crops(self, frames: Sequence[EvidenceFrame], faces: Sequence[ScoredFace]) -> tuple[EvidenceFrame, ...]:
        scale = self.bundle.contract.crop_scale
        return tuple(
            frame.model_copy(update={"explanation": explain_face(faces[frame.face], scale)}) for frame in frames
        )

    def _measure_crops(self, pictures: Sequence[Sequence[FaceCrop]]) -> None:
        if self._observer is None:
            return
        largest = [faces[0].pixels for faces in pictures if faces and faces[0].pixels is not None]
        if largest:
            self._observer.crops_measured([measure_image(crop) for crop in largest])

    @contextmanager
    def _timed(self, step: Step) -> Iterator[None]:
        start_s = time.perf_counter()
        try:
            yield
        finally:
            if self._observer is not None:
                self._observer.step_done(step, time.perf_counter() - start_s)


def _claims(source: bytes | Path, location: bool) -> dict[str, object]:
    """The fields of an answer that repeat what the file itself says."""
    metadata = Metadata(**asdict(read_metadata(source, location)))
    return {"content_credentials": read_credentials(source), "metadata": metadata}


def is_image(path: Path) -> bool:
    """Whether a file is read as an image: its first bytes announce one, and it is no animation.

    Documents count as images, too: their error names what they are. All else may be a video.
    """
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
        found = file_type(head)
        if found is None or found.kind == "video":
            return False
        return not (may_be_animation(head) and is_animation(head + stream.read(MAX_ANIMATION_BYTES)))
