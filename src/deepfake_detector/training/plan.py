"""What surrounds a training: its MLflow run, its checkpoint, and the files it leaves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import tensorflow as tf

from deepfake_detector.code_digest import code_digest
from deepfake_detector.config import Settings, Train
from deepfake_detector.io import atomic_write
from deepfake_detector.media.augmentation import Augment, Patchwork, Sent
from deepfake_detector.model.export import weights_sha256
from deepfake_detector.model.network import place_px
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.shards import KINDS, Shards
from deepfake_detector.tracking.lineage import read_lineage
from deepfake_detector.tracking.runs import start_run
from deepfake_detector.training.batches import (
    HELD_OUT_BATCH,
    Change,
    held_out_batches,
    steps_per_epoch,
    training_batches,
)
from deepfake_detector.training.checkpoint import Checkpoint
from deepfake_detector.training.fit import Trained, train

# What shapes a training: a checkpoint is resumed only by the same code and libraries.
CODE = tuple(f"deepfake_detector.{name}" for name in ("media.augmentation", "training.batches", "training.fit"))
LIBRARIES = ("keras", "numpy", "opencv-python-headless", "pillow", "tensorflow")


@dataclass(frozen=True)
class Following:
    """A training in progress: where it is written down and where its state is kept."""

    run_id: str
    checkpoint: Checkpoint
    log_epoch: Callable[[int, Mapping[str, float]], None]
    git_commit: str  # when it began: HEAD may move before it ends


@dataclass(frozen=True)
class Course:
    """All that a training needs, put together and checked before its run is started."""

    how: Train
    side_px: int
    kinds: tuple[str, ...]
    batches: Callable[[int], tf.data.Dataset]
    steps: int
    valid: tf.data.Dataset

    def fit(self, run: Following, on_epoch: Callable[[int, Mapping[str, float]], None] | None = None) -> Trained:
        """Train, going on where a killed run stopped; each epoch is told to `on_epoch`, else to the run alone."""
        told = on_epoch or run.log_epoch
        return train(
            self.how, self.side_px, len(self.kinds), self.batches, self.steps, self.valid, run.checkpoint, told
        )


def course(how: Train, shards: Shards) -> Course:
    """Settings and crops -> what is to be learnt, in which batches, and what it is validated on.

    Raises:
        DataRejected: there are fewer training crops than one batch.
    """
    kinds, augment, views = changes(how, shards.kinds)
    steps = steps_per_epoch(shards, how.batch_size)
    batches = training_batches(shards, how.batch_size, how.seed, kinds, augment, _mix(how, kinds))
    valid = held_out_batches(shards, "valid", HELD_OUT_BATCH, kinds, views)
    return Course(how, shards.side_px, kinds, batches, steps, valid)


def _mix(how: Train, kinds: tuple[str, ...]) -> Patchwork | None:
    if not how.patchwork or how.network == "original":  # which has one place only, and no piece would fill it
        return None
    return Patchwork(how.patchwork, place_px(), 1 + kinds.index("swap") if "swap" in kinds else None)


def changes(how: Train, found: tuple[str, ...]) -> tuple[tuple[str, ...], Change, list[Change]]:
    """What is learnt, and from what.

    Args:
        how: params.yaml's `train`.
        found: kinds of fakes in the training split.

    Returns:
        The kinds that are told apart (self-blended crops count as swaps), the change of training crops, and the views
        in which the validation split is shown: as it is, and as traffic would leave it if that is trained for.
    """
    kinds = tuple(kind for kind in KINDS if kind in found or (kind == "swap" and how.blend > 0))
    swap = 1 + kinds.index("swap") if how.blend > 0 else 0
    views: list[Change] = [Augment("none"), *([Sent()] if how.augment == "traffic" else [])]
    return kinds, Augment(how.augment, how.blend, swap), views


@contextmanager
def follow(
    workspace: Workspace, settings: Settings, shards: Shards, what: str = "train", tags: dict[str, str] | None = None
) -> Iterator[Following]:
    """Start an MLflow run, or go on with the one of the same training that was killed.

    Args:
        workspace: holds checkpoints and the reports of earlier stages.
        settings: params.yaml.
        shards: the crops.
        what: stage or command; a training of another one is another training.
        tags: of the run, beside its lineage.
    """
    data = _told(workspace, "sha256")
    key = same_training(workspace, settings, shards, what, asdict(settings.train))
    note = workspace.checkpoints / f"{key}.run"
    killed_run = note.read_text(encoding="utf-8").strip() if note.is_file() else None
    lineage = read_lineage(workspace.root)
    commit = lineage["git_commit"]
    lineage |= {f"data_sha256:{source}": digest for source, digest in data.items()}
    lineage |= {f"source_kind:{source}": kind for source, kind in _told(workspace, "kind").items()} | (tags or {})
    name = f"{settings.train.network}-{settings.train.epochs}ep"
    with start_run(settings.register.experiment, name, asdict(settings.train), lineage, killed_run) as run:
        with atomic_write(note) as fresh:
            fresh.write_text(run.run_id, encoding="utf-8")
        yield Following(run.run_id, Checkpoint(workspace.checkpoints / f"{key}.npz"), run.log_epoch, commit)
        note.unlink(missing_ok=True)


def keep(workspace: Workspace, settings: Settings, trained: Trained, kinds: tuple[str, ...]) -> dict[str, Any]:
    """Write model and history; what reports/train.json says of them."""
    history = workspace.figures("train") / "history.csv"
    workspace.trained.mkdir(parents=True, exist_ok=True)
    history.parent.mkdir(parents=True, exist_ok=True)
    trained.model.save(workspace.trained / "model.keras")
    pd.DataFrame(trained.history).to_csv(history, index=False)
    return {
        "network": settings.train.network,
        "params": asdict(settings.train),
        "epochs": len(trained.history),
        "best_epoch": trained.best_epoch,
        "kinds": kinds if settings.train.network != "original" else kinds[:1],
        "parameters": trained.parameters,
        "precision": trained.precision,
        "resumed_at_epoch": trained.resumed_at,
        "weights_sha256": weights_sha256(trained.model),
        "data_sha256": _told(workspace, "sha256"),
        "source_kinds": _told(workspace, "kind"),
        "history": str(history.relative_to(workspace.root)),
    }


def _told(workspace: Workspace, what: str) -> dict[str, str]:
    """What reports/download.json says of each source."""
    fetched = json.loads(workspace.report("download").read_text(encoding="utf-8"))
    return {source["name"]: source[what] for source in fetched["sources"]}


def same_training(workspace: Workspace, settings: Settings, shards: Shards, what: str, how: Any) -> str:
    """A name that two trainings share when what they do, their data and the code that shapes them are the same.

    Args:
        workspace: holds the report of `download`.
        settings: params.yaml; of `train` only what `how` says counts.
        shards: the crops.
        what: stage or command; the name begins with it.
        how: settings, as JSON can write them.
    """
    facts = [how, asdict(settings.prepare), _told(workspace, "sha256")]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    digest.update((shards.folder / "index.parquet").read_bytes())
    digest.update(code_digest(*CODE, libraries=LIBRARIES).encode())
    return f"{what}-{digest.hexdigest()[:16]}"
