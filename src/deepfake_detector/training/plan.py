"""Settings and shards -> a training plan, its MLflow run and checkpoint, and the files of a finished training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd
import tensorflow as tf

from deepfake_detector.code_digest import code_digest
from deepfake_detector.config import Settings, Train
from deepfake_detector.errors import SettingsError
from deepfake_detector.io import atomic_write, sha256_of_file
from deepfake_detector.media.augmentation import Augment, CorruptedView, CutMixPatches
from deepfake_detector.model.export import save_trained, weights_sha256
from deepfake_detector.model.network import cell_px
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.shards import FAKE_KINDS, Shards
from deepfake_detector.tracking.lineage import read_lineage
from deepfake_detector.tracking.runs import start_run
from deepfake_detector.training.balanced_batches import (
    BalancedAugment,
    balanced_steps,
    balanced_training_batches,
    balanced_valid_batches,
)
from deepfake_detector.training.balanced_sampling import BalancedSampler
from deepfake_detector.training.batches import (
    HELD_OUT_BATCH_SIZE,
    CropTransform,
    fitting_batch_size,
    held_out_batches,
    steps_per_epoch,
    training_batches,
)
from deepfake_detector.training.checkpoint import Checkpoint
from deepfake_detector.training.fit import TrainingResult, train
from deepfake_detector.training.replay import Features, fit_with_replay, read_replay
from deepfake_detector.training.starting_weights import StartingWeights, starting_weights

# Code that decides the result of a training: a checkpoint is resumed only with the same code and libraries.
RESUME_MODULES = ("deepfake_detector.training.plan",)  # it imports the rest
RESUME_LIBRARIES = ("av", "keras", "numpy", "opencv-python-headless", "pillow", "scipy", "tensorflow")


@dataclass(frozen=True)
class RunContext:
    """A training in progress: its MLflow run and its checkpoint."""

    run_id: str
    checkpoint: Checkpoint
    log_epoch: Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class TrainingPlan:
    """All inputs of a training, checked before its run is started."""

    settings: Train
    side_px: int
    kinds: tuple[str, ...]
    batches: Callable[[int], tf.data.Dataset]
    steps: int
    valid: tf.data.Dataset
    start: StartingWeights
    earlier: Features | None = None  # of `train.replay`

    def fit(
        self, run: RunContext, on_epoch: Callable[[int, Mapping[str, float]], None] | None = None
    ) -> TrainingResult:
        """Train, resuming an interrupted run; `on_epoch` gets each epoch's metrics, by default the run logs them."""
        if self.earlier is not None:
            return fit_with_replay(
                self.settings, self.side_px, self.kinds, self.batches(0).take(self.steps * self.settings.epochs),
                self.valid, self.earlier, on_epoch or run.log_epoch,
                lambda model: self.start.apply(model, self.kinds, self.batches),
            )  # fmt: skip
        return train(
            self.settings, self.side_px, len(self.kinds), self.batches, self.steps, self.valid, run.checkpoint,
            on_epoch or run.log_epoch, lambda model: self.start.apply(model, self.kinds, self.batches),
        )  # fmt: skip


def plan_training(workspace: Workspace, settings: Settings, shards: Shards) -> TrainingPlan:
    """Choose starting weights, kinds, augmentation, batches and validation views.

    Args:
        workspace: holds what `train.start_from` names.
        settings: params.yaml; the sections `train` and `download` count.
        shards: the crops.

    Raises:
        DataRejected: there are fewer than two training crops, or no crop of a class.
        SettingsError, ModelNotFound: `train.start_from` does not fit, see `starting_weights`.
    """
    start = starting_weights(workspace, settings.train)
    if settings.train.sampling == "balanced":
        return _plan_balanced(workspace, settings, shards, start)
    options = _fit_batches(settings.train, shards.crops.get("train", 0))
    kinds, transform, views = plan_transforms(options, (*shards.kinds, *start.kinds))
    steps = steps_per_epoch(shards, options.batch_size)
    mix = _batch_mix(options, kinds)
    batches = training_batches(shards, options.batch_size, options.seed, kinds, transform, mix)
    valid = held_out_batches(shards, "valid", HELD_OUT_BATCH_SIZE, kinds, views)
    earlier = _earlier_features(workspace, options, kinds, start)
    return TrainingPlan(options, shards.side_px, kinds, batches, steps, valid, start, earlier)


def _plan_balanced(workspace: Workspace, settings: Settings, shards: Shards, start: StartingWeights) -> TrainingPlan:
    index, weights = shards.index(), settings.download.weights
    trained = index[(index["split"] == "train") & (index["shard"] != "") & index["source"].isin(list(weights))]
    options = _fit_batches(settings.train, int((trained["copy"] == 0).sum()))
    kinds, _, views = plan_transforms(options, (*trained["kind"].unique(), *start.kinds))
    sampler = BalancedSampler(index, weights, options.batch_size, options.self_blend)
    steps = balanced_steps(options, sampler)
    augment = BalancedAugment(options.augment, 1 + kinds.index("swap") if options.self_blend else 0)
    batches = balanced_training_batches(
        shards, index, sampler, steps, options.seed, kinds, augment, _batch_mix(options, kinds)
    )
    valid = balanced_valid_batches(shards, index, weights, kinds, views)
    earlier = _earlier_features(workspace, options, kinds, start)
    return TrainingPlan(options, shards.side_px, kinds, batches, steps, valid, start, earlier)


def _earlier_features(
    workspace: Workspace, settings: Train, kinds: tuple[str, ...], start: StartingWeights
) -> Features | None:
    if not settings.replay:
        return None
    if settings.cutmix:
        raise SettingsError(
            f"train.replay fits whole faces, and train.cutmix is {settings.cutmix}", "set train.cutmix to 0"
        )
    weights = start.contract.weights_sha256 if start.contract else ""
    return read_replay(workspace.root / settings.replay, kinds, weights)


