"""The stage `register` as DVC runs it: once, repeatedly, with a lost store, and in a moved checkout."""

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
from deepfake_detector.model.bundle import read_bundle, write_bundle
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.crops import CropResult
from deepfake_detector.preparation.shard_writer import write_shards
from deepfake_detector.preparation.shards import Shards
from deepfake_detector.registry.decisions import FACTS_TAG
from deepfake_detector.registry.model_facts import facts_from_tag
from deepfake_detector.registry.model_registry import read_registry
from pipelines import register
from pipelines.stage import run_stage
from tests.pipeline_checkout import PipelineCheckout

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
IMAGES = 200  # rows in the candidates' predictions


def read_report(root: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((root / "reports" / "register.json").read_text(encoding="utf-8"))
    return content


def reseal(folder: Path, card: str, graph: bytes | None = None) -> None:
    """Write a bundle again, with another card and perhaps another graph."""
    bundle = read_bundle(folder)
    new_graph, reference = folder.parent / "resealed.onnx", folder.parent / "resealed.npz"
    new_graph.write_bytes(graph or (folder / "detector.onnx").read_bytes())
    shutil.copyfile(bundle.reference, reference)
    write_bundle(folder, new_graph, bundle.contract, reference, card)


def run_in(root: Path, code: str) -> str:
    """Standard output of a new process in `root`, without MLFLOW_TRACKING_URI."""
    tools = Workspace(root).tool_environment()
    del tools["MLFLOW_TRACKING_URI"]
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | tools
    environment["PYTHONPATH"] = str(REPOSITORY)
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_candidate_becomes_champion(checkout: PipelineCheckout) -> None:
    checkout.write_params()
    candidate = checkout.candidate()
    assert run_stage(register.main) == 0
    root = checkout.workspace.root
    found = read_report(root)
    assert found["candidate"] | {"bundle": "models/champion"} == found["champion"]
    assert found["aliases"] == {"champion": "1"}
    assert found["alias_changes"][0].split(" ", 1)[1].startswith("version 1 became the first champion, by the gate")
    findings = {finding["code"]: finding for finding in found["decision"]["findings"]}
    assert findings["latency"]["numbers"]["value"] > 0  # measured with the serving engine
    assert findings["latency"]["text"] in found["decision"]["reasons"]
    assert found["champion"]["bundle_sha256"] == candidate.bundle.sha256
    assert found["decision"]["promoted"] is True
    assert (root / "models/champion/detector.onnx").read_bytes() == (root / "models/bundle/detector.onnx").read_bytes()
    assert not (root / "mlruns").exists()


def test_a_second_run_writes_nothing_and_imports_no_heavy_library(checkout: PipelineCheckout) -> None:
    checkout.write_params()
    checkout.candidate()
    assert run_stage(register.main) == 0
    root = checkout.workspace.root
    database, written = (root / "mlflow.db").read_bytes(), read_report(root)
    shutil.rmtree(root / "models" / "champion")
    (root / "reports" / "register.json").unlink()
    code = (
        "import sys; from pipelines.register import main; main();"
        "print([m for m in ('mlflow', 'tensorflow', 'keras', 'pandas', 'scipy', 'sklearn', 'openvino')"
        " if m in sys.modules])"
    )
    assert run_in(root, code).splitlines()[-1] == "[]"
    assert read_report(root) == written
    assert (root / "mlflow.db").read_bytes() == database
    assert (root / "models" / "champion" / "SHA256SUMS").is_file()


def test_a_worse_candidate_becomes_challenger(checkout: PipelineCheckout) -> None:
    checkout.write_params()
    better = checkout.candidate(0.15, 1)
    assert run_stage(register.main) == 0
    worse = checkout.candidate(0.4, 2)
    assert run_stage(register.main) == 0
    found = read_report(checkout.workspace.root)
    assert found["candidate"]["bundle_sha256"] == worse.bundle.sha256
    assert found["champion"]["bundle_sha256"] == better.bundle.sha256
    assert found["decision"]["promoted"] is False
    (refused,) = [each for each in found["decision"]["findings"] if not each["passed"] and each["code"] == "auc"]
    assert refused["numbers"]["high"] < 0
    assert "95 % interval" in refused["text"]


def test_a_lost_store_is_filled_again(checkout: PipelineCheckout) -> None:
    checkout.write_params()
    candidate = checkout.candidate()
    assert run_stage(register.main) == 0
    root = checkout.workspace.root
    shutil.rmtree(root / "mlartifacts")
    shutil.copyfile(checkout.empty_store, root / "mlflow.db")
    assert read_registry("tiny").versions == ()
    assert run_stage(register.main) == 0
    version = read_registry("tiny").version_of("champion")
    assert version is not None
    assert version.tags["bundle_sha256"] == candidate.bundle.sha256
    assert read_report(root)["champion"]["run_id"] == version.run_id
    assert version.tags["restored"] == "true"


def test_a_changed_bundle_stops_the_pipeline(checkout: PipelineCheckout, capsys: pytest.CaptureFixture[str]) -> None:
    checkout.write_params()
    (checkout.candidate().bundle.path / "contract.json").write_text("{}")
    assert run_stage(register.main) == 2
    assert "contract.json differs" in capsys.readouterr().err
    assert not checkout.workspace.report("register").exists()


def test_without_a_champion_the_refusal_is_recorded_and_the_stage_succeeds(
    checkout: PipelineCheckout, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout.write_params(min_accuracy=1.0)
    candidate = checkout.candidate()
    for _ in range(2):  # the second time by the stored decision
        assert run_stage(register.main) == 0
        printed = capsys.readouterr().out
        assert "at least 1 required (register.min_accuracy)" in printed
        assert "no champion yet: train longer" in printed
        found = read_report(checkout.workspace.root)
        assert (found["champion"], found["decision"]["promoted"], found["aliases"]) == (
            None,
            False,
            {"challenger": "1"},
        )
    assert len(read_registry("tiny").versions) == 1
    assert not checkout.workspace.champion.exists()
    assert json.loads(checkout.workspace.registered.read_text()) == {"bundle_sha256": candidate.bundle.sha256}


def test_a_model_of_a_quick_evaluation_is_refused_until_it_is_evaluated_in_full(checkout: PipelineCheckout) -> None:
    checkout.write_params()
    checkout.candidate()
    evaluation = checkout.workspace.report("evaluate")
    content = json.loads(evaluation.read_text())
    evaluation.write_text(json.dumps(content | {"quick": True}))
    assert run_stage(register.main) == 0
    found = read_report(checkout.workspace.root)
    assert found["champion"] is None
    assert [each["code"] for each in found["decision"]["findings"] if not each["passed"]] == ["quick_evaluation"]
    version = read_registry("tiny").versions[0]
    assert facts_from_tag(version.tags[FACTS_TAG], read_bundle(checkout.workspace.bundle)).quick_evaluation
    checkout.candidate(test_images=IMAGES)  # the card, and with it the bundle, is another one
    card = checkout.workspace.bundle / "card.md"
    reseal(checkout.workspace.bundle, f"{card.read_text()}\nin full\n")
    assert run_stage(register.main) == 0
    assert read_report(checkout.workspace.root)["champion"]["version"] == "2"


@pytest.mark.slow
def test_a_moved_checkout_still_loads_its_champion(checkout: PipelineCheckout, tmp_path: Path) -> None:
    checkout.write_params()
    checkout.candidate()
    assert run_stage(register.main) == 0
    elsewhere = tmp_path / "moved" / "there"
    elsewhere.parent.mkdir()
    shutil.move(checkout.workspace.root, elsewhere)
    code = (
        "import mlflow, mlflow.keras, numpy as np;"
        "mlflow.set_tracking_uri('deepfake-sqlite:///mlflow.db');"
        "crops = np.full((2, 64, 64, 3), 255, np.uint8);"
        "version = mlflow.MlflowClient().get_model_version_by_alias('tiny', 'champion');"
        "keras_model = mlflow.keras.load_model(version.tags['keras_uri']);"
        "print(keras_model.predict(crops, verbose=0).tolist());"
        "print(mlflow.pyfunc.load_model('models:/tiny@champion').predict(['none.jpg'])['error'].tolist());"
        "print(mlflow.artifacts.load_text(f'runs:/{version.run_id}/card.md').splitlines()[0])"
    )
    lines = [line for line in run_in(elsewhere, code).splitlines() if line.startswith(("[", "#"))]
    missing = """["bad_input: cannot read 'none.jpg': No such file or directory"]"""
    assert lines == ["[3.0, 3.0]", missing, "# tiny"]  # mean of three full channels, weights of one
    run_in(elsewhere, "from pipelines.register import main; main()")
    assert not checkout.workspace.root.exists()


def test_a_graph_that_the_engine_cannot_run_is_refused(
    checkout: PipelineCheckout, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout.write_params()
    candidate = checkout.candidate()
    reseal(candidate.bundle.path, (candidate.bundle.path / "card.md").read_text(), b"no graph")
    assert run_stage(register.main) == 0
    assert "the serving engine cannot run the bundle" in capsys.readouterr().out
    assert read_report(checkout.workspace.root)["champion"] is None


def test_a_champion_of_other_test_pictures_is_scored_again_on_the_candidates(checkout: PipelineCheckout) -> None:
    """With the real engine on real crops: blue ones are real and red ones fake, as the tiny model scores them."""
    checkout.write_params(max_ece=1.0)
    root = checkout.workspace.root
    checkout.candidate(0.4, 1, test_digest="o" * 64)
    assert run_stage(register.main) == 0
    rng = np.random.default_rng(0)
    crops = []
    for i in range(IMAGES):
        pixels = rng.integers(100, 140, (64, 64, 3), np.uint8)
        pixels[..., 0 if i % 2 else 2] += 90
        entry = Entry(f"sample/{i:03d}.jpg", "test", i % 2, "", "sample")
        crops.append(CropResult(entry, pixels, landmarks_px=np.zeros((5, 2), np.float32)))
    write_shards(crops, checkout.workspace.shards, 64, 10**8, {"sample": "synthetic"})
    digest = Shards.open(checkout.workspace.shards).arrays("test").sha256
    checkout.candidate(0.2, 2, test_digest=digest)
    assert run_stage(register.main) == 0
    found = read_report(root)
    assert found["champion"]["version"] == "1"
    findings = {finding["code"]: finding for finding in found["decision"]["findings"]}
    assert findings["auc"]["numbers"]["champion"] == 1.0  # on its own test pictures it was worse
    assert not findings["auc"]["passed"]
    assert "scored again on these" in findings["rescoring"]["text"]
