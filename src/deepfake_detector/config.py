"""params.yaml's `tune` -> typed ranges in which better values of `train` are looked for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from deepfake_detector.errors import SettingsError


def _low_first(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"{ends[0]} to {ends[1]} is no range: the lower end comes first")
    return ends


Positive = Annotated[float, Field(gt=0)]
Part = Annotated[float, Field(ge=0, lt=1)]
Upwards = AfterValidator(_low_first)


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Tune:
    """Lowest and highest value, or choices; the bounds are those of `settings.Train`."""

    learning_rate: Annotated[tuple[Positive, Positive], Upwards]
    weight_decay: Annotated[tuple[Positive, Positive], Upwards]
    dropout: Annotated[tuple[Part, Part], Upwards]
    blend: Annotated[tuple[Part, Annotated[float, Field(ge=0, le=0.9)]], Upwards]
    ema_momentum: Annotated[tuple[Part, ...], Field(min_length=1)]  # choices
    batch_size: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]  # choices
    warmup_epochs: Annotated[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]], Upwards]
    startup_trials: Annotated[int, Field(ge=1)]
    grace_epochs: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]


class _Yaml12(yaml.SafeLoader):
    """`dvc exp run -S` writes 1e-05, which PyYAML, of YAML 1.1, takes for a text."""


_Yaml12.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9.]*[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def load_yaml(text: str) -> Any:
    """Read one document.

    Raises:
        yaml.YAMLError: the text is no YAML.
    """
    return yaml.load(text, _Yaml12)  # a SafeLoader


Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
Grey = Annotated[float, Field(ge=0, le=255)]
Severity = Literal["stop", "warn"]
# Checks and probes whose severity a person chooses; the others always stop, or always warn.
Choosable = Literal[
    "copies_across_splits",
    "copies_within_split",
    "near_copies_across_splits",
    "brightness",
    "contrast",
    "sharpness",
    "faceless",
    "encoding",
    "metadata",
    "thumbnail",
    "border",
]
AUC = Annotated[float, Field(ge=0.5, le=1.0)]


def _all_named(severity: dict[Choosable, Severity]) -> dict[Choosable, Severity]:
    missing = sorted(set(get_args(Choosable)) - set(severity))
    if missing:
        raise ValueError(f"missing: {', '.join(missing)}")
    return severity


Severities = Annotated[dict[Choosable, Severity], AfterValidator(_all_named)]

CONFIG = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, config=CONFIG)
class Sample:
    """How many pictures the embedded data set holds, half of each class, and the seed they are drawn from."""

    seed: int
    train: Annotated[int, Field(ge=4, multiple_of=2)]
    valid: Annotated[int, Field(ge=4, multiple_of=2)]
    test: Annotated[int, Field(ge=4, multiple_of=2)]


@dataclass(frozen=True, config=CONFIG)
class Source:
    """One place that pictures come from."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40)]  # of its archive, data/raw/NAME.zip
    kind: Literal["sample", "archive", "kaggle", "labelled"]
    fake_kind: Literal["synthetic", "swap"]
    place: str = ""  # a path, or a Kaggle handle; nothing for the sample
    sha256: str = ""
    terms: str = ""  # of use, one sentence: what is trained on these pictures is bound by it too, so the card tells it


def _told_apart(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise ValueError(f"two sources have the same name: {', '.join(names)}")
    if sum(source.kind == "sample" for source in sources) > 1:
        raise ValueError("the sample can be a source only once: it draws the same pictures every time")
    for source in sources:
        if (source.place == "") != (source.kind == "sample"):
            raise ValueError(f"source {source.name}: `place` is for all kinds but the sample, and they need it")
    return sources


Sources = Annotated[tuple[Source, ...], Field(min_length=1), AfterValidator(_told_apart)]


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
        """Source -> kind of its fakes."""
        return {source.name: source.fake_kind for source in self.sources}


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
    max_metadata_auc: AUC
    max_thumbnail_auc: AUC
    max_border_gap: Annotated[float, Field(ge=-0.5, le=0.5)]  # AUC of the border alone minus that of the centre alone
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


@dataclass(frozen=True, config=CONFIG)
class Train:
    """How the network learns."""

    network: Literal["residual", "plain", "original"]
    epochs: Count
    batch_size: Count
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_epochs: Annotated[int, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    augment: Literal["none", "shift", "traffic"]
    blend: Annotated[float, Field(ge=0, le=0.9)]  # share of the real crops
    patchwork: Share  # of all crops
    precision: Literal["auto", "mixed_bfloat16", "float32"]
    ema_momentum: Annotated[float, Field(ge=0, lt=1)]
    patience: Annotated[int, Field(ge=0)]  # epochs; 0: never stop early
    seed: int


@dataclass(frozen=True, config=CONFIG)
class Evaluate:
    """How thresholds are set and how sure the figures are."""

    flag_false_positives: Share
    strict_false_positives: Share
    clear_false_negatives: Share
    calibrate_on: Literal["as_trained", "clean", "traffic"]
    mirrored: bool
    bootstrap: Annotated[int, Field(ge=100)]
    calibration_bins: Annotated[int, Field(ge=2)]
    grid_images: Annotated[int, Field(ge=0)]  # per source; 0: all
    explain_images: Annotated[int, Field(ge=2)]
    seed: int
    max_resaving_gain: Share
    max_score_drift: Share
    min_background_gap: Share
    max_false_alarms: Share


@dataclass(frozen=True, config=CONFIG)
class Register:
    """When a candidate may become champion."""

    experiment: str
    model_name: str
    min_accuracy: Share
    max_ece: Share
    min_robust_accuracy: Share
    max_size_mib: Annotated[float, Field(gt=0)]
    max_latency_ms: Annotated[float, Field(gt=0)]
    same_contract: bool
    max_auc_loss: Share
    max_accuracy_loss: Share
    max_slice_loss: Share
    min_slice_images: Count


@dataclass(frozen=True, config=CONFIG)
class Package:
    """What the served package is called."""

    bento_name: str


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
        content = load_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(
            f"no settings at {path}", "run from the repository's root, where params.yaml lies"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not readable YAML: {error}", "mend the line it names") from error
    return _checked(content, path)


def _checked(content: Any, path: Path) -> Settings:
    try:
        # As JSON: strict types, but mappings still become sections.
        return TypeAdapter(Settings).validate_json(json.dumps(content))
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in e['loc']) or '(whole file)'}: {e['msg']}" for e in error.errors()]
        raise SettingsError(
            f"{path.name} cannot be used:\n  " + "\n  ".join(lines), "params.yaml explains every key in place"
        ) from error
