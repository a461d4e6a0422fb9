"""Outputs of `train` and `evaluate` (bundle, reports, predictions) -> one candidate for the registry."""

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
from deepfake_detector.evaluation.prediction_table import PredictionTable, read_predictions
from deepfake_detector.io import read_json
from deepfake_detector.model.bundle import Bundle, read_bundle
from deepfake_detector.paths import Workspace
from deepfake_detector.registry.model_facts import EvaluatedModel, ModelFacts, collect_facts

LOGGED = ("*.png", "*.html", "*.md")  # of the folder of figures
LINEAGE_FILES = ("dvc.lock", "params.yaml")  # with these and git, code and data can be restored
MAX_SOURCES = 40  # characters of a run's name
NAMED_IF_USED = ("self_blend", "cutmix", "ema_momentum")  # settings; 0 switches them off
WITH_INTERVALS = ("test", "valid", "calibration")  # test_accuracy, test_accuracy_low, ...: DVC's names of metrics too
GROUPS = {"per_source": "source"}  # sections of the report that MLflow shows under another name
INTERVALS = ("low", "high")
_ILLEGAL = re.compile(r"[^0-9A-Za-z_.\- /]")  # in MLflow's names of metrics


@dataclass(frozen=True, eq=False)
class Candidate:
    """A trained, evaluated and sealed model that is to be registered."""

    bundle: Bundle
    epochs: int
    params: dict[str, str]
    history: tuple[dict[str, float], ...]  # one row per epoch
    metrics: dict[str, float]  # test_accuracy, test_accuracy_low, ..., source/faces/accuracy, ...
    facts: ModelFacts
    scores: PredictionTable
    figures: Path  # folder of figures and pages
    predictions: Path  # CSV: path, label, p_fake
    keras_model: Path
    lineage_files: tuple[Path, ...]  # those of LINEAGE_FILES that exist

    @property
    def evaluated(self) -> EvaluatedModel:
        """Facts and predictions, as the gate takes them."""
        return EvaluatedModel(self.facts, self.scores)

    @property
    def weights_sha256(self) -> str:
        """Digest of the trained arrays."""
        return self.bundle.contract.weights_sha256

    @property
    def name(self) -> str:
        """Name of its run, for example `1a2b3c4d residual 8 epochs lr 0.001 shift on faces`.

        The digest of the weights comes first, because MLflow's run table shows the first 20 characters only.
        """
        sources = "+".join(sorted(self.bundle.contract.data_sha256))
        sources = sources if len(sources) <= MAX_SOURCES else f"{len(self.bundle.contract.data_sha256)} sources"
        words = [self.weights_sha256[:8], self.bundle.contract.network, f"{self.epochs} epochs"]
        return f"{' '.join([*words, *_named_settings(self.params)])} on {sources}"

    @property
    def tags(self) -> dict[str, str]:
        """Tags that identify this model in MLflow's run table."""
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
    def figure_files(self) -> list[Path]:
        """Figures and pages, sorted by name."""
        return sorted(path for pattern in LOGGED for path in self.figures.glob(pattern))

    @property
    def digest(self) -> str:
        """SHA-256 over everything that its run records; it changes with any figure or number."""
        parts: list[Any] = [self.name, self.bundle.sha256, self.metrics, self.history, self.params]
        for path in [*self.figure_files, self.predictions]:
            parts.append((path.name, hashlib.sha256(path.read_bytes()).hexdigest()))
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_candidate(workspace: Workspace) -> Candidate:
    """Read the outputs of `train` and `evaluate`, and check that they belong together.

    Raises:
        ModelNotFound: a report or the bundle is missing.
        BundleCorrupt: the bundle was changed, or has other weights than the reports name.
    """
    bundle = read_bundle(workspace.bundle)
    training, evaluation = (_read_report(workspace.report(stage)) for stage in ("train", "evaluate"))
    if training["weights_sha256"] != bundle.contract.weights_sha256:
        raise BundleCorrupt(
            f"{workspace.bundle} holds weights {bundle.contract.weights_sha256[:12]}, reports/train.json names "
            f"{training['weights_sha256'][:12]}",
            "run `dvc repro evaluate`, which writes the bundle again",
        )
    validation = workspace.report("validate")
    predictions = workspace.figures("evaluate") / "predictions.csv"
    params = training["params"] | {"parameters": training["parameters"]}
    return Candidate(
        bundle=bundle,
        epochs=int(training["epochs"]),
        params={key: str(value) for key, value in params.items()},
        history=_read_epochs(workspace.root / training["history"]),
        metrics=flatten_report(evaluation),
        facts=collect_facts(bundle, evaluation, _read_report(validation) if validation.is_file() else None),
        scores=read_predictions(
            predictions,
            evaluation["test_digest"],
            bundle.contract.thresholds.flag,
            bundle.contract.thresholds.clear,
        ),
        figures=workspace.figures("evaluate"),
        predictions=predictions,
        keras_model=workspace.trained / "model.keras",
        lineage_files=tuple(path for path in (workspace.root / name for name in LINEAGE_FILES) if path.is_file()),
    )


def _named_settings(params: Mapping[str, str]) -> list[str]:
    """The settings in which trainings differ most, as words of a run's name."""
    words = [f"lr {params['learning_rate']}"] if "learning_rate" in params else []
    words += [params["augment"]] if "augment" in params else []
    return words + [f"{name} {params[name]}" for name in NAMED_IF_USED if float(params.get(name, 0))]


def flatten_report(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Flatten reports/evaluate.json for MLflow, which groups metrics by what stands before the slash.

    Only the sections of WITH_INTERVALS keep their intervals: with those of all others MLflow's comparison of runs would
    have three times as many rows.
    """
    flat: dict[str, float] = {}
    for section, content in evaluation.items():
        if not isinstance(content, Mapping):
            continue
        if section in WITH_INTERVALS:
            flat |= {f"{section}_{name}": value for name, value in flatten_metrics(content).items()}
        else:
            flat |= _grouped(GROUPS.get(section, section), content)
    return {_ILLEGAL.sub("_", name): value for name, value in flat.items()}


def flatten_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Nested metrics as one number per name: {"auc": {"value": v, "low": l}} gives auc and auc_low; text is dropped."""
    flat: dict[str, float] = {}
    for name, metric in metrics.items():
        if isinstance(metric, Mapping):
            flat |= {name if k == "value" else f"{name}_{k}": v for k, v in flatten_metrics(metric).items()}
        elif isinstance(metric, int | float) and not isinstance(metric, bool):
            flat[name] = float(metric)
    return flat


def _grouped(group: str, content: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of one section as `group/name`, without intervals."""
    flat: dict[str, float] = {}
    for name, metric in content.items():
        if isinstance(metric, Mapping) and "value" in metric:
            flat |= _grouped(group, {name: metric["value"]})
        elif isinstance(metric, Mapping):
            flat |= _grouped(f"{group}/{name}", metric)
        elif isinstance(metric, int | float) and not isinstance(metric, bool) and name not in INTERVALS:
            flat[f"{group}/{name}"] = float(metric)
    return flat


def _read_report(path: Path) -> dict[str, Any]:
    try:
        return read_json(path, "run `dvc repro`, which writes it again")
    except FileNotFoundError as error:
        raise ModelNotFound(f"no report {path}", "run `make repro`, which trains and evaluates a model") from error


def _read_epochs(path: Path) -> tuple[dict[str, float], ...]:
    with path.open(encoding="utf-8", newline="") as file:
        return tuple({key: float(value) for key, value in row.items()} for row in csv.DictReader(file))
