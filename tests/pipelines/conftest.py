"""A workspace with a few small crops, on which a real training takes seconds."""

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
def make_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path
) -> Iterator[Callable[..., Workspace]]:
    """Crops per split and settings -> a workspace with all inputs of `train`; it becomes the current folder."""
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
        sources = [{"name": "faces", "kind": "sample", "sha256": "ab" * 32}]
        write_json(workspace.report("download"), {"sources": sources})
        return workspace

    yield make
    keras.config.set_dtype_policy("float32")


def _crops(splits: Mapping[str, int]) -> list[Any]:
    """Noise; every second crop is a fake and has a faint checkerboard."""
    from deepfake_detector.datasets.archive import Entry
    from deepfake_detector.preparation.crops import CropResult

    rng = np.random.default_rng(0)
    pattern = (np.indices((SIDE_PX, SIDE_PX)).sum(axis=0) % 2 * 40)[..., None]
    return [
        CropResult(
            Entry(f"{split}/{i}.jpg", split, i % 2),
            (rng.integers(60, 200, (SIDE_PX, SIDE_PX, 3)) + pattern * (i % 2)).astype(np.uint8),
            landmarks_px=LANDMARKS_PX,
        )
        for split, n in splits.items()
        for i in range(n)
    ]