def _fit_batches(settings: Train, crops: int) -> Train:
    """The settings with a batch size that fits the number of training crops."""
    size = fitting_batch_size(settings.batch_size, crops)
    if size < settings.batch_size:
        print(f"{crops} training crops: batches of {size} crops instead of train.batch_size {settings.batch_size}")
    return replace(settings, batch_size=size)


def _batch_mix(settings: Train, kinds: tuple[str, ...]) -> CutMixPatches | None:
    if not settings.cutmix or settings.network == "original":  # its map has one cell, larger than any patch
        return None
    return CutMixPatches(settings.cutmix, cell_px(), 1 + kinds.index("swap") if "swap" in kinds else None)


def plan_transforms(
    settings: Train, found: tuple[str, ...]
) -> tuple[tuple[str, ...], CropTransform, list[CropTransform]]:
    """Choose the kinds of fakes, the augmentation and the views of the validation split.

    Args:
        settings: params.yaml's `train`.
        found: kinds of fakes in the training split and in the bundle that the training starts from.

    Returns:
        The kinds to train on (self-blended crops count as swaps), the augmentation of training crops, and the views of
        the validation split: unchanged and, if `train.augment` is `corruptions`, corrupted.
    """
    kinds = tuple(kind for kind in FAKE_KINDS if kind in found or (kind == "swap" and settings.self_blend > 0))
    swap = 1 + kinds.index("swap") if settings.self_blend > 0 else 0
    views: list[CropTransform] = [Augment("none"), *([CorruptedView()] if settings.augment == "corruptions" else [])]
    return kinds, Augment(settings.augment, settings.self_blend, swap), views


@contextmanager
def run_context(
    workspace: Workspace,
    settings: Settings,
    shards: Shards,
    command: str = "train",
    tags: Mapping[str, str] | None = None,
) -> Iterator[RunContext]:
    """Start an MLflow run, or continue that of the same training if it was interrupted.

    Args:
        workspace: holds checkpoints and the reports of earlier stages.
        settings: params.yaml.
        shards: the crops.
        command: stage or command; a training of another one is never resumed.
        tags: of the run, beside its lineage.
    """
    digests, source_kinds = _download_report(workspace, "sha256"), _download_report(workspace, "kind")
    key = training_key(workspace, settings, shards, command, asdict(settings.train))
    run_id_file = workspace.checkpoints / f"{key}.run"
    interrupted_run = run_id_file.read_text(encoding="utf-8").strip() if run_id_file.is_file() else None
    lineage = read_lineage(workspace.root)
    lineage |= {f"data_sha256:{source}": digest for source, digest in digests.items()}
    lineage |= {f"source_kind:{source}": kind for source, kind in source_kinds.items()} | dict(tags or {})
    name = f"{settings.train.network}-{settings.train.epochs}ep"
    with start_run(settings.register.experiment, name, asdict(settings.train), lineage, interrupted_run) as run:
        with atomic_write(run_id_file) as temporary:
            temporary.write_text(run.run_id, encoding="utf-8")
        yield RunContext(run.run_id, Checkpoint(workspace.checkpoints / f"{key}.npz"), run.log_epoch)
        run_id_file.unlink(missing_ok=True)


def write_training_outputs(
    workspace: Workspace, settings: Settings, result: TrainingResult, kinds: tuple[str, ...]
) -> dict[str, Any]:
    """Write models/trained/model.keras and reports/train/history.csv; return the content of reports/train.json.

    The same training gives the same bytes: its times, commit and MLflow run are recorded in MLflow alone.
    """
    history, start = workspace.figures("train") / "history.csv", starting_weights(workspace, settings.train)
    save_trained(result.model, workspace.trained / "model.keras")
    with atomic_write(history) as temporary:
        pd.DataFrame(result.history).to_csv(temporary, index=False)
    return {
        "network": settings.train.network,
        "params": asdict(settings.train),
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "kinds": kinds if settings.train.network != "original" else kinds[:1],
        "parameters": result.parameters,
        "precision": result.precision,
        "started_from_sha256": start.sha256,  # "" without a model
        "starting_calibration": start.calibration,
        "weights_sha256": weights_sha256(result.model),
        "data_sha256": _download_report(workspace, "sha256"),
        "source_kinds": _download_report(workspace, "kind"),
        "history": str(history.relative_to(workspace.root)),
    }


def _download_report(workspace: Workspace, key: str) -> dict[str, str]:
    """Source name -> one value of its entry in reports/download.json; sources with `use: test` are left out."""
    report = json.loads(workspace.report("download").read_text(encoding="utf-8"))
    return {source["name"]: source[key] for source in report["sources"] if source.get("use", "train") == "train"}


def training_key(workspace: Workspace, settings: Settings, shards: Shards, command: str, train_settings: object) -> str:
    """A file name that trainings share if and only if they have the same settings, data and code.

    Args:
        workspace: holds the report of `download`.
        settings: params.yaml; of its section `train` only what `start_from` names is read.
        shards: the crops.
        command: stage or command; the name begins with it.
        train_settings: the settings that decide the training, as JSON can write them.
    """
    values = [train_settings, asdict(settings.prepare), _download_report(workspace, "sha256")]
    values.append(settings.download.weights)
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    digest.update((shards.folder / "index.parquet").read_bytes())
    digest.update(starting_weights(workspace, settings.train).sha256.encode())
    if settings.train.replay:
        digest.update(sha256_of_file(workspace.root / settings.train.replay).encode())
    digest.update(code_digest(*RESUME_MODULES, libraries=RESUME_LIBRARIES).encode())
    return f"{command}-{digest.hexdigest()[:16]}"
