"""A small checkout as `evaluate` leaves it, with real files, and an MLflow store that needs no migration of its own."""

from __future__ import annotations

import csv
import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from deepfake_detector.config import Register
from deepfake_detector.errors import ModelNotFound
from deepfake_detector.evaluation.prediction_table import Scores
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.paths import Workspace
from deepfake_detector.registry.candidate import Candidate, read_candidate

IMAGES = 200
REPOSITORY = Path(__file__).parents[1]
RULES = Register(
    experiment="road", model_name="tiny", min_accuracy=0.6, max_ece=0.5, min_robust_accuracy=0.5, max_size_mib=32.0,
    max_latency_ms=1000.0, same_contract=True, max_auc_loss=0.002, max_accuracy_loss=0.02, max_slice_loss=0.05,
    min_slice_images=20,
)  # fmt: skip
Column = Sequence[str]


def area(labels: np.ndarray, p_fake: np.ndarray) -> float:
    """By definition: pairs in the right order, ties counting half."""
    gaps = p_fake[labels == 1][:, None] - p_fake[labels == 0][None, :]
    return float(np.mean(gaps > 0) + np.mean(gaps == 0) / 2)


class Stub:
    """A judge without engine and pictures: every bundle takes 1 ms, and has the scores it was given, if any."""

    def __init__(self, scores: Mapping[str, Scores] | None = None) -> None:
        self.given = dict(scores or {})
        self.asked: list[str] = []

    def latency_ms(self, bundle: Bundle) -> float:
        return 1.0

    def scores(self, bundle: Bundle) -> Scores:
        self.asked.append(bundle.sha256)
        if bundle.sha256 not in self.given:
            raise ModelNotFound("no test pictures here")
        return self.given[bundle.sha256]


class Road:
    """Writes what the stages before `register` write, for a tiny network."""

    judge = staticmethod(Stub)

    def __init__(self, root: Path, tiny: Any, empty_store: Path | None = None) -> None:
        self.empty_store = empty_store
        self.workspace = Workspace(root)
        self.rules = RULES
        self._tiny = tiny

    def candidate(
        self, noise: float = 0.2, seed: int = 0, p_fake: np.ndarray | None = None,
        columns: Mapping[str, Column] | None = None, **changed: object,
    ) -> Candidate:  # fmt: skip
        """Train, judge and seal: more noise makes a worse model, another seed another set of weights.

        `changed`: test (digest of its pictures), failed (data checks), robust, and fields of the contract.
        """
        labels = np.tile([0, 1], IMAGES // 2)
        if p_fake is None:
            p_fake = np.clip(labels * 0.4 + 0.3 + np.random.default_rng(seed).normal(0, noise, IMAGES), 0, 1)
        accuracy = float(np.mean((p_fake >= 0.5) == labels))
        estimate = {"value": accuracy, "low": accuracy - 0.05, "high": min(1.0, accuracy + 0.05)}
        test, failed, robust = (changed.pop(key, None) for key in ("test", "failed", "robust"))
        contract = {"run_id": "f" * 32, "trained_on": "drawn sample", "data_sha256": {"sample": "d" * 64},
                    "weights_sha256": f"{seed:02d}" * 32, "kinds": ("synthetic", "swap"), "test_images": IMAGES,
                    "test_metrics": {"accuracy": accuracy}} | changed  # fmt: skip
        self._predictions(labels, p_fake, columns or {})
        self._train_report(contract["run_id"], str(contract["weights_sha256"]))
        report = {
            "test": {"images": IMAGES, "accuracy": estimate, "auc": {"value": area(labels, p_fake)}, "ece": 0.1},
            "valid": {"images": 40, "auc": {"value": 0.9}},
            "calibration": {"temperature": 1.0},
            "per_source": {"sample": {"images": IMAGES, "accuracy": estimate}},
            "test_digest": test or "t" * 64,
        }
        self._json("evaluate", report | ({"grid": {"all": {"accuracy": {"value": robust}}}} if robust else {}))
        check = {"name": "copies", "severity": "stop", "passed": not failed}
        self._json("validate", {"checks": [check], "probes": []})
        self._tiny.write_bundle(self.workspace.bundle, 8.0 + seed, **contract)
        self._keras(seed)
        return read_candidate(self.workspace)

    def _train_report(self, run_id: object, weights: str) -> None:
        self._json("train", {
            "run_id": run_id, "network": "tiny", "params": {"epochs": 2, "network": "tiny"}, "epochs": 2,
            "weights_sha256": weights, "data_sha256": {"sample": "d" * 64}, "seconds": 1.5, "parameters": 4,
            "history": "reports/train/history.csv",
        })  # fmt: skip
        folder = self.workspace.figures("train")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "history.csv").write_text("epoch,loss,val_auc\n1,0.7,0.6\n2,0.5,0.9\n", encoding="utf-8")

    def _predictions(self, labels: np.ndarray, p_fake: np.ndarray, columns: Mapping[str, Column]) -> None:
        folder = self.workspace.figures("evaluate")
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "predictions.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "label", "p_fake", *columns])
            rows = zip(labels, p_fake, *columns.values(), strict=True)
            writer.writerows((f"sample/{i:03d}.jpg", *row) for i, row in enumerate(rows))
        Image.new("RGB", (20, 10), (200, 30, 30)).save(folder / "roc.png")
        (folder / "report.html").write_text("<h1>Tiny</h1>", encoding="utf-8")

    def _keras(self, seed: int) -> None:
        import keras

        network = keras.Sequential(
            [
                keras.Input((self._tiny.side_px, self._tiny.side_px, 3), dtype="uint8"),
                keras.layers.Rescaling(1 / 255),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(seed + 1.0)),
                keras.layers.Reshape(()),
            ]
        )
        self.workspace.trained.mkdir(parents=True, exist_ok=True)
        network.save(self.workspace.trained / "model.keras")

    def _json(self, stage: str, content: dict[str, object]) -> None:
        path = self.workspace.report(stage)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")

    def params(self, **register: object) -> None:
        """The repository's own params.yaml, with other rules for the registry."""
        params = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
        params["register"] |= {"experiment": "road", "model_name": "tiny"} | register
        self.workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")


@pytest.fixture
def road(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path, libraries: None, tiny: Any) -> Road:
    """A checkout with an empty, migrated store; this process works inside it."""
    root = tmp_path / "checkout"
    root.mkdir()
    shutil.copyfile(empty_store, root / "mlflow.db")
    made = Road(root, tiny, empty_store)
    for name, value in made.workspace.tool_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "3600")  # no surprises among the metrics
    monkeypatch.chdir(root)
    return made


@pytest.fixture(scope="session")
def libraries() -> None:
    """MLflow and Keras, imported once: 3.17's imports and tables warn about things that nothing here can change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.keras
        import mlflow.pyfunc
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
        from sqlalchemy.orm import configure_mappers

        configure_mappers()
