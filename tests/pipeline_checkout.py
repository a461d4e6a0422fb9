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
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.config import Register
from deepfake_detector.errors import ModelNotFound
from deepfake_detector.evaluation.prediction_table import PredictionTable
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.paths import Workspace
from deepfake_detector.registry.candidate import Candidate, read_candidate
from deepfake_detector.registry.decisions import Rescorer
from deepfake_detector.registry.model_registry import RegistrySnapshot

IMAGES = 200
REPOSITORY = Path(__file__).parents[1]
EXPERIMENT = "tiny-runs"
RULES = Register(
    experiment=EXPERIMENT, model_name="tiny", min_accuracy=0.6, max_ece=0.5, min_robust_accuracy=0.5, max_size_mib=32.0,
    max_latency_ms=1000.0, same_contract=True, max_auc_loss=0.002, max_accuracy_loss=0.02, max_slice_loss=0.05,
    min_slice_images=20, min_left_out_auc=0.0, max_left_out_auc_loss=0.02, max_coverage_loss=0.1,
)  # fmt: skip
LINEAGE = {"git_commit": "c" * 40, "git_dirty": "false"}
# What the stages need.
PIPELINE_FILES = (
    *("README.md", "bentofile.yaml", "requirements-image.lock", "drop.txt", "dvc.yaml", "params.yaml"),
    *("gx", "pipelines", "pyproject.toml", "src"),
)


def copy_repository(root: Path, files: Sequence[str], images: tuple[int, int, int], epochs: int) -> None:
    """Copy the repository to a new folder, with settings for a pipeline of about a minute.

    Args:
        root: is created.
        files: files and folders to copy.
        images: sample pictures per class for train, valid, test.
        epochs: of the training.
    """
    root.mkdir()
    for name in files:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copyfile
        copy(REPOSITORY / name, root / name)
    (root / ".dvc").mkdir()
    for name in (".gitignore", "config"):
        shutil.copyfile(REPOSITORY / ".dvc" / name, root / ".dvc" / name)
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    params["download"]["sample"] |= dict(zip(("train", "valid", "test"), images, strict=True))
    params["validate"]["min_images_per_class"] = 5
    params["prepare"]["side_px"] = 64
    params["train"] |= {"epochs": epochs, "batch_size": 16}
    params["evaluate"]["bootstrap"] = 100
    params["register"] |= {"min_accuracy": 0.0, "max_ece": 1.0, "min_robust_accuracy": 0.0}
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def area_under_roc(labels: NDArray[np.int64], p_fake: NDArray[np.float64]) -> float:
    """By definition: the share of (fake, real) pairs in the right order; ties count half."""
    gaps = p_fake[labels == 1][:, None] - p_fake[labels == 0][None, :]
    return float(np.mean(gaps > 0) + np.mean(gaps == 0) / 2)


def weights_of_seed(seed: int) -> str:
    """The digest of the weights of `PipelineCheckout.candidate(seed=seed)`."""
    return f"{seed:02d}" * 32


def load_keras(path: Path) -> Any:
    from deepfake_detector.model.export import load_trained

    return load_trained(path)


class StubRescorer:
    """A rescorer without engine and pictures: 1 ms per crop, and the given scores by bundle digest, if any."""

    def __init__(self, scores: Mapping[str, PredictionTable] | None = None) -> None:
        self.by_bundle = dict(scores or {})
        self.rescored: list[str] = []

    def latency_ms(self, bundle: Bundle) -> float:
        return 1.0

    def scores(self, bundle: Bundle) -> PredictionTable:
        self.rescored.append(bundle.sha256)
        if bundle.sha256 not in self.by_bundle:
            raise ModelNotFound("no test pictures here")
        return self.by_bundle[bundle.sha256]


