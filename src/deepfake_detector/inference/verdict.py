"""The answer people and programs read about an image or a video: its types, versioned; times in s, places in px."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from deepfake_detector.model.bundle import Bundle, Thresholds

Answer = Literal["fake", "real", "inconclusive"]
Evidence = Literal["weak", "moderate", "strong", "very strong"]
KindOfFake = dict[str, float] | None  # were it a fake, which: shares that add up to 1; null where the model cannot tell

CredentialState = Literal["absent", "valid", "untrusted", "invalid"]
PlacePx = tuple[float, float]  # x, y in the upright picture

# 3: explanations, posterior, best frames, shots, Content Credentials; 2: with `kind_of_fake`
SCHEMA_VERSION: Literal[3] = 3


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Explanation(_Frozen):
    """What the model was shown of a face and where in it the evidence lies; pictures as base64."""

    crop_png: str  # RGB, side x side
    heatmap_png: str  # RGBA, side x side, to lay over the crop: transparent where there is no evidence
    corners_px: tuple[PlacePx, PlacePx, PlacePx, PlacePx]  # of the crop, clockwise from its own top left


class FaceVerdict(_Frozen):
    """One face: where it is and what the model says of it; `p_fake` is null when `problem` says why."""

    box_px: tuple[float, float, float, float]  # x, y, width, height in the upright picture
    landmarks_px: tuple[PlacePx, ...]  # eyes, nose, mouth corners: five (x, y)
    score: float  # how sure the face detector is that this is a face, 0..1
    p_fake: float | None
    kind_of_fake: KindOfFake = None
    problem: str | None
    explanation: Explanation | None = None  # where one was asked for; of a video, see `best_frames`


class VideoFaceVerdict(FaceVerdict):
    """One face in one sampled frame; `track` is its place in `tracks`."""

    t_s: float
    track: int


class ModelNamed(_Frozen):
    """Which model spoke."""

    sha256: str  # digest of the bundle
    run_id: str
    trained_on: str
    network: str
    thresholds: Thresholds


class Moment(_Frozen):
    """One sampled frame: its most suspicious face (null: none judged) and how many faces it shows."""

    t_s: float
    p_fake: float | None
    faces: int


class TrackVerdict(_Frozen):
    """One face followed through the clip. `frames` counts the frames in which it was judged."""

    start_s: float
    end_s: float
    frames: int
    p_fake: float | None
    kind_of_fake: KindOfFake = None
    long: bool  # long enough to decide about the clip


class BestFrame(_Frozen):
    """One of the faces that speak most clearly for the verdict on a clip."""

    t_s: float
    track: int
    face: int  # its place in `faces`
    p_fake: float
    explanation: Explanation | None = None  # where one was asked for


class Shot(_Frozen):
    """A part of a clip between two cuts."""

    start_s: float
    end_s: float


class Posterior(_Frozen):
    """The probability of a fake where the file comes from; the verdict does not change with it."""

    prior: float  # share of fakes there, as the caller said
    p_fake: float


class ContentCredentials(_Frozen):
    """What the file itself claims about its origin (C2PA); beside the score, never mixed into it."""

    state: CredentialState
    generator: str | None = None  # the program that wrote the claim
    made_by_ai: bool | None = None  # null: the claim does not say
    signer: str | None = None
    note: str  # one plain sentence


class ImageVerdict(_Frozen):
    """The answer about one picture. `p_fake` and `evidence` are null when no face could be judged."""

    schema_version: Literal[3] = SCHEMA_VERSION
    kind: Literal["image"] = "image"
    verdict: Answer
    p_fake: float | None
    evidence: Evidence | None
    kind_of_fake: KindOfFake = None  # of the face that decided
    reasons: tuple[str, ...]
    faces: tuple[FaceVerdict, ...]
    posterior: Posterior | None = None  # where a prior was given
    content_credentials: ContentCredentials | None = None  # null: not looked for
    model: ModelNamed


class VideoVerdict(_Frozen):
    """The answer about one clip, from `timeline` (a row per sampled frame) and `tracks` (a row per person)."""

    schema_version: Literal[3] = SCHEMA_VERSION
    kind: Literal["video"] = "video"
    verdict: Answer
    p_fake: float | None
    evidence: Evidence | None
    kind_of_fake: KindOfFake = None  # of the face that decided
    reasons: tuple[str, ...]
    duration_s: float
    faces: tuple[VideoFaceVerdict, ...]
    timeline: tuple[Moment, ...]
    tracks: tuple[TrackVerdict, ...]
    best_frames: tuple[BestFrame, ...] = ()  # at most three, the strongest first
    shots: tuple[Shot, ...] = ()  # as far as the sampled frames tell them apart
    posterior: Posterior | None = None  # where a prior was given
    content_credentials: ContentCredentials | None = None  # null: not looked for
    model: ModelNamed


def name_model(bundle: Bundle) -> ModelNamed:
    """Name a bundle in an answer."""
    contract = bundle.contract
    return ModelNamed(
        sha256=bundle.sha256,
        run_id=contract.run_id,
        trained_on=contract.trained_on,
        network=contract.network,
        thresholds=contract.thresholds,
    )
