"""The answer about an image or a video, as versioned JSON types; times in s, positions in px, probabilities 0..1."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from deepfake_detector.model.bundle import Bundle, Thresholds

Label = Literal["fake", "real", "inconclusive"]
# Of a fake; of a "real" verdict always "no trace found": the model looks for traces, and their absence is no evidence.
EvidenceLevel = Literal["no trace found", "weak", "moderate", "strong", "very strong"]
# Shares of the kinds, if it were a fake; they add up to 1. Null where it is called real, or kinds are not told apart.
KindOfFake = dict[str, float] | None

CredentialState = Literal[
    "absent", "valid", "untrusted", "invalid", "unread"
]  # unread: the extra `credentials` is missing
PointPx = tuple[float, float]  # x, y in the upright image
PointDeg = tuple[float, float]  # latitude, longitude

# 4: `thresholds` of videos;
# `metadata`, `relative_png`; "no trace found" as evidence; no kind of fake where the verdict is real
# 3: explanations, posterior, best frames, shots, Content Credentials; 2: with `kind_of_fake`
SCHEMA_VERSION: Literal[4] = 4


class _FrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Explanation(_FrozenModel):
    """The crop that the model scored and a heatmap of its evidence; PNG as base64."""

    crop_png: str  # RGB, side x side
    heatmap_png: str  # RGBA, side x side, an overlay for the crop: transparent where there is no evidence
    relative_png: str | None = None  # the same, but only where the evidence is above the face's mean; null: it is even
    corners_px: tuple[PointPx, PointPx, PointPx, PointPx]  # of the crop, clockwise from its own top left


class FaceVerdict(_FrozenModel):
    """One face: its position and its score. `p_fake` is null where `problem` says why."""

    box_px: tuple[float, float, float, float]  # x, y, width, height in the upright image
    landmarks_px: tuple[PointPx, ...]  # eyes, nose, mouth corners: five (x, y)
    score: float  # confidence of the face detector, 0..1
    p_fake: float | None
    kind_of_fake: KindOfFake = None
    problem: str | None
    explanation: Explanation | None = None  # on request; of a video, see `best_frames`


class VideoFaceVerdict(FaceVerdict):
    """One face in one sampled frame; `track` is an index into `tracks`."""

    t_s: float
    track: int


class ModelInfo(_FrozenModel):
    """The model that gave the answer."""

    sha256: str  # digest of the bundle
    run_id: str
    trained_on: str
    network: str
    thresholds: Thresholds


class TimelinePoint(_FrozenModel):
    """One sampled frame: its highest score (null: no face was scored) and its number of faces."""

    t_s: float
    p_fake: float | None
    faces: int


class TrackVerdict(_FrozenModel):
    """One face tracked through the video; `frames` counts the frames in which it was scored."""

    start_s: float
    end_s: float
    frames: int
    p_fake: float | None
    kind_of_fake: KindOfFake = None
    long: bool  # whether it may decide the verdict, see `video_verdict.long_tracks`


class EvidenceFrame(_FrozenModel):
    """One of the faces that support the verdict on a video best."""

    t_s: float
    track: int
    face: int  # index into `faces`
    p_fake: float
    explanation: Explanation | None = None  # on request


class Shot(_FrozenModel):
    """A part of a video between two cuts."""

    start_s: float
    end_s: float


class Posterior(_FrozenModel):
    """The probability of a fake, given the share of fakes where the file comes from; the verdict does not use it."""

    prior: float  # that share, as the caller gave it
    p_fake: float


class ContentCredentials(_FrozenModel):
    """What the file claims about its origin (C2PA); the score does not use it."""

    state: CredentialState
    generator: str | None = None  # the program that wrote the manifest
    made_by_ai: bool | None = None  # null: the manifest does not say
    signer: str | None = None
    note: str  # one plain sentence


class Metadata(_FrozenModel):
    """What the file says about its origin, see `media.metadata.FileMetadata`; the score does not use it."""

    format: str | None = None
    camera: str | None = None
    software: str | None = None
    taken_at: str | None = None  # ISO 8601, the camera's local time unless it has an offset
    modified_at: str | None = None
    author: str | None = None
    generator_settings: str | None = None  # beginning of what an image generator stored
    made_by_ai: bool | None = None  # null: the file does not say
    has_location: bool = False
    location_deg: PointDeg | None = None  # latitude, longitude; only on request


class ImageVerdict(_FrozenModel):
    """The answer about one image. `p_fake` and `evidence` are null where no face was scored."""

    schema_version: Literal[4] = SCHEMA_VERSION
    kind: Literal["image"] = "image"
    verdict: Label
    p_fake: float | None
    evidence: EvidenceLevel | None
    kind_of_fake: KindOfFake = None  # of the face that decided the verdict
    reasons: tuple[str, ...]
    faces: tuple[FaceVerdict, ...]
    posterior: Posterior | None = None  # if a prior was given
    content_credentials: ContentCredentials | None = None  # null: not read
    metadata: Metadata | None = None  # null: not read
    model: ModelInfo


class VideoVerdict(_FrozenModel):
    """The answer about one video. `timeline` has an item per sampled frame, `tracks` one per face."""

    schema_version: Literal[4] = SCHEMA_VERSION
    kind: Literal["video"] = "video"
    verdict: Label
    p_fake: float | None
    evidence: EvidenceLevel | None
    kind_of_fake: KindOfFake = None  # of the face that decided the verdict
    reasons: tuple[str, ...]
    duration_s: float
    faces: tuple[VideoFaceVerdict, ...]
    timeline: tuple[TimelinePoint, ...]
    tracks: tuple[TrackVerdict, ...]
    best_frames: tuple[EvidenceFrame, ...] = ()  # at most three, the strongest evidence first
    thresholds: Thresholds  # of `p_fake` here and of tracks; `flag` rises with their number. Frames: see `model`
    shots: tuple[Shot, ...] = ()  # as far as the sampled frames show cuts
    posterior: Posterior | None = None  # if a prior was given
    content_credentials: ContentCredentials | None = None  # null: not read
    metadata: Metadata | None = None  # null: not read
    model: ModelInfo


def model_info(bundle: Bundle) -> ModelInfo:
    """How an answer names its model."""
    contract = bundle.contract
    return ModelInfo(
        sha256=bundle.sha256,
        run_id=contract.run_id,
        trained_on=contract.trained_on,
        network=contract.network,
        thresholds=contract.thresholds,
    )
