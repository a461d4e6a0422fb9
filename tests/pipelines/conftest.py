"""A workspace with a handful of small crops, in which a real training takes seconds."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from deepfake_detector.io import write_json
from deepfake_detector.paths import Workspace

PARAMS = Path(__file__).parents[2] / "params.yaml"
SIDE_PX = 32
LANDMARKS_PX = np.array([(10, 12), (22, 12), (16, 17), (11, 22), (21, 22)], np.float32)


@pytest.fixture
def trainable(tmp_path, monkeypatch, empty_store) -> Iterator[Callable[..., Workspace]]:
    """Crops per split and settings -> the workspace, which is the current folder, with all that `train` reads."""
    import keras  # not above: most stages' tests need no TensorFlow

    from deepfake_detector.preparation.shard_writer import write_shards

    def make(splits: Mapping[str, int], train: Mapping[str, Any], tune: Mapping[str, Any] | None = None) -> Workspace:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(Workspace, "enter", lambda self: self)
        shutil.copyfile(empty_store, tmp_path / "mlflow.db")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
        workspace = Workspace()
        params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
        params["train"] |= {"batch_size": 8, "precision": "float32", **train}
        params["tune"] |= tune or {}
        workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
        write_shards(_crops(splits), workspace.shards, SIDE_PX, 10**6, {"": "synthetic"})
        told = {"sources": [{"name": "faces", "kind": "sample", "sha256": "ab" * 32}]}
        write_json(workspace.report("download"), told)
        return workspace

    yield make
    keras.config.set_dtype_policy("float32")


def _crops(splits: Mapping[str, int]) -> list[Any]:
    """Noise; every second one is a fake and bears a faint chessboard."""
    from deepfake_detector.datasets.archive import Entry
    from deepfake_detector.preparation.crops import Crop

    random = np.random.default_rng(0)
    trace = (np.indices((SIDE_PX, SIDE_PX)).sum(axis=0) % 2 * 40)[..., None]
    return [
        Crop(
            Entry(f"{split}/{i}.jpg", split, i % 2),
            (random.integers(60, 200, (SIDE_PX, SIDE_PX, 3)) + trace * (i % 2)).astype(np.uint8),
            "",
            landmarks_px=LANDMARKS_PX,
        )
        for split, n in splits.items()
        for i in range(n)
    ]