class PipelineCheckout:
    """Writes the outputs of the stages before `register`, for a tiny network."""

    def __init__(self, root: Path, tiny: Any, empty_store: Path) -> None:
        self.empty_store = empty_store
        self.workspace = Workspace(root)
        self.rules = RULES
        self._tiny = tiny

    def candidate(
        self,
        noise: float = 0.2,
        seed: int = 0,
        p_fake: NDArray[np.float64] | None = None,
        columns: Mapping[str, Sequence[str]] | None = None,
        test_digest: str = "t" * 64,
        failed_check: bool = False,
        robust_accuracy: float | None = None,
        **changed: object,
    ) -> Candidate:
        """Write a trained, evaluated and sealed model; more noise makes it worse, another seed gives other weights.

        Args:
            noise: standard deviation of the scores.
            seed: of the scores; the weights depend on it.
            p_fake: (200,) scores in place of drawn ones.
            columns: further columns of predictions.csv, (200,) values each, by which the gate makes slices.
            test_digest: of the test pictures.
            failed_check: whether a data check failed.
            robust_accuracy: mean accuracy over the corruption grid, if measured.
            changed: fields of the bundle's contract.
        """
        labels = np.tile([0, 1], IMAGES // 2)
        if p_fake is None:
            p_fake = np.clip(labels * 0.4 + 0.3 + np.random.default_rng(seed).normal(0, noise, IMAGES), 0, 1)
        accuracy = float(np.mean((p_fake >= 0.5) == labels))
        contract = {
            "trained_on": "drawn sample",
            "data_sha256": {"sample": "d" * 64},
            "weights_sha256": weights_of_seed(seed),
            "kinds": ("synthetic", "swap"),
            "test_images": IMAGES,
            "test_metrics": {"accuracy": accuracy},
        } | changed
        self._write_predictions(labels, p_fake, columns or {})
        self._write_train_report(str(contract["weights_sha256"]))
        self._write_evaluate_report(accuracy, area_under_roc(labels, p_fake), test_digest, robust_accuracy)
        check = {"name": "copies", "severity": "stop", "passed": not failed_check}
        self._write_report("validate", {"checks": [check], "probes": []})
        self._tiny.write_bundle(self.workspace.bundle, 8.0 + seed, **contract)
        self._write_keras_model(seed)
        return read_candidate(self.workspace)

    def register(
        self, candidate: Candidate, rescorer: Rescorer | None = None, lineage: Mapping[str, str] = LINEAGE, **rules: Any
    ) -> RegistrySnapshot:
        """Record and register a candidate, under the rules of this checkout with some changed."""
        from deepfake_detector.registry.record import record_candidate
        from deepfake_detector.registry.registration import register_candidate

        settings = self.changed_rules(**rules)
        recorded = record_candidate(candidate, EXPERIMENT, lineage, load_keras)
        return register_candidate(candidate, recorded, lineage, settings, rescorer or StubRescorer())

    def changed_rules(self, **rules: Any) -> Register:
        """The rules of this checkout with some changed."""
        return Register(**{**vars(self.rules), **rules})

    def write_params(self, **register: object) -> None:
        """Write the repository's own params.yaml with other rules for the registry."""
        params = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
        params["register"] |= {"experiment": EXPERIMENT, "model_name": "tiny"} | register
        self.workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")

    def _write_train_report(self, weights_sha256: str) -> None:
        self._write_report("train", {
            "network": "tiny", "params": {"epochs": 2, "network": "tiny"}, "epochs": 2,
            "weights_sha256": weights_sha256, "data_sha256": {"sample": "d" * 64}, "parameters": 4,
            "history": "reports/train/history.csv",
        })  # fmt: skip
        folder = self.workspace.figures("train")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "history.csv").write_text("epoch,loss,val_auc\n1,0.7,0.6\n2,0.5,0.9\n", encoding="utf-8")

    def _write_evaluate_report(
        self, accuracy: float, auc: float, test_digest: str, robust_accuracy: float | None
    ) -> None:
        estimate = {"value": accuracy, "low": accuracy - 0.05, "high": min(1.0, accuracy + 0.05)}
        grid = {} if robust_accuracy is None else {"grid": {"all": {"accuracy": {"value": robust_accuracy}}}}
        report = {
            "test": {"images": IMAGES, "accuracy": estimate, "auc": {"value": auc}, "ece": 0.1},
            "valid": {"images": 40, "auc": {"value": 0.9}},
            "calibration": {"temperature": 1.0},
            "per_source": {"sample": {"images": IMAGES, "accuracy": estimate}},
            "test_digest": test_digest,
        }
        self._write_report("evaluate", report | grid)

    def _write_predictions(
        self, labels: NDArray[np.int64], p_fake: NDArray[np.float64], columns: Mapping[str, Sequence[str]]
    ) -> None:
        folder = self.workspace.figures("evaluate")
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "predictions.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "label", "p_fake", *columns])
            rows = zip(labels, p_fake, *columns.values(), strict=True)
            writer.writerows((f"sample/{i:03d}.jpg", *row) for i, row in enumerate(rows))
        Image.new("RGB", (20, 10), (200, 30, 30)).save(folder / "roc.png")
        (folder / "report.html").write_text("<h1>Tiny</h1>", encoding="utf-8")

    def _write_keras_model(self, seed: int) -> None:
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

    def _write_report(self, stage: str, content: Mapping[str, object]) -> None:
        path = self.workspace.report(stage)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path, libraries: None, tiny: Any
) -> PipelineCheckout:
    """A checkout with an empty, migrated store; the test process works inside it."""
    root = tmp_path / "checkout"
    root.mkdir()
    shutil.copyfile(empty_store, root / "mlflow.db")
    made = PipelineCheckout(root, tiny, empty_store)
    for name, value in made.workspace.tool_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "3600")  # so that no system metric is logged
    monkeypatch.chdir(root)
    return made


@pytest.fixture(scope="session")
def libraries() -> None:
    """MLflow and Keras, imported once without their warnings, which nothing here can change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.keras
        import mlflow.pyfunc
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
        from sqlalchemy.orm import configure_mappers

        configure_mappers()
