"""Several machines share a DVC remote and an MLflow store: a new clone takes all results and runs no stage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from tests.behaviour.test_object_store import CREDENTIALS, is_up
from tests.behaviour.test_shared_store import running, wait_for
from tests.pipeline_checkout import PIPELINE_FILES, copy_repository
from tests.service_process import free_port

REPOSITORY = Path(__file__).parents[2]
EXPENSIVE = ("download", "validate", "prepare", "train", "evaluate")
FILES = (".dvcignore", ".gitignore", "docs", *PIPELINE_FILES)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Machine:
    """One checkout with its own home folder, and the shared store."""

    def __init__(self, root: Path, store: Path, **environment: str) -> None:
        self.root, self.store, self.environment = root, store, environment
        self.home = root.with_name(f"{root.name}-home")
        self.home.mkdir(exist_ok=True)

    def run(self, *command: str) -> str:
        """Standard output and error of a command that must succeed."""
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "BENTOML", "KERAS", "DVC", "GIT_"))
        }
        own = {
            "PYTHONPATH": f"{self.root / 'src'}{os.pathsep}{self.root}",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}",
            "HOME": str(self.home),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.store}",
            "GIT_CONFIG_NOSYSTEM": "1",
            **self.environment,
        }
        done = subprocess.run(command, cwd=self.root, env=inherited | own, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def repro(self, *options: str) -> str:
        """The commands of `make repro`."""
        output = self.run("dvc", "repro", *options)
        for stage in ("register", "package"):
            output += self.run(sys.executable, "-m", f"pipelines.{stage}")
        return output

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=ada", "-c", "user.email=ada@lab", "commit", "--quiet", "-m", message)

    def read_report(self, stage: str) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.root / "reports" / f"{stage}.json").read_text(encoding="utf-8"))
        return report


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """It ran the pipeline once, with a local folder as remote, then committed and pushed."""
    shared = tmp_path_factory.mktemp("shared")
    root = shared / "first"
    copy_repository(root, FILES, images=(32, 12, 12), epochs=1)
    machine = Machine(root, shared / "mlflow.db")
    machine.run("git", "init", "--quiet", "-b", "main")
    machine.run("dvc", "remote", "add", "--default", "shared", str(shared / "remote"))
    machine.commit("the code")
    machine.run("dvc", "repro")
    machine.commit("results of the pipeline")
    machine.run("dvc", "push", "--run-cache")
    return machine


@pytest.fixture(scope="module")
def clone(first: Machine) -> Machine:
    """A new clone on another machine, after `dvc pull`."""
    root = first.root.with_name("clone")
    first.run("git", "clone", "--quiet", str(first.root), str(root))
    machine = Machine(root, first.store)
    machine.run("dvc", "pull")
    return machine


def test_a_new_clone_pulls_all_results_and_runs_no_stage(first: Machine, clone: Machine) -> None:
    before = first.store.read_bytes()
    output = clone.repro()
    for stage in EXPENSIVE:
        assert f"Stage '{stage}' didn't change, skipping" in output, output
    assert clone.read_report("train") == first.read_report("train")
    assert clone.read_report("register") == first.read_report("register")
    assert first.store.read_bytes() == before  # the registry was read only
    assert "Data and pipelines are up to date." in clone.run("dvc", "status")
    assert clone.run("git", "status", "--short") == ""  # dvc.lock holds nothing of the machine that wrote it
    seals = [(machine.root / "models/champion/SHA256SUMS").read_bytes() for machine in (first, clone)]
    assert seals[0] == seals[1]


def test_the_clone_packages_the_same_bundle(first: Machine, clone: Machine) -> None:
    assert clone.read_report("package")["bundle_sha256"] == first.read_report("package")["bundle_sha256"]
    about = json.loads(clone.run("deepfake", "about", "--json", "--model", "champion"))
    assert about["sha256"] == first.read_report("package")["bundle_sha256"]


def test_a_training_of_another_machine_is_taken_from_the_run_cache(first: Machine, clone: Machine) -> None:
    """The first machine trains with other settings and commits nothing; the second asks for the same settings."""
    for machine in (first, clone):
        params = yaml.safe_load((machine.root / "params.yaml").read_text(encoding="utf-8"))
        params["train"]["seed"] = 43
        (machine.root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    first.run("dvc", "repro")
    first.run("dvc", "push", "--run-cache")
    clone.run("dvc", "fetch", "--run-cache")
    output = clone.run("dvc", "repro", "--pull")
    assert "Stage 'train' is cached - skipping run" in output, output
    # The metrics of `evaluate` lie in git and not in the cache, so that stage runs again, with the same metrics.
    # The graph is the same too, but tf2onnx names a constant now so, now so: the bundle's digest differs.
    both = [machine.read_report("evaluate") | {"bundle_sha256": ""} for machine in (first, clone)]
    assert both[0] == both[1]
    champions = [machine.read_report("register")["champion"]["weights_sha256"] for machine in (first, clone)]
    assert champions[0] == champions[1]


def test_the_report_of_the_weekly_retraining(clone: Machine) -> None:
    """The script of .github/workflows/retrain.yml, after the training above."""
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/retrain.yml").read_text(encoding="utf-8"))
    script = next(s["run"] for s in workflow["jobs"]["retrain"]["steps"] if s.get("name") == "Report")
    summary = clone.root.with_name("summary.md")
    (clone.root / "occasion.md").write_text("## Why\n\n- new data\n", encoding="utf-8")  # of an earlier step
    clone.run("bash", "-e", "-o", "pipefail", "-c", f"export GITHUB_STEP_SUMMARY={summary}\n{script}")
    decision, changed = summary.read_text(encoding="utf-8").split("## What changed")
    assert "- new data" in decision
    assert "the champion is version" in decision
    assert "- AUC" in decision or "- refused: AUC" in decision
    assert "train.seed" in changed
    assert "reports/metrics.json" in changed
    assert "<html" in (clone.root / "dvc_plots" / "index.html").read_text(encoding="utf-8").lower()


@pytest.fixture
def s3() -> Iterator[str]:
    """URL of an S3 store, moto's server on 127.0.0.1, with an empty bucket `data`."""
    port = free_port()
    command = [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with running(command, signal.SIGTERM) as process:
        wait_for(lambda: is_up(f"http://127.0.0.1:{port}/moto-api/"), process)
        options = {name.lower(): value for name, value in CREDENTIALS.items() if name != "AWS_DEFAULT_REGION"}
        store: Any = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", **options)
        store.create_bucket(Bucket="data")
        yield f"http://127.0.0.1:{port}"


def test_a_new_clone_takes_all_results_from_an_object_store(first: Machine, s3: str) -> None:
    """The commands of docs/shared-use.md with an s3:// remote, which needs the extra `s3`."""
    first.environment = CREDENTIALS
    first.run("dvc", "remote", "add", "--default", "--force", "shared", "s3://data/dvc")
    first.run("dvc", "remote", "modify", "shared", "endpointurl", s3)
    first.run("dvc", "repro")
    first.commit("the data lies in an object store")
    assert "pushed" in first.run("dvc", "push", "--run-cache")
    root = first.root.with_name("clone-of-s3")
    first.run("git", "clone", "--quiet", str(first.root), str(root))
    clone = Machine(root, first.store, **CREDENTIALS)
    clone.run("dvc", "pull", "--run-cache")
    output = clone.repro()
    for stage in EXPENSIVE:
        assert f"Stage '{stage}' didn't change, skipping" in output, output
    assert clone.read_report("register") == first.read_report("register")
    assert "Data and pipelines are up to date." in clone.run("dvc", "status")
    assert clone.run("dvc", "status", "--cloud").strip() == "Cache and remote 'shared' are in sync."
    assert clone.run("git", "status", "--short") == ""
