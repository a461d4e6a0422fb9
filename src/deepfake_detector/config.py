"""params.yaml -> frozen, typed settings; an unknown, renamed or missing key is refused with its full path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from ruamel.yaml.error import YAMLError

from deepfake_detector.errors import SettingsError
from deepfake_detector.renamed_settings import refuse_renamed, setting_leaves
from deepfake_detector.yaml_file import read_yaml

CONFIG = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
MAX_NUMBER = 2**32  # of any setting: seeds are the largest
Share = Annotated[float, Field(ge=0.0, le=1.0)]
OpenShare = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Grey = Annotated[float, Field(ge=0, le=255)]
Auc = Annotated[float, Field(ge=0.5, le=1.0)]
Positive = Annotated[float, Field(gt=0)]
# Part of paths and addresses.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Severity = Literal["stop", "warn"]
# Checks and probes whose severity is a setting; the others always stop, or always warn.
SelectableCheck = Literal[
    "duplicates_across_splits",
    "duplicates_within_split",
    "near_duplicates_across_splits",
    "brightness",
    "contrast",
    "sharpness",
    "faceless",
    "encoding",
    "metadata",
    "thumbnail",
    "border",
]
SEVERAL_ZIPS = ("archive", "labelled")  # kinds of sources that may be several
WILDCARDS = frozenset("*?[")  # of a pattern of paths
# Of sections and metrics beside the sources in reports/metrics.json and in the corruption grid.
RESERVED_NAMES = frozenset(
    {"accuracy", "all", "auc", "coverage", "ece", "false_positive_rate", "left_out", "robust_accuracy", "videos"}
)


def _all_checks_named(severity: dict[SelectableCheck, Severity]) -> dict[SelectableCheck, Severity]:
    missing = sorted(set(get_args(SelectableCheck)) - set(severity))
    if missing:
        raise ValueError(f"missing: {', '.join(missing)}")
    return severity


def _ascending(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"{ends[0]} to {ends[1]} is no range: the lower end comes first")
    return ends


Severities = Annotated[dict[SelectableCheck, Severity], AfterValidator(_all_checks_named)]
Ascending = AfterValidator(_ascending)


@dataclass(frozen=True, config=CONFIG)
class Sample:
    """How many pictures the embedded data set holds, half of each class, and the seed they are drawn from."""

    seed: int
    train: Annotated[int, Field(ge=4, multiple_of=2)]
    valid: Annotated[int, Field(ge=4, multiple_of=2)]
    test: Annotated[int, Field(ge=4, multiple_of=2)]


@dataclass(frozen=True, config=CONFIG)
class Source:
    """One data set."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40)]  # of its archive, data/raw/NAME.zip
    kind: Literal["sample", "archive", "kaggle", "labelled", "videos"]
    fake_kind: Literal["synthetic", "swap"]
    # A path or a pattern of paths, a list of zips, or a Kaggle handle; empty for the sample.
    location: str | tuple[Annotated[str, Field(min_length=1)], ...] = ""
    sha256: str = ""
    terms: str = ""  # of use, one sentence: what is trained on these pictures is bound by it too, so the card tells it
    use: Literal["train", "test"] = (
        "train"  # test: validated, prepared and scored, never trained, calibrated or tuned on
    )
    family: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9_-]*)?$", max_length=40)] = ""  # empty: its own
    weight: Annotated[float, Field(gt=0, le=100)] = 1.0  # share of the batches under `train.sampling: balanced`
    feedback: bool = False  # written by `deepfake feedback export`: splits as given; outside of other sources' metrics

    @property
    def is_several(self) -> bool:
        """Whether the location is a list of zips, or a pattern that is no path itself."""
        if isinstance(self.location, tuple):
            return True
        pattern = self.kind in SEVERAL_ZIPS and not WILDCARDS.isdisjoint(self.location)
        return pattern and not Path(self.location).expanduser().exists()

    @property
    def family_name(self) -> str:
        """Sources of one family are left out together."""
        return self.family or self.name


