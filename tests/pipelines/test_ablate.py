"""The command `ablate`: every step is a training, judged on the same pictures; nothing is done twice."""

import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pathlib import Path

import keras
import numpy as np
import pytest
import yaml

from deepfake_detector.data.archives import Entry
from deepfake_detector.data.crops import Crop
from deepfake_detector.data.shards import write_shards
from deepfake_detector.model import network
from deepfake_detector.registry.store import open_client
from deepfake_detector.settings import Train, read_settings
from deepfake_detector.workspace import Workspace
from pipelines import ablate as command
from pipelines import ablation
from pipelines.stage import run_stage, write_report

PARAMS = Path(__file__).parents[2] / "params.yaml"
SIDE_PX = 32
LANDMARKS_PX = np.array([(10, 12), (22, 12), (16, 17), (11, 22), (21, 22)], np.float32)


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Workspace:
    monkeypatch.setattr(network, "CHANNELS", ((8,), (8,)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Workspace, "enter", lambda self: self)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    workspace = Workspace()
    params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    params["train"] |= {"epochs": 3, "batch_size": 8, "precision": "float32", "warmup_epochs": 0}
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
    write_shards(_crops(), workspace.shards, SIDE_PX, 10**6, {"": "synthetic"})
    write_report(workspace.report("download"), {"sources": [{"name": "faces", "kind": "sample", "sha256": "ab" * 32}]})
    yield workspace
    keras.config.set_dtype_policy("float32")


def _crops() -> list[Crop]:
    random = np.random.default_rng(0)
    return [
        Crop(
            Entry(f"{split}/{i}.jpg", split, i % 2),
            random.integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8),
            "",
            landmarks_px=LANDMARKS_PX,
        )
        for split, n in (("train", 16), ("valid", 8), ("test", 12))
        for i in range(n)
    ]


def test_steps_are_trained_once_judged_alike_and_told(workspace, monkeypatch, capsys) -> None:
    monkeypatch.setattr(ablation, "STEPS", (ablation.STEPS[1], ablation.STEPS[2], ablation.STEPS[-1]))
    monkeypatch.setattr("sys.argv", ["ablate", "--epochs", "1"])
    assert run_stage(command.main) == 0, capsys.readouterr().err
    report = json.loads(workspace.report("ablate").read_text(encoding="utf-8"))
    assert [row["train"]["network"] for row in report["steps"]] == ["plain", "residual", "residual"]
    assert [row["mirrored"] for row in report["steps"]] == [False, False, True]
    assert report["epochs"] == 1
    for way in ablation.WAYS:
        first, *others = (row["auc"][way][""] for row in report["steps"])
        assert first["gain"] is None
        assert first["images"] == 12
        for before, figure in zip([first, *others], others, strict=False):
            assert figure["gain"]["value"] == pytest.approx(figure["value"] - before["value"])
    runs = open_client().search_runs(["1"])
    assert len(runs) == 2  # the mirrored step is the network before it
    page = (workspace.root / "docs" / "ablations.md").read_text(encoding="utf-8")
    assert page.count(ablation.STEPS[1].name) == 2

    monkeypatch.setattr(ablation, "train", None)  # nothing is trained again
    assert run_stage(command.main) == 0
    assert json.loads(workspace.report("ablate").read_text(encoding="utf-8")) == report


def test_every_step_adds_to_the_ones_above_and_ends_at_the_recipe() -> None:
    known = set(Train.__dataclass_fields__)
    assert all(set(step.adds) <= known for step in ablation.STEPS)
    reached = {key: value for step in ablation.STEPS for key, value in step.adds.items()}
    assert reached == {"network": "residual", "augment": "traffic", "ema_momentum": 0.998, "blend": 0.25}
    assert ablation.STEPS[-1].mirrored == read_settings(PARAMS).evaluate.mirrored
