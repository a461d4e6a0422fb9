"""Where a bundle came from: by its contract alone, and by the registry, without MLflow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.registry.candidate import Candidate
from deepfake_detector.registry.promotion import roll_back
from deepfake_detector.registry.provenance import format_provenance, read_provenance
from tests.pipeline_checkout import PipelineCheckout

LINEAGE = {
    "git_commit": "c" * 40, "git_branch": "main", "git_dirty": "true", "dvc_lock_sha256": "1" * 64,
    "params_sha256": "2" * 64, "dvc:data/raw": "3" * 32, "version:keras": "3.15", "actor": "ada@lab",
}  # fmt: skip


def registered(checkout: PipelineCheckout, noise: float, seed: int) -> Candidate:
    checkout.write_params()
    candidate = checkout.candidate(noise, seed)
    assert checkout.register(candidate, lineage=LINEAGE).version_of("champion") is not None
    return candidate


def test_an_unregistered_bundle_is_described_by_its_contract(
    tmp_path: Path, tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    bundle = tiny.write_bundle(tmp_path / "bundle", run_id="9" * 32, data_sha256={"faces": "4" * 64})
    origin = read_provenance(bundle, tmp_path)
    assert (origin["run_id"], origin["data"]) == ("9" * 32, {"faces": "4" * 64})
    assert origin["registry"] == f"not registered in {tmp_path / 'mlflow.db'}"
    assert f"faces sha256 {'4' * 64}" in format_provenance(origin)
    (tmp_path / "mlflow.db").write_bytes(b"no database")
    broken = read_provenance(bundle, tmp_path)
    assert "mlflow.db is broken or of another version of MLflow" in broken["registry"]
    assert broken | {"registry": origin["registry"]} == origin


def test_a_server_is_not_asked(tmp_path: Path, tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    origin = read_provenance(tiny.write_bundle(tmp_path / "bundle"), tmp_path)
    assert "http://127.0.0.1:9 is a server and was not asked" in origin["registry"]


def test_a_registered_bundle_has_code_data_training_decision_and_history(checkout: PipelineCheckout) -> None:
    registered(checkout, 0.3, 1)
    second = registered(checkout, 0.1, 2)
    roll_back("2 flags everything", False, checkout.rules)
    origin = read_provenance(second.bundle, checkout.workspace.root)
    assert (origin["version"], origin["aliases"], origin["model"]) == ("2", [], "tiny")
    assert origin["code"] == {"git_commit": "c" * 40, "git_branch": "main", "git_dirty": "true"}
    assert origin["data"] == {"sample": "d" * 64}
    assert origin["dvc"] == {"data/raw": "3" * 32}
    assert origin["digests"]["dvc_lock_sha256"] == "1" * 64
    assert origin["digests"]["weights_sha256"] == second.weights_sha256
    assert (origin["trained_by"], origin["restored"]) == ("ada@lab", True)
    assert origin["libraries"] == {"keras": "3.15"}
    assert origin["decision"]["promoted"] is True
    assert len(origin["alias_changes"]) == 2
    text = format_provenance(origin)
    for line in (
        "code        " + "c" * 40 + " with uncommitted changes",
        "decision    AUC",
        "history     ",
        "restore     git checkout",
    ):
        assert line in text
    assert "2 flags everything" in text


def test_the_restore_commands_bring_settings_and_lock_back(checkout: PipelineCheckout, tmp_path: Path) -> None:
    (checkout.workspace.root / "dvc.lock").write_text("stages: {}\n")
    candidate = registered(checkout, 0.1, 1)
    steps = read_provenance(candidate.bundle, checkout.workspace.root)["steps"]
    assert steps[0] == f"git checkout {'c' * 40}"
    assert steps[-2:] == ["dvc pull", "dvc repro"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = "\n".join(["set -e", f"export PATH={Path(sys.executable).parent}:$PATH", *steps[1:4]])
    subprocess.run(["bash", "-c", script], cwd=elsewhere, check=True, capture_output=True)
    for name in ("params.yaml", "dvc.lock"):
        assert (elsewhere / name).read_bytes() == (checkout.workspace.root / name).read_bytes()


def test_reading_the_provenance_imports_no_mlflow(checkout: PipelineCheckout) -> None:
    registered(checkout, 0.1, 1)
    code = (
        "import sys; from pathlib import Path\n"
        "from deepfake_detector.model.bundle import read_bundle\n"
        "from deepfake_detector.registry.provenance import read_provenance\n"
        "print(read_provenance(read_bundle(Path('models/bundle')), Path.cwd())['version'])\n"
        "print([m for m in ('mlflow', 'tensorflow', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["1", "[]"]
