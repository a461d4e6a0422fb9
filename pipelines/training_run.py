"""What surrounds a training: its MLflow run, its checkpoint, and the files it leaves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_detector.data.archives import written_whole
from deepfake_detector.data.shards import Shards
from deepfake_detector.model import network, training
from deepfake_detector.model.export import weights_sha256
from deepfake_detector.model.training import Checkpoint, Trained
from deepfake_detector.registry.lineage import read_lineage
from deepfake_detector.registry.runs import start_run
from deepfake_detector.settings import Settings
from deepfake_detector.workspace import Workspace


@dataclass(frozen=True)
class Following:
    """A training in progress: where it is written down and where its state is kept."""

    run_id: str
    checkpoint: Checkpoint
    log_epoch: Callable[[int, Mapping[str, float]], None]


@contextmanager
def follow(workspace: Workspace, settings: Settings, shards: Shards) -> Iterator[Following]:
    """Start an MLflow run, or go on with the one of the same training that was killed.

    Trainings are the same when their settings, their data and the code of network and training are.
    """
    data = _told(workspace, "sha256")
    key = _key(settings, shards, data)
    note = workspace.checkpoints / f"{key}.run"
    killed_run = note.read_text(encoding="utf-8").strip() if note.is_file() else None
    lineage = read_lineage(workspace.root)
    lineage |= {f"data_sha256:{source}": digest for source, digest in data.items()}
    lineage |= {f"source_kind:{source}": kind for source, kind in _told(workspace, "kind").items()}
    name = f"{settings.train.network}-{settings.train.epochs}ep"
    with start_run(settings.register.experiment, name, asdict(settings.train), lineage, killed_run) as run:
        with written_whole(note) as fresh:
            fresh.write_text(run.run_id, encoding="utf-8")
        yield Following(run.run_id, Checkpoint(workspace.checkpoints / f"{key}.npz"), run.log_epoch)
        note.unlink(missing_ok=True)


def keep(workspace: Workspace, settings: Settings, trained: Trained) -> dict[str, Any]:
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


def _key(settings: Settings, shards: Shards, data: Mapping[str, str]) -> str:
    facts = [asdict(settings.train), asdict(settings.prepare), dict(data)]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    digest.update((shards.folder / "index.parquet").read_bytes())
    for module in (network, training):
        digest.update(Path(str(module.__file__)).read_bytes())
    return f"train-{digest.hexdigest()[:16]}"
