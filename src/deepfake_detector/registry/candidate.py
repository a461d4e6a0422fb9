"""Reports and bundle of one training -> one candidate: everything that MLflow and the gate are told about it."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_detector.errors import BundleCorrupt, ModelNotFound
from deepfake_detector.model.bundle import Bundle, read_bundle
from deepfake_detector.registry.gate import Scores
from deepfake_detector.workspace import Workspace

SPLITS = ("test", "valid", "calibration")  # sections of reports/evaluate.json that hold numbers


@dataclass(frozen=True, eq=False)
class Candidate:
    """A trained, judged and sealed model that asks to be registered."""

    bundle: Bundle
    run_id: str  # of the MLflow run that trained it; the store may not know it any more
    epochs: int
    params: dict[str, str]
    history: tuple[dict[str, float], ...]  # one row per epoch
    metrics: dict[str, float]  # test_accuracy, test_accuracy_low, ..., valid_auc, ...
    scores: Scores
    figures: Path  # folder of PNG files
    predictions: Path  # CSV: path, label, p_fake
    keras_model: Path

    @property
    def weights_sha256(self) -> str:
        """Digest of the trained arrays."""
        return self.bundle.contract.weights_sha256

    @property
    def name(self) -> str:
        """What the run is called, for example residual-8ep-1a2b3c4d."""
        return f"{self.bundle.contract.network}-{self.epochs}ep-{self.weights_sha256[:8]}"

    @property
    def tags(self) -> dict[str, str]:
        """What tells this model from others in MLflow's run table."""
        contract = self.bundle.contract
        data = {f"data_sha256:{source}": digest for source, digest in contract.data_sha256.items()}
        return data | {
            "network": contract.network,
            "source": ", ".join(sorted(contract.data_sha256)),
            "trained_on": contract.trained_on,
            "test_digest": self.scores.test_digest,
            "weights_sha256": self.weights_sha256,
            "bundle_sha256": self.bundle.sha256,
        }

    @property
    def digest(self) -> str:
        """SHA-256 over everything that a run records; another figure or number gives another digest."""
        files = [*sorted(self.figures.glob("*.png")), self.predictions]
        parts: list[Any] = [self.bundle.sha256, self.metrics, self.history, self.params]
        parts += [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_candidate(workspace: Workspace) -> Candidate:
    """Read what `train` and `evaluate` left, and check that it belongs together.

    Raises:
        ModelNotFound: a report or the bundle is missing.
        BundleCorrupt: the bundle was changed, or is of other weights than the reports speak of.
    """
    bundle = read_bundle(workspace.bundle)
    trained, judged = (_report(workspace.report(stage)) for stage in ("train", "evaluate"))
    if trained["weights_sha256"] != bundle.contract.weights_sha256:
        raise BundleCorrupt(
            f"{workspace.bundle} holds weights {bundle.contract.weights_sha256[:12]}, reports/train.json speaks of "
            f"{trained['weights_sha256'][:12]}",
            "run `dvc repro evaluate`, which seals the bundle anew",
        )
    predictions = workspace.figures("evaluate") / "predictions.csv"
    metrics = {f"{split}_{key}": value for split in SPLITS for key, value in flatten(judged.get(split, {})).items()}
    return Candidate(
        bundle=bundle,
        run_id=trained["run_id"],
        epochs=int(trained["epochs"]),
        params={key: str(value) for key, value in (trained["params"] | {"parameters": trained["parameters"]}).items()},
        history=_history(workspace.root / trained["history"]),
        metrics=metrics | {"train_seconds": float(trained["seconds"])},
        scores=read_scores(predictions, judged["test_digest"], metrics["test_accuracy"], bundle),
        figures=workspace.figures("evaluate"),
        predictions=predictions,
        keras_model=workspace.trained / "model.keras",
    )


def read_scores(predictions: Path, test_digest: str, accuracy: float, bundle: Bundle) -> Scores:
    """Scores in the order of the pictures' names, so that two models' scores stand side by side.

    Args:
        predictions: CSV with the columns path, label (1 = fake) and p_fake.
        test_digest: of the test pictures.
        accuracy: 0..1 on them.
        bundle: the model that gave them.
    """
    with predictions.open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["path"])
    return Scores(
        labels=np.array([int(row["label"]) for row in rows], dtype=np.int64),
        p_fake=np.array([float(row["p_fake"]) for row in rows], dtype=np.float64),
        accuracy=accuracy,
        test_digest=test_digest,
        trained_on=bundle.contract.trained_on,
        bundle_sha256=bundle.sha256,
    )


def flatten(figures: Mapping[str, Any]) -> dict[str, float]:
    """Nested figures as one number per name: {"auc": {"value": v, "low": l}} gives auc and auc_low; no text."""
    flat: dict[str, float] = {}
    for name, figure in figures.items():
        if isinstance(figure, Mapping):
            flat |= {name if k == "value" else f"{name}_{k}": v for k, v in flatten(figure).items()}
        elif isinstance(figure, int | float) and not isinstance(figure, bool):
            flat[name] = float(figure)
    return flat


def _report(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelNotFound(f"no report {path}", "run `make repro`, which trains and judges a model first") from error
    return content


def _history(path: Path) -> tuple[dict[str, float], ...]:
    with path.open(encoding="utf-8", newline="") as file:
        return tuple({key: float(value) for key, value in row.items()} for row in csv.DictReader(file))
