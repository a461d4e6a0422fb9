"""What `evaluate` finds out: logits of the served graph -> calibration, figures, contract."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_detector.data.shards import Shards
from deepfake_detector.evidence.card import model_card
from deepfake_detector.evidence.metrics import Figures, Slice, measure, measure_slices
from deepfake_detector.model.bundle import FORMAT_VERSION, Bundle, Contract, Thresholds, write_bundle
from deepfake_detector.model.calibration import fit_temperature, fit_thresholds, probabilities
from deepfake_detector.model.export import export_graph, load_trained, weights_sha256
from deepfake_detector.scoring.engine import Engine
from deepfake_detector.settings import Settings
from deepfake_detector.workspace import Workspace

REFERENCE_CROPS = 16
_UNCALIBRATED = Thresholds(clear=0.5, flag=0.5, strict=0.5)


@dataclass(frozen=True, eq=False)
class Judgement:
    """Everything that was found out about one trained model."""

    contract: Contract
    valid: Figures
    test: Figures
    per_source: dict[str, Slice]  # of the test pictures
    test_sha256: str  # of the test crops and labels: the same pictures give the same digest
    paths: list[str]  # of the test pictures
    labels: NDArray[np.int64]  # (n,) of the test pictures
    p_fake: NDArray[np.float64]  # (n,) of the test pictures
    history: pd.DataFrame
    parameters: int
    reencode: int

    @property
    def thresholds(self) -> Thresholds:
        """Set on the validation split."""
        return self.contract.thresholds

    def report(self) -> dict[str, Any]:
        """For reports/evaluate.json."""
        return {
            "test": self.test.as_dict(),
            "valid": self.valid.as_dict(),
            "per_source": {name: figures.as_dict() for name, figures in self.per_source.items()},
            "test_digest": self.test_sha256,
            "calibration": {"temperature": self.contract.temperature, **self.thresholds.model_dump()},
            "weights_sha256": self.contract.weights_sha256,
        }


def judge(workspace: Workspace, settings: Settings, shards: Shards, scratch: Path) -> Judgement:
    """Score both held-out splits with the graph that will serve, and measure.

    Args:
        workspace: holds the trained model and the reports of earlier stages.
        settings: params.yaml.
        shards: the crops.
        scratch: a folder for the graph and its reference outputs; `seal` takes them from there.
    """
    model = load_trained(workspace.trained / "model.keras")
    valid, tested = shards.arrays("valid"), shards.arrays("test")
    export_graph(model, valid.crops[:REFERENCE_CROPS], scratch / "detector.onnx", scratch / "reference.npz")
    draft = _contract(workspace, settings, shards, model)
    engine = Engine(write_bundle(scratch / "draft", scratch / "detector.onnx", draft, scratch / "reference.npz", ""))
    valid_logits = engine.score(valid.crops).logits.astype(np.float64)
    temperature = fit_temperature(valid_logits, valid.labels)
    p_valid = probabilities(valid_logits, temperature)
    p_test = probabilities(engine.score(tested.crops).logits.astype(np.float64), temperature)
    resamples, bins = settings.evaluate.bootstrap, settings.evaluate.calibration_bins
    test = measure(p_test, tested.labels, resamples, bins)
    found = {
        "temperature": temperature,
        "thresholds": fit_thresholds(p_valid, valid.labels, settings.evaluate),
        "test_images": test.images,
        "test_metrics": test.flat(),
    }
    return Judgement(
        contract=draft.model_copy(update=found),
        valid=measure(p_valid, valid.labels, resamples, bins),
        test=test,
        per_source=measure_slices(p_test, tested.labels, tested.sources, resamples),
        test_sha256=shards.digest("test"),
        paths=tested.paths,
        labels=tested.labels,
        p_fake=p_test,
        history=pd.read_csv(workspace.figures("train") / "history.csv"),
        parameters=model.count_params(),
        reencode=settings.prepare.reencode,
    )


def seal(workspace: Workspace, judgement: Judgement, scratch: Path) -> Bundle:
    """Put graph, contract and card together into models/bundle."""
    shutil.rmtree(scratch / "draft")
    card = model_card(judgement.contract, judgement.parameters, judgement.per_source, judgement.reencode)
    return write_bundle(
        workspace.bundle, scratch / "detector.onnx", judgement.contract, scratch / "reference.npz", card
    )


def _contract(workspace: Workspace, settings: Settings, shards: Shards, model: keras.Model) -> Contract:
    trained = json.loads(workspace.report("train").read_text(encoding="utf-8"))
    return Contract(
        format_version=FORMAT_VERSION,
        network=model.name,
        side_px=shards.side_px,
        alignment="ffhq",
        min_face_px=settings.prepare.min_face_px,
        temperature=1.0,
        thresholds=_UNCALIBRATED,
        trained_on=_trained_on(trained["source_kinds"]),
        data_sha256=trained["data_sha256"],
        train_images=shards.crops["train"],
        test_images=0,
        test_metrics={},
        run_id=trained["run_id"],
        weights_sha256=weights_sha256(model),
    )


def _trained_on(kinds: Mapping[str, str]) -> Literal["drawn sample", "photographs"]:
    """One source that is not the sample makes it a model of photographs, whatever the sources are called."""
    return "drawn sample" if set(kinds.values()) == {"sample"} else "photographs"
