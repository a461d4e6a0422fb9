"""The stage `register` as DVC runs it: in its own folder, again and again, after losses and after a move."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepfake_detector.datasets.archive import Entry
from deepfake_detector.model.bundle import write_bundle
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.crops import Crop
from deepfake_detector.preparation.shard_writer import write_shards
from deepfake_detector.preparation.shards import Shards
from deepfake_detector.registry.model_registry import read_shelf
from pipelines import register
from pipelines.stage import run_stage

REPOSITORY = Path(__file__).parents[2]
IMAGES = 200  # as many as the candidates' tables hold


def report(root: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((root / "reports" / "register.json").read_text(encoding="utf-8"))
    return content


def run_elsewhere(root: Path, code: str) -> str:
    """A new process in `root`, as a shell would start it: only folders inside it are named, and no store."""
    tools = Workspace(root).tool_environment()
    del tools["MLFLOW_TRACKING_URI"]
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | tools
    environment["PYTHONPATH"] = str(REPOSITORY)
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_first_candidate(road: Any) -> None:
    road.params()
    candidate = road.candidate()
    assert run_stage(register.main) == 0
    root = road.workspace.root
    found = report(root)
    assert found["candidate"] | {"bundle": "models/champion"} == found["champion"]
    assert found["aliases"] == {"champion": "1"}
    assert found["moves"][0].split(" ", 1)[1].startswith("version 1 became the first champion, by the gate")
    timed = [reason for reason in found["decision"]["reasons"] if reason.startswith("milliseconds a crop")]
    assert float(timed[0].split()[3].rstrip(",")) > 0  # measured, by the engine that serves
    assert found["champion"]["bundle_sha256"] == candidate.bundle.sha256
    assert found["decision"]["promoted"] is True
    assert (root / "models/champion/detector.onnx").read_bytes() == (root / "models/bundle/detector.onnx").read_bytes()
    assert not (root / "mlruns").exists()


def test_again_there_is_nothing_to_do_and_nothing_heavy_is_loaded(road: Any) -> None:
    road.params()
    road.candidate()
    assert run_stage(register.main) == 0
    root = road.workspace.root
    database, written = (root / "mlflow.db").read_bytes(), report(root)
    shutil.rmtree(root / "models" / "champion")
    (root / "reports" / "register.json").unlink()
    code = (
        "import sys; from pipelines.register import main; main();"
        "print([m for m in ('mlflow', 'tensorflow', 'keras', 'pandas', 'scipy', 'sklearn', 'openvino')"
        " if m in sys.modules])"
    )
    assert run_elsewhere(root, code).splitlines()[-1] == "[]"
    assert report(root) == written
    assert (root / "mlflow.db").read_bytes() == database
    assert (root / "models" / "champion" / "SHA256SUMS").is_file()


def test_the_worse_of_two_stays_challenger(road: Any) -> None:
    road.params()
    better = road.candidate(0.15, 1)
    assert run_stage(register.main) == 0
    worse = road.candidate(0.4, 2)
    assert run_stage(register.main) == 0
    found = report(road.workspace.root)
    assert found["candidate"]["bundle_sha256"] == worse.bundle.sha256
    assert found["champion"]["bundle_sha256"] == better.bundle.sha256
    assert found["decision"]["promoted"] is False
    assert any(r.startswith("refused: AUC") and "95 % interval" in r for r in found["decision"]["reasons"])


def test_a_lost_store_gets_the_model_back(road: Any) -> None:
    road.params()
    candidate = road.candidate()
    assert run_stage(register.main) == 0
    root = road.workspace.root
    shutil.rmtree(root / "mlartifacts")
    shutil.copyfile(road.empty_store, root / "mlflow.db")
    assert read_shelf("tiny").versions == ()
    assert run_stage(register.main) == 0
    version = read_shelf("tiny").at("champion")
    assert version is not None
    assert version.tags["bundle_sha256"] == candidate.bundle.sha256
    assert report(root)["champion"]["run_id"] == version.run_id != candidate.run_id


def test_a_changed_bundle_stops_the_road(road: Any, capsys: pytest.CaptureFixture[str]) -> None:
    road.params()
    (road.candidate().bundle.path / "contract.json").write_text("{}")
    assert run_stage(register.main) == 2
    assert "contract.json differs" in capsys.readouterr().err
    assert not road.workspace.report("register").exists()


def test_no_champion_stops_the_road_and_says_why(road: Any, capsys: pytest.CaptureFixture[str]) -> None:
    road.params(min_accuracy=1.0)
    road.candidate()
    for _ in range(2):  # the second time from what the store remembers
        assert run_stage(register.main) == 1
        assert "at least 1 asked for (register.min_accuracy)" in capsys.readouterr().err
    assert len(read_shelf("tiny").versions) == 1


@pytest.mark.slow
def test_a_moved_checkout_still_loads_its_champion(road: Any, tmp_path: Path) -> None:
    road.params()
    road.candidate()
    assert run_stage(register.main) == 0
    elsewhere = tmp_path / "moved" / "there"
    elsewhere.parent.mkdir()
    shutil.move(road.workspace.root, elsewhere)
    code = (
        "import mlflow, mlflow.keras, numpy as np;"
        "crops = np.full((2, 64, 64, 3), 255, np.uint8);"
        "print(mlflow.keras.load_model('models:/tiny@champion').predict(crops, verbose=0).tolist());"
        "print(mlflow.pyfunc.load_model('models:/tiny@champion').predict(crops).tolist());"
        "run = mlflow.MlflowClient().get_model_version_by_alias('tiny', 'champion').run_id;"
        "print(mlflow.artifacts.load_text(f'runs:/{run}/card.md').splitlines()[0])"
    )
    lines = [line for line in run_elsewhere(elsewhere, code).splitlines() if line.startswith(("[3", "#"))]
    assert lines == ["[3.0, 3.0]", "[3.0, 3.0]", "# tiny"]  # mean of three full channels, weights of one
    run_elsewhere(elsewhere, "from pipelines.register import main; main()")
    assert not road.workspace.root.exists()


def test_a_graph_that_does_not_run_never_becomes_champion(road: Any, capsys: pytest.CaptureFixture[str]) -> None:
    road.params()
    candidate = road.candidate()
    graph = candidate.bundle.path.parent / "broken.onnx"
    graph.write_bytes(b"no graph")
    card = (candidate.bundle.path / "card.md").read_text()
    reference = shutil.copyfile(candidate.bundle.reference, graph.with_suffix(".npz"))
    write_bundle(candidate.bundle.path, graph, candidate.bundle.contract, Path(reference), card)
    assert run_stage(register.main) == 1
    assert "the engine that serves cannot use it" in capsys.readouterr().err


def test_a_champion_of_other_pictures_is_scored_anew_on_the_newer_ones(road: Any) -> None:
    """By the real engine on real crops: blue ones are real and red ones fake, and the tiny model knows."""
    road.params(max_ece=1.0)
    root = road.workspace.root
    road.candidate(0.4, 1, test="o" * 64)
    assert run_stage(register.main) == 0
    rng = np.random.default_rng(0)
    crops = []
    for i in range(IMAGES):
        pixels = rng.integers(100, 140, (64, 64, 3), np.uint8)
        pixels[..., 0 if i % 2 else 2] += 90
        entry = Entry(f"sample/{i:03d}.jpg", "test", i % 2, "", "sample")
        crops.append(Crop(entry, pixels, "", landmarks_px=np.zeros((5, 2), np.float32)))
    write_shards(crops, road.workspace.shards, 64, 10**8, {"sample": "synthetic"})
    digest = Shards.open(road.workspace.shards).arrays("test").sha256
    road.candidate(0.2, 2, test=digest)
    assert run_stage(register.main) == 0
    found = report(root)
    assert found["champion"]["version"] == "1"  # it had lost on its own pictures; on these it is right about all
    assert found["decision"]["figures"]["auc_champion"] == 1.0
    assert "scored anew on these" in found["decision"]["reasons"][-1]
    assert any(r.startswith("refused: AUC") for r in found["decision"]["reasons"])
