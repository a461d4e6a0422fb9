"""contract.json <-> everything a program needs to use `detector.onnx` as it was evaluated; every number has bounds."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FORMAT_VERSION = 4
WITHOUT_PROFILE = 3  # the same contract, in a bundle without profile.json
READABLE_VERSIONS = (WITHOUT_PROFILE, FORMAT_VERSION)

Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]
Share = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1)]
OpenShare = Annotated[float, Field(allow_inf_nan=False, gt=0, lt=1)]
Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(max_length=200)]
Weight = Annotated[float, Field(allow_inf_nan=False, ge=-100, le=100)]
PositiveWeight = Annotated[float, Field(allow_inf_nan=False, ge=0, le=100)]
Medium = Literal["image", "video"]


class _FrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Thresholds(_FrozenModel):
    """Calibrated probabilities that separate the answers, fitted on validation pictures only; in rising order."""

    clear: Share  # at or below: "real"
    flag: Share  # at or above: "fake"
    strict: Share  # at or above: "fake" where a false positive is costly

    @model_validator(mode="after")
    def _in_rising_order(self) -> Self:
        if not self.clear <= self.flag <= self.strict:
            raise ValueError(f"thresholds must rise: clear {self.clear}, flag {self.flag}, strict {self.strict}")
        return self


class TrackWeights(_FrozenModel):
    """Weights of the features of a face that is tracked through a video; see `inference.track_features`."""

    mean: PositiveWeight = 1.0
    deviation: Weight = 0.0
    top_third: PositiveWeight = 0.0
    face_size: Weight = 0.0


class VideoCalibration(_FrozenModel):
    """Features of a track -> p_fake = sigmoid(intercept + weights * features), and the thresholds of that p_fake.

    Fitted on simulated videos of validation pictures. The default weights give the mean logit of the frames.
    """

    intercept: Weight = 0.0
    weights: TrackWeights = TrackWeights()
    thresholds: Thresholds
    flag_false_positive_rate: OpenShare  # of a video with one track, at `flag` and at `strict`
    strict_false_positive_rate: OpenShare
    videos: Count = 0  # it was fitted on; 0: on none, thresholds are those of pictures

    @model_validator(mode="after")
    def _must_follow_the_scores(self) -> Self:
        if self.weights.mean + self.weights.top_third <= 0:
            raise ValueError("the weights of mean and top_third are both 0: the score would not follow the frames")
        if self.strict_false_positive_rate > self.flag_false_positive_rate:
            raise ValueError("the false positive rate at strict must not lie above that at flag")
        return self

    def for_tracks(self, tracks: int) -> Thresholds:
        """Thresholds for the highest score of several tracks, so that the false positive rate holds for the video.

        With k tracks each may exceed `flag` by chance: the threshold of a rate k times smaller is used. Between the
        rates of `flag` and `strict` the logit rises with the logarithm of the rate; above `strict` it stays.

        Args:
            tracks: that are long enough to decide; at least 1.
        """
        low, high, rate = self.thresholds.flag, self.thresholds.strict, self.flag_false_positive_rate
        span = math.log(rate / self.strict_false_positive_rate)
        share = 1.0 if span <= 0 else min(1.0, math.log(max(tracks, 1)) / span)
        if tracks <= 1 or low == high:
            return self.thresholds
        if share == 1.0 or low <= 0 or high >= 1:
            flag = high
        else:
            odds = (1 - share) * math.log(low / (1 - low)) + share * math.log(high / (1 - high))
            flag = min(max(1 / (1 + math.exp(-odds)), low), high)
        return self.thresholds.model_copy(update={"flag": flag})


class Coverage(_FrozenModel):
    """How many files with a known answer are decided ("fake" or "real"), and how many of these rightly."""

    files: Count
    decided: Share
    right: Share | None  # of the decided ones; None if there are none


class MediumCoverage(_FrozenModel):
    """Coverage of all files of one medium, and per source."""

    all: Coverage
    sources: dict[Name, Coverage] = {}


class Contract(_FrozenModel):
    """Everything a program needs to use `detector.onnx` as it was evaluated."""

    format_version: Literal[3, 4]
    network: Name
    side_px: Annotated[int, Field(ge=16, le=1024)]
    alignment: Literal["ffhq"]
    crop_scale: Annotated[float, Field(ge=0.1, le=4.0)]  # side of the crop over the side of FFHQ's square
    # of fakes, in the order of the graph's `kinds`; one if only one was trained
    kinds: Annotated[tuple[Name, ...], Field(min_length=1, max_length=20)]
    min_face_px: Annotated[int, Field(ge=1, le=10_000)]
    temperature: Annotated[float, Field(ge=0.01, le=100.0)]  # p_fake = sigmoid(logit / temperature)
    thresholds: Thresholds  # of pictures
    video: VideoCalibration
    coverage: dict[Medium, MediumCoverage] = {}
    trained_on: Literal["photographs", "drawn sample"]
    data_sha256: dict[Name, Name]  # source name -> SHA-256 of its archive
    train_images: Count
    test_images: Count
    test_metrics: dict[Name, Finite]  # for example accuracy, accuracy_low, accuracy_high, auc, ...
    run_id: Name = ""  # MLflow run that trained it; in older bundles only, so that equal trainings give equal bundles
    weights_sha256: Name  # `weights_sha256`: independent of the file format
