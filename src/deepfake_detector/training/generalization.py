"""Settings and shards -> trainings that leave out one family of sources each, and how well each scores that family.

By these numbers recipes are chosen: in-domain AUC rewards a network that knows its sources. Only training and
validation crops are read; test pictures stay unseen. Scores are logits of the Keras network, so that calibration and
thresholds do not affect the comparison.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from deepfake_detector.config import Settings
from deepfake_detector.errors import DataRejected
from deepfake_detector.io import atomic_write
from deepfake_detector.media.corruptions import corrupt_crops
from deepfake_detector.model.network import with_logit_map
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.shards import HeldOutSplit, Shards
from deepfake_detector.stats import Estimate, compared_rows, estimate_auc, estimate_proportion_of
from deepfake_detector.tracking.runs import ROLE_TAG, log_search_results
from deepfake_detector.training.checkpoint import Checkpoint
from deepfake_detector.training.plan import RunContext, plan_training, run_context, training_key

Scores = NDArray[np.float64]
VIEWS = ("clean", "corrupted")  # the validation crops as they are, and after random corruptions
COMMAND = "generalize"
PILOT_STEPS = (10, 40)  # two lengths of an epoch: their difference is the time of a step, the rest that of validation


@dataclass(frozen=True)
class Fold:
    """One family and its sources, which are left out of a training."""

    family: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class FoldResult:
    """How well a network scores the validation crops of the family that it was not trained on.

    Attributes:
        auc: view -> AUC; a family of one class is compared with the other class in the other sources. None if that is
            missing, too.
        false_positive_rate, true_positive_rate: of the family's reals and fakes, at the threshold that the reals of the
            other sources pass at `evaluate.flag_false_positive_rate`; None without such crops.
        trained_auc: of all other sources together.
    """

    fold: Fold
    reals: int
    fakes: int
    auc: Mapping[str, Estimate | None]
    false_positive_rate: Estimate | None
    true_positive_rate: Estimate | None
    trained_auc: Estimate | None
    epochs: int

    def metrics(self) -> dict[str, float]:
        """For MLflow: the metrics that are known, without intervals."""
        named = {f"left_out/auc_{view}": area for view, area in self.auc.items()}
        named |= {"left_out/false_positive_rate": self.false_positive_rate, "trained/auc": self.trained_auc,
                  "left_out/true_positive_rate": self.true_positive_rate}  # fmt: skip
        return {name: value.value for name, value in named.items() if value is not None}


@dataclass(frozen=True)
class TrainedSources(Shards):
    """Shards whose training and validation crops are those of some sources."""

    sources: tuple[str, ...] = ()

    def rows(self, split: str) -> tf.data.Dataset:
        """A split in its own order, without the crops of other sources."""
        kept = tf.constant(list(self.sources))
        return super().rows(split).filter(lambda row: tf.reduce_any(row["source"] == kept))


def find_folds(settings: Settings, shards: Shards) -> list[Fold]:
    """The families that can be left out, sorted by name: without each, both classes remain to train on.

    Raises:
        DataRejected: there is no such family.
    """
    families, index = settings.download.families, shards.index()
    trained = index[(index["split"] == "train") & (index["shard"] != "")]
    found = []
    for family in sorted(set(families.values())):
        sources = tuple(sorted(name for name, its_family in families.items() if its_family == family))
        rest = trained[trained["source"].isin(set(families) - set(sources))]
        if rest["label"].nunique() == 2:
            found.append(Fold(family, sources))
    if not found:
        raise DataRejected(
            f"no family of sources can be left out of {', '.join(sorted(families))}: the rest lacks a class",
            "list more sources in params.yaml, download.sources; docs/generalization.md",
        )
    return found


def run_fold(workspace: Workspace, settings: Settings, shards: Shards, fold: Fold) -> FoldResult:
    """Train without a family and score its validation crops; a fold of an earlier call is read from its file."""
    settings = without(settings, fold)
    name = training_key(workspace, settings, shards, f"{COMMAND}-{fold.family}", asdict(settings.train))
    path, valid = workspace.generalization / f"{name}.npz", shards.arrays("valid")
    if not path.is_file():
        scores = _train_and_score(workspace, settings, shards, fold, valid)
        with atomic_write(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **scores)
    with np.load(path) as file:
        scores = {view: file[view] for view in VIEWS}
    return measure_fold(fold, settings, scores, valid)


def measure_fold(fold: Fold, settings: Settings, scores: Mapping[str, Scores], valid: HeldOutSplit) -> FoldResult:
    """Compare the scores of the family with those of the sources that were trained on.

    Args:
        fold: the family.
        settings: `download.families` and `evaluate.flag_false_positive_rate` count.
        scores: view -> (n,) logits of the validation crops.
        valid: the split; crops of sources that are neither in the family nor trained on are left out.
    """
    names, labels = np.array(valid.sources), valid.labels
    own = np.isin(names, fold.sources)
    others = np.isin(names, list(set(settings.download.families) - set(fold.sources)))
    used = own | others
    areas = {}
    for view, values in scores.items():
        rows = compared_rows(labels[used], own[used])
        areas[view] = estimate_auc(values[used][rows], labels[used][rows])
    clean = scores[VIEWS[0]]
    reals = clean[others & (labels == 0)]
    rate = settings.evaluate.flag_false_positive_rate
    threshold = np.quantile(reals, 1 - rate) if len(reals) else np.nan
    return FoldResult(
        fold=fold,
        reals=int((own & (labels == 0)).sum()),
        fakes=int((own & (labels == 1)).sum()),
        auc=areas,
        false_positive_rate=estimate_proportion_of(clean[own & (labels == 0)] > threshold),
        true_positive_rate=estimate_proportion_of(clean[own & (labels == 1)] > threshold),
        trained_auc=estimate_auc(clean[others], labels[others]),
        epochs=settings.train.epochs,
    )


def with_epochs(settings: Settings, epochs: int | None) -> Settings:
    """Settings with another number of epochs; None keeps them."""
    return replace(settings, train=replace(settings.train, epochs=epochs or settings.train.epochs))


def with_minutes(workspace: Workspace, settings: Settings, shards: Shards, minutes: float) -> Settings:
    """Settings with balanced sampling and as many steps per epoch as fit into some minutes of training on this machine.

    A pilot measures the time of a step and of a validation pass once; its result is kept, so that all folds and later
    calls have the same budget.
    """
    train = replace(settings.train, sampling="balanced", steps_per_epoch=0)
    settings = replace(settings, train=train)
    name = training_key(workspace, settings, shards, f"{COMMAND}-pilot", asdict(train))
    path = workspace.generalization / f"{name}.npz"
    if not path.is_file():
        times_s = [_epoch_seconds(workspace, settings, shards, steps) for steps in PILOT_STEPS]
        with atomic_write(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, times_s=np.array(times_s))
    with np.load(path) as file:
        times_s = file["times_s"].tolist()
    steps = steps_within(60 * minutes, train.epochs, times_s)
    print(f"{minutes:g} minutes: {train.epochs} epochs of {steps} steps", flush=True)
    return replace(settings, train=replace(train, steps_per_epoch=steps))


def steps_within(seconds: float, epochs: int, times_s: list[float]) -> int:
    """Steps per epoch, at least 1.

    Args:
        seconds: of the whole training.
        epochs: that share them.
        times_s: of the two pilot epochs, validation included.
    """
    per_step = max((times_s[1] - times_s[0]) / (PILOT_STEPS[1] - PILOT_STEPS[0]), 1e-6)
    validation = max(0.0, times_s[0] - PILOT_STEPS[0] * per_step)
    return max(1, int((seconds / epochs - validation) / per_step))


def without(settings: Settings, fold: Fold) -> Settings:
    """Settings in which the family's sources have `use: test`, and in MLflow an experiment of its own."""
    sources = tuple(
        replace(source, use="test") if source.name in fold.sources else source for source in settings.download.sources
    )
    register = replace(settings.register, experiment=f"{settings.register.experiment}-{COMMAND}")
    return replace(settings, download=replace(settings.download, sources=sources), register=register)


