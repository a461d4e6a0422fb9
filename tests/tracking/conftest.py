"""An empty MLflow store in the current folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deepfake_detector.paths import Workspace


@pytest.fixture
def store_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path, libraries: None) -> Path:
    """The current folder, with an empty mlflow.db that MLflow uses."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    shutil.copyfile(empty_store, folder / "mlflow.db")
    for name, value in Workspace(folder).tool_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "3600")  # no system metrics among those of a run
    monkeypatch.chdir(folder)
    return folder
