"""Several machines, one DVC remote, one MLflow store: what one of them made, a fresh clone takes, and runs nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
HEAVY = ("download", "validate", "prepare", "train", "evaluate")
TAKEN = (
    *(".dvcignore", ".gitignore", "bentofile.yaml", "drop.txt", "dvc.yaml", "params.yaml"),
    *("README.md", "pipelines", "pyproject.toml", "src"),
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Machine:
    """One checkout with its own home, and the store that all share."""

    def __init__(self, root: Path, store: Path) -> None:
        self.root, self.store = root, store
        self.home = root.with_name(f"{root.name}-home")
        self.home.mkdir(exist_ok=True)

    def run(self, *command: str) -> str:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "BENTOML", "KERAS", "DVC", "GIT_"))}
        own = {
            "PYTHONPATH": f"{self.root / 'src'}{os.pathsep}{self.root}",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
            "HOME": str(self.home),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.store}",
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        done = subprocess.run(command, cwd=self.root, env=kept | own, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def commit(self, why: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=ada", "-c", "user.email=ada@lab", "commit", "--quiet", "-m", why)

    def report(self, stage: str) -> dict:
        return json.loads((self.root / "reports" / f"{stage}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Machine:
    """Walked the road once, with a local folder as remote, committed and pushed."""
    shared = tmp_path_factory.mktemp("shared")
    root = shared / "first"
    root.mkdir()
    for name in TAKEN:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copyfile
        copy(REPOSITORY / name, root / name)
    (root / ".dvc").mkdir()
    shutil.copyfile(REPOSITORY / ".dvc" / "config", root / ".dvc" / "config")
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    params["download"]["sample"] |= {"train": 32, "valid": 12, "test": 12}
    params["validate"]["min_images_per_class"] = 5
    params["prepare"]["side_px"] = 64
    params["train"] |= {"epochs": 1, "batch_size": 16}
    params["evaluate"] |= {"bootstrap": 100}
    params["register"] |= {"min_accuracy": 0.0, "max_ece": 1.0, "min_robust_accuracy": 0.0}
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    machine = Machine(root, shared / "mlflow.db")
    machine.run("git", "init", "--quiet", "-b", "main")
    machine.run("dvc", "remote", "add", "--default", "shared", str(shared / "remote"))
    machine.commit("the code")
    machine.run("dvc", "repro")
    machine.commit("the road, walked")
    machine.run("dvc", "push", "--run-cache")
    return machine


@pytest.fixture(scope="module")
def clone(first: Machine) -> Machine:
    """A fresh clone on another machine, which pulled."""
    root = first.root.with_name("clone")
    first.run("git", "clone", "--quiet", str(first.root), str(root))
    machine = Machine(root, first.store)
    machine.run("dvc", "pull")
    return machine


def test_a_fresh_clone_that_pulls_has_everything_and_runs_nothing(first: Machine, clone: Machine) -> None:
    before = first.store.read_bytes()
    said = clone.run("dvc", "repro")
    for stage in HEAVY:
        assert f"Stage '{stage}' didn't change, skipping" in said, said
    assert clone.report("train") == first.report("train")
    assert clone.report("register") == first.report("register")
    assert first.store.read_bytes() == before  # the registry was looked at, and had nothing to learn
    seals = [(machine.root / "models/champion/SHA256SUMS").read_bytes() for machine in (first, clone)]
    assert seals[0] == seals[1]


def test_the_clone_serves_the_same_bundle(first: Machine, clone: Machine) -> None:
    assert clone.report("package")["bundle_sha256"] == first.report("package")["bundle_sha256"]
    told = json.loads(clone.run("deepfake", "about", "--json", "--model", "champion"))
    assert told["sha256"] == first.report("package")["bundle_sha256"]


def test_what_was_trained_elsewhere_comes_from_the_run_cache_without_training(first: Machine, clone: Machine) -> None:
    """Other settings, trained on the first machine and never committed: the second asks for them and gets them."""
    for machine in (first, clone):
        params = yaml.safe_load((machine.root / "params.yaml").read_text(encoding="utf-8"))
        params["train"]["seed"] = 43
        (machine.root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    first.run("dvc", "repro")
    first.run("dvc", "push", "--run-cache")
    clone.run("dvc", "fetch", "--run-cache")
    said = clone.run("dvc", "repro", "--pull")
    assert "Stage 'train' is cached - skipping run" in said, said
    # The metrics of `evaluate` lie in git and not in the cache, so that stage runs again, to the same figures.
    # The graph is the same too, but tf2onnx names a constant now so, now so: the bundle's digest differs.
    both = [machine.report("evaluate") | {"bundle_sha256": ""} for machine in (first, clone)]
    assert both[0] == both[1]
    champions = [machine.report("register")["champion"]["weights_sha256"] for machine in (first, clone)]
    assert champions[0] == champions[1]


def test_the_weekly_retraining_reports_what_changed(clone: Machine) -> None:
    """The very script of .github/workflows/retrain.yml, after the training above."""
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/retrain.yml").read_text(encoding="utf-8"))
    script = next(s["run"] for s in workflow["jobs"]["retrain"]["steps"] if s.get("name") == "Report")
    summary = clone.root.with_name("summary.md")
    clone.run("bash", "-e", "-o", "pipefail", "-c", f"export GITHUB_STEP_SUMMARY={summary}\n{script}")
    told = summary.read_text(encoding="utf-8")
    decided, changed = told.split("## What changed")
    assert "the champion is version" in decided
    assert "- AUC" in decided or "- refused: AUC" in decided
    assert "train.seed" in changed
    assert "reports/metrics.json" in changed
    assert "<html" in (clone.root / "dvc_plots" / "index.html").read_text(encoding="utf-8").lower()
