"""reports/evaluate.json (nested) -> one number per name, in groups as MLflow's pages show them (before the slash)."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_detector.errors import BundleCorrupt, ModelNotFound
from deepfake_detector.evaluation.prediction_table import Scores, read_scores
from deepfake_detector.model.bundle import Bundle, read_bundle
from deepfake_detector.paths import Workspace
from deepfake_detector.registry.gate import Facts, Judged, facts_of

PLAIN = ("test", "valid", "calibration")  # test_accuracy, test_accuracy_low, ...: the names of DVC's metrics too
GROUPS = {"per_source": "source"}  # sections under another name than their own: source/faces/accuracy
INTERVALS = ("low", "high")
_ILLEGAL = re.compile(r"[^0-9A-Za-z_.\- /]")


def numbers(judged: Mapping[str, Any]) -> dict[str, float]:
    """Flatten the report.

    The sections test, valid and calibration keep their intervals; of all others the values alone are told, or MLflow's
    comparison would be drowned in them.
    """
    flat: dict[str, float] = {}
    for section, content in judged.items():
        if not isinstance(content, Mapping):
            continue
        if section in PLAIN:
            flat |= {f"{section}_{name}": value for name, value in flatten(content).items()}
        else:
            flat |= _grouped(GROUPS.get(section, section), content)
    return {_ILLEGAL.sub("_", name): value for name, value in flat.items()}


def flatten(figures: Mapping[str, Any]) -> dict[str, float]:
    """Nested figures as one number per name: {"auc": {"value": v, "low": l}} gives auc and auc_low; no text."""
    flat: dict[str, float] = {}
    for name, figure in figures.items():
        if isinstance(figure, Mapping):
            flat |= {name if k == "value" else f"{name}_{k}": v for k, v in flatten(figure).items()}
        elif isinstance(figure, int | float) and not isinstance(figure, bool):
            flat[name] = float(figure)
    return flat


def _grouped(group: str, content: Mapping[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, figure in content.items():
        if isinstance(figure, Mapping) and "value" in figure:
            flat |= _grouped(group, {name: figure["value"]})
        elif isinstance(figure, Mapping):
            flat |= _grouped(f"{group}/{name}", figure)
        elif isinstance(figure, int | float) and not isinstance(figure, bool) and name not in INTERVALS:
            flat[f"{group}/{name}"] = float(figure)
    return flat


LOGGED = ("*.png", "*.html", "*.md")  # of what `evaluate` draws and writes for people
STOOD = ("dvc.lock", "params.yaml")  # files whose digests are in the lineage: with them and git, all can be had again
MAX_SOURCES = 40  # characters of a run's name


@dataclass(frozen=True, eq=False)
class Candidate:
    """A trained, judged and sealed model that asks to be registered."""

    bundle: Bundle
    run_id: str  # of the MLflow run that trained it; the store may not know it any more
    epochs: int
    params: dict[str, str]
    history: tuple[dict[str, float], ...]  # one row per epoch
    metrics: dict[str, float]  # test_accuracy, test_accuracy_low, ..., source/faces/accuracy, ...
    facts: Facts
    scores: Scores
    figures: Path  # folder of pictures and pages
    predictions: Path  # CSV: path, label, p_fake
    keras_model: Path
    stood: tuple[Path, ...]  # files that say where code and data stood

    @property
    def judged(self) -> Judged:
        """As the gate sees it."""
        return Judged(self.facts, self.scores)

    @property
    def weights_sha256(self) -> str:
        """Digest of the trained arrays."""
        return self.bundle.contract.weights_sha256

    @property
    def name(self) -> str:
        """What the run is called, for example `residual 8 epochs on faces 1a2b3c4d`."""
        sources = "+".join(sorted(self.bundle.contract.data_sha256))
        sources = sources if len(sources) <= MAX_SOURCES else f"{len(self.bundle.contract.data_sha256)} sources"
        return f"{self.bundle.contract.network} {self.epochs} epochs on {sources} {self.weights_sha256[:8]}"

    @property
    def tags(self) -> dict[str, str]:
        """What tells this model from others in MLflow's run table."""
        contract = self.bundle.contract
        data = {f"data_sha256:{source}": digest for source, digest in contract.data_sha256.items()}
        return data | {
            "network": contract.network,
            "source": ", ".join(sorted(contract.data_sha256)),
            "trained_on": contract.trained_on,
            "trained_by_run": self.run_id,
            "test_digest": self.scores.test_digest,
            "weights_sha256": self.weights_sha256,
            "bundle_sha256": self.bundle.sha256,
        }

    @property
    def pages(self) -> list[Path]:
        """Pictures and pages for people, in the order of their names."""
        return sorted(path for pattern in LOGGED for path in self.figures.glob(pattern))

    @property
    def digest(self) -> str:
        """SHA-256 over everything that a run records; another figure or number gives another digest."""
        parts: list[Any] = [self.name, self.bundle.sha256, self.metrics, self.history, self.params]
        for path in [*self.pages, self.predictions]:
            parts.append((path.name, hashlib.sha256(path.read_bytes()).hexdigest()))
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
    checked = workspace.report("validate")
    predictions = workspace.figures("evaluate") / "predictions.csv"
    return Candidate(
        bundle=bundle,
        run_id=trained["run_id"],
        epochs=int(trained["epochs"]),
        params={key: str(value) for key, value in (trained["params"] | {"parameters": trained["parameters"]}).items()},
        history=_history(workspace.root / trained["history"]),
        metrics=numbers(judged) | {"train_seconds": float(trained["seconds"])},
        facts=facts_of(bundle, judged, _report(checked) if checked.is_file() else None),
        scores=read_scores(predictions, judged["test_digest"], bundle.contract.thresholds.flag),
        figures=workspace.figures("evaluate"),
        predictions=predictions,
        keras_model=workspace.trained / "model.keras",
        stood=tuple(path for path in (workspace.root / name for name in STOOD) if path.is_file()),
    )


def _report(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelNotFound(f"no report {path}", "run `make repro`, which trains and judges a model first") from error
    return content


def _history(path: Path) -> tuple[dict[str, float], ...]:
    with path.open(encoding="utf-8", newline="") as file:
        return tuple({key: float(value) for key, value in row.items()} for row in csv.DictReader(file))