def _train_and_score(
    workspace: Workspace, settings: Settings, shards: Shards, fold: Fold, valid: HeldOutSplit
) -> dict[str, Scores]:
    kept = _trained_sources(shards, tuple(sorted(settings.download.families)))
    plan = plan_training(workspace, settings, kept)
    tags = {ROLE_TAG: COMMAND, "left_out_family": fold.family, "left_out_sources": ", ".join(fold.sources)}
    with run_context(workspace, settings, shards, f"{COMMAND}-{fold.family}", tags) as run:
        model = with_logit_map(plan.fit(run).model)
        views = (valid.crops, corrupt_crops(valid.crops, settings.evaluate.seed))
        scores = {view: model.predict(crops, verbose=0)["logits"].astype(np.float64)
                  for view, crops in zip(VIEWS, views, strict=True)}  # fmt: skip
        run.checkpoint.clear()
    log_search_results(run.run_id, measure_fold(fold, settings, scores, valid).metrics(), [])
    return scores


def _trained_sources(shards: Shards, sources: tuple[str, ...]) -> TrainedSources:
    index = shards.index()
    kept = index[(index["shard"] != "") & (index["copy"] == 0) & index["source"].isin(sources)]
    fakes = kept[(kept["split"] == "train") & (kept["label"] == 1)]
    kinds = tuple(kind for kind in shards.kinds if kind in set(fakes["kind"]))
    crops = {split: int(count) for split, count in kept.groupby("split").size().items()}
    return TrainedSources(**{**vars(shards), "crops": crops, "kinds": kinds}, sources=sources)


def _epoch_seconds(workspace: Workspace, settings: Settings, shards: Shards, steps: int) -> float:
    """Time of the second epoch of a pilot: the first one compiles. Nothing is logged or kept."""
    pilot = replace(settings.train, epochs=2, steps_per_epoch=steps, warmup_epochs=0, patience=0)
    ends_s = list[float]()

    def log_epoch(_: int, __: Mapping[str, float]) -> None:
        ends_s.append(time.monotonic())

    with tempfile.TemporaryDirectory() as folder:
        run = RunContext("", Checkpoint(Path(folder) / "pilot.npz"), log_epoch)
        plan_training(workspace, replace(settings, train=pilot), shards).fit(run)
    return ends_s[1] - ends_s[0]


def mean_auc_of_families(results: list[FoldResult], view: str) -> float | None:
    """Mean AUC of the families with fakes; each family has the same weight. None if there are none."""
    areas: list[Any] = [result.auc[view] for result in results if result.fakes and result.auc[view]]
    return float(np.mean([area.value for area in areas])) if areas else None
