"""Where a bundle came from: by its contract alone, and with what the registry knows; never by asking MLflow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.registry.model_registry import Shelf
from deepfake_detector.registry.promotion import roll_back
from deepfake_detector.registry.provenance import origin_words, read_origin
from deepfake_detector.registry.record import record
from deepfake_detector.registry.registration import register

LINEAGE = {
    "git_commit": "c" * 40, "git_branch": "main", "git_dirty": "true", "dvc_lock_sha256": "1" * 64,
    "params_sha256": "2" * 64, "dvc:data/raw": "3" * 32, "version:keras": "3.15", "actor": "ada@lab",
}  # fmt: skip


def load(path: Path) -> Any:
    from deepfake_detector.model.export import load_trained

    return load_trained(path)


def registered(road: Any, noise: float, seed: int) -> Any:
    road.params()
    candidate = road.candidate(noise, seed)
    shelf: Shelf = register(candidate, record(candidate, "road", LINEAGE, load), LINEAGE, road.rules, road.judge())
    assert shelf.at("champion") is not None
    return candidate


def test_a_bundle_that_no_registry_knows_is_known_by_its_contract(tmp_path: Path, tiny: Any, monkeypatch: Any) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    bundle = tiny.write_bundle(tmp_path / "bundle", run_id="9" * 32, data_sha256={"faces": "4" * 64})
    origin = read_origin(bundle, tmp_path)
    assert (origin["run_id"], origin["data"]) == ("9" * 32, {"faces": "4" * 64})
    assert origin["registry"] == f"not registered in {tmp_path / 'mlflow.db'}"
    assert f"faces sha256 {'4' * 64}" in origin_words(origin)
    (tmp_path / "mlflow.db").write_bytes(b"no database")
    assert read_origin(bundle, tmp_path) == origin


def test_a_server_is_not_asked(tmp_path: Path, tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    origin = read_origin(tiny.write_bundle(tmp_path / "bundle"), tmp_path)
    assert "http://127.0.0.1:9 is a server" in origin["registry"]


def test_a_registered_one_tells_code_data_training_decision_and_moves(road: Any) -> None:
    registered(road, 0.3, 1)
    second = registered(road, 0.1, 2)
    roll_back("2 flags everything", False, road.rules)
    origin = read_origin(second.bundle, road.workspace.root)
    assert (origin["version"], origin["aliases"], origin["model"]) == ("2", [], "tiny")
    assert origin["code"] == {"git_commit": "c" * 40, "git_branch": "main", "git_dirty": "true"}
    assert origin["data"] == {"sample": "d" * 64}
    assert origin["dvc"] == {"data/raw": "3" * 32}
    assert origin["digests"]["dvc_lock_sha256"] == "1" * 64
    assert origin["digests"]["weights_sha256"] == second.weights_sha256
    assert (origin["trained_by"], origin["restored"]) == ("ada@lab", True)
    assert origin["libraries"] == {"keras": "3.15"}
    assert origin["decision"]["promoted"] is True
    assert len(origin["moves"]) == 2
    words = origin_words(origin)
    for line in (
        "code        " + "c" * 40 + " with changes that no commit holds",
        "move      ",
        "again       git checkout",
    ):
        assert line in words
    assert "2 flags everything" in words


def test_the_commands_bring_settings_back(road: Any, tmp_path: Path) -> None:
    """The command is run as it is told, in another folder, against the same store."""
    (road.workspace.root / "dvc.lock").write_text("stages: {}\n")
    candidate = registered(road, 0.1, 1)
    steps = read_origin(candidate.bundle, road.workspace.root)["steps"]
    assert steps[0] == f"git checkout {'c' * 40}"
    assert steps[-2:] == ["dvc pull", "dvc repro"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    download = [str(Path(sys.executable).parent / "mlflow"), *steps[1].split()[1:]]
    subprocess.run(download, cwd=elsewhere, check=True, capture_output=True)
    subprocess.run(steps[2].split(), cwd=elsewhere, check=True)
    for name in ("params.yaml", "dvc.lock"):
        assert (elsewhere / name).read_bytes() == (road.workspace.root / name).read_bytes()


def test_telling_it_loads_no_mlflow(road: Any) -> None:
    registered(road, 0.1, 1)
    code = (
        "import sys; from pathlib import Path\n"
        "from deepfake_detector.model.bundle import read_bundle\n"
        "from deepfake_detector.registry.provenance import read_origin\n"
        "print(read_origin(read_bundle(Path('models/bundle')), Path.cwd())['version'])\n"
        "print([m for m in ('mlflow', 'tensorflow', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["1", "[]"]