def _distinct_names(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise ValueError(f"two sources have the same name: {', '.join(names)}")
    if sum(source.kind == "sample" for source in sources) > 1:
        raise ValueError("the sample can be a source only once: it draws the same pictures every time")
    for source in sources:
        if (not source.location) != (source.kind == "sample"):
            raise ValueError(f"source {source.name}: `location` is needed by every kind but the sample, which has none")
        if source.name in RESERVED_NAMES:
            raise ValueError(f"source {source.name}: reports use this name for something else")
        if isinstance(source.location, tuple) and source.kind not in SEVERAL_ZIPS:
            raise ValueError(f"source {source.name}: a list of zips is for kinds {' and '.join(SEVERAL_ZIPS)}")
        if source.feedback and source.kind != "labelled":
            raise ValueError(f"source {source.name}: `feedback: true` is for `kind: labelled`")
        if source.kind == "videos" and source.use != "test":
            raise ValueError(f"source {source.name}: videos are tested, not trained on: set `use: test`")
    if all(source.use == "test" for source in sources):
        raise ValueError("every source has `use: test`: one at least must be trained on (`use: train`)")
    return sources


Sources = Annotated[tuple[Source, ...], Field(min_length=1), AfterValidator(_distinct_names)]


@dataclass(frozen=True, config=CONFIG)
class Download:
    """Where the pictures come from."""

    sources: Sources
    held_out_share: Annotated[float, Field(gt=0, lt=0.5)]
    max_unpacked_gib: Annotated[float, Field(gt=0)]
    sample: Sample

    @property
    def max_unpacked_bytes(self) -> int:
        """Of one archive."""
        return int(self.max_unpacked_gib * 2**30)

    @property
    def fake_kinds(self) -> dict[str, str]:
        """Source of pictures -> kind of its fakes."""
        return {source.name: source.fake_kind for source in self.sources if source.kind != "videos"}

    @property
    def left_out(self) -> frozenset[str]:
        """Sources of pictures that are never trained on, calibrated on or used for thresholds."""
        return frozenset(source.name for source in self.sources if source.use == "test" and source.kind != "videos")

    @property
    def feedback(self) -> frozenset[str]:
        """Sources that hold pictures from `deepfake feedback export`."""
        return frozenset(source.name for source in self.sources if source.feedback)

    @property
    def feedback_slices(self) -> frozenset[str]:
        """Of them, those that are held out from training."""
        return self.feedback & self.left_out

    @property
    def videos(self) -> tuple[Source, ...]:
        """Sources of videos."""
        return tuple(source for source in self.sources if source.kind == "videos")

    @property
    def families(self) -> dict[str, str]:
        """Source of training pictures -> its family."""
        return {source.name: source.family_name for source in self.sources if source.use == "train"}

    @property
    def weights(self) -> dict[str, float]:
        """Source of training pictures -> its weight."""
        return {source.name: source.weight for source in self.sources if source.use == "train"}


@dataclass(frozen=True, config=CONFIG)
class Validate:
    """What the data must fulfil before anything is trained on it."""

    min_images_per_class: Count
    max_class_imbalance: Share
    max_unreadable_share: Share
    min_side_px: Count
    max_faceless_share: Share
    brightness: tuple[Grey, Grey]  # lowest and highest mean grey
    min_contrast: Grey  # standard deviation of grey
    min_sharpness: Annotated[float, Field(ge=0)]  # variance of the Laplacian, at 256 px
    near_duplicate_bits: Annotated[int, Field(ge=0, le=16)]  # of the 64 of a perceptual hash
    max_metadata_auc: Auc
    max_thumbnail_auc: Auc
    max_border_gap: Annotated[float, Field(ge=-0.5, le=0.5)]  # AUC of the border alone minus that of the centre alone
    max_sharpness_auc: Auc
    probe_images: Annotated[int, Field(ge=100)]
    severity: Severities


@dataclass(frozen=True, config=CONFIG)
class Prepare:
    """How pictures become crops."""

    side_px: Annotated[int, Field(ge=32, le=512, multiple_of=8)]
    crop_scale: Annotated[float, Field(ge=0.4, le=1.2)]  # of FFHQ's square
    min_face_px: Count
    shard_mib: Count
    seed: int
    reencode: Annotated[int, Field(ge=0, le=95)]  # JPEG quality; 0: as they are
    drop: Annotated[str, Field(min_length=1)]  # a text file
    drop_duplicates: bool
    matched_copies: Annotated[int, Field(ge=0, le=8)]  # of each training picture


@dataclass(frozen=True, config=CONFIG)
class Train:
    """How the network learns."""

    network: Literal["residual", "plain", "original", "efficientnet_lite0", "fused"]
    epochs: Count
    batch_size: Count
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_epochs: Annotated[int, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    augment: Literal["none", "shift", "corruptions"]
    self_blend: Annotated[float, Field(ge=0, le=0.9)]  # share of the real crops
    cutmix: Share  # of all crops
    precision: Literal["auto", "mixed_bfloat16", "float32"]
    ema_momentum: Annotated[float, Field(ge=0, lt=1)]
    patience: Annotated[int, Field(ge=0)]  # epochs; 0: never stop early
    seed: int
    sampling: Literal["uniform", "balanced"] = "uniform"
    steps_per_epoch: Annotated[int, Field(ge=0)] = 0  # of balanced sampling; 0: as many crops as there are
    start_from: str = ""  # shipped, champion, imagenet, or a path of a bundle or a .keras file; empty: random weights
    frozen_blocks: Annotated[int, Field(ge=0, le=16)] = 0  # of the backbone, from the first; with its stem
    frozen_branch: Literal["", "residual", "backbone"] = ""  # of the network `fused`
    backbone_learning_rate: Annotated[float, Field(gt=0, le=10)] = 1.0  # times learning_rate
    replay: str = ""  # a path of features of earlier pictures; empty: all weights are trained


@dataclass(frozen=True, config=CONFIG)
class Evaluate:
    """How thresholds are set and how sure the figures are."""

    flag_false_positive_rate: Share
    strict_false_positive_rate: Share
    clear_false_negative_rate: Share
    video_flag_false_positive_rate: Share
    video_clear_false_negative_rate: Share
    simulated_videos: Annotated[int, Field(ge=0, le=100_000)]  # in all; 0: videos get the thresholds of pictures
    calibrate_on: Literal["as_trained", "clean", "corruptions"]
    mirrored: bool
    bootstrap: Annotated[int, Field(ge=100)]
    calibration_bins: Annotated[int, Field(ge=2)]
    grid_images: Annotated[int, Field(ge=0)]  # per source; 0: all
    explain_images: Annotated[int, Field(ge=2)]
    seed: int
    max_recompression_gain: Share
    max_score_drift: Share
    min_background_gap: Share
    max_false_positive_rate: Share
    quick: bool = False  # few pictures and resamples; the gate refuses the model
    drift_report: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$", max_length=100)] = (
        ""  # its name; "": there is none
    )


@dataclass(frozen=True, config=CONFIG)
class Register:
    """When a candidate may become champion."""

    experiment: Name
    model_name: Name
    min_accuracy: Share
    max_ece: Share
    min_robust_accuracy: Share
    max_size_mib: Annotated[float, Field(gt=0)]
    max_latency_ms: Annotated[float, Field(gt=0)]
    same_contract: bool
    max_auc_loss: Share
    max_accuracy_loss: Share
    max_slice_loss: Share
    min_left_out_auc: Share
    max_left_out_auc_loss: Share
    max_coverage_loss: Share
    min_slice_images: Count


@dataclass(frozen=True, config=CONFIG)
class Package:
    """What the served package is called."""

    bento_name: Name


@dataclass(frozen=True, config=CONFIG)
class Tune:
    """Lowest and highest value of a setting of `train`, or its choices; the bounds are those of `Train`."""

    learning_rate: Annotated[tuple[Positive, Positive], Ascending]
    weight_decay: Annotated[tuple[Positive, Positive], Ascending]
    dropout: Annotated[tuple[OpenShare, OpenShare], Ascending]
    self_blend: Annotated[tuple[OpenShare, Annotated[float, Field(ge=0, le=0.9)]], Ascending]
    ema_momentum: Annotated[tuple[OpenShare, ...], Field(min_length=1)]  # choices
    batch_size: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]  # choices
    warmup_epochs: Annotated[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]], Ascending]
    startup_trials: Annotated[int, Field(ge=1)]
    grace_epochs: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=CONFIG)
