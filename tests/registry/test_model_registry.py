"""Snapshots of the registry: a store's file gives what MLflow gives, and no store is no error."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from deepfake_detector.registry import model_registry
from deepfake_detector.registry.model_registry import RegistrySnapshot, read_registry
from deepfake_detector.tracking.store import open_client
from tests.pipeline_checkout import PipelineCheckout


def test_the_file_and_mlflow_give_the_same_snapshot(checkout: PipelineCheckout) -> None:
    checkout.register(checkout.candidate(0.3, 1))
    snapshot = checkout.register(checkout.candidate(0.1, 2))
    assert snapshot == model_registry._read_by_client("tiny")
    assert [version.number for version in snapshot.versions] == ["1", "2"]
    open_client().delete_model_version("tiny", "1")
    assert read_registry("tiny") == model_registry._read_by_client("tiny")
    assert [version.number for version in read_registry("tiny").versions] == ["2"]


def test_no_store_and_a_store_with_other_tables(
    checkout: PipelineCheckout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert read_registry("tiny") == RegistrySnapshot((), {})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    assert read_registry("tiny") == RegistrySnapshot()
    assert not (tmp_path / "none.db").exists()
    shutil.copyfile(checkout.empty_store, tmp_path / "none.db")
    with closing(sqlite3.connect(tmp_path / "none.db")) as connection:  # of another MLflow: its client is asked
        connection.execute("UPDATE alembic_version SET version_num = 'other'")
        connection.commit()
    monkeypatch.setattr(model_registry, "_read_by_client", lambda name: RegistrySnapshot((), {"asked": name}))
    assert read_registry("tiny").aliases == {"asked": "tiny"}