class Settings:
    """All of params.yaml."""

    download: Download
    validate: Validate
    prepare: Prepare
    train: Train
    evaluate: Evaluate
    register: Register
    package: Package
    tune: Tune


def read_settings(path: Path) -> Settings:
    """Read and check a settings file.

    Args:
        path: a YAML file with one mapping per stage.

    Raises:
        SettingsError: the file is missing, is not YAML, or a key is unknown, missing or out of range; the
            message names each key by its full path, for example `train.epochs`.
    """
    try:
        content = read_yaml(path)
    except FileNotFoundError as error:
        raise SettingsError(
            f"no settings at {path}", "run from the repository's root, where params.yaml lies"
        ) from error
    except (YAMLError, ValueError) as error:  # among them bad UTF-8, and numbers of thousands of digits
        raise SettingsError(f"{path} is not readable YAML: {error}", "correct the line it names") from error
    refuse_renamed(content, path)
    _refuse_absurd_numbers(content, path)
    try:
        # As JSON: strict types, but mappings still become sections.
        return TypeAdapter(Settings).validate_json(json.dumps(content))
    except (ValidationError, TypeError) as error:
        raise SettingsError(
            f"{path.name} cannot be used:\n  " + "\n  ".join(_problems(error)),
            "params.yaml explains every key in place",
        ) from error


def _problems(error: ValidationError | TypeError) -> list[str]:
    if isinstance(error, TypeError):  # a date or a set, which YAML has and JSON has not
        return [str(error)]
    return [f"{'.'.join(str(part) for part in e['loc']) or '(whole file)'}: {e['msg']}" for e in error.errors()]


def _refuse_absurd_numbers(content: Any, path: Path) -> None:
    """Name the numbers that no setting can have; JSON and the checks of single settings let some of them through."""
    found = [
        f"{key} = {str(value)[:40]}"
        for key, value in setting_leaves(content)
        if isinstance(value, int | float) and not abs(value) <= MAX_NUMBER
    ]
    if found:
        raise SettingsError(
            f"{path.name} has numbers that are infinite, undefined or above {MAX_NUMBER:,}: " + ", ".join(found),
            "params.yaml explains every key in place",
        )
