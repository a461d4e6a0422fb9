"""The whole pipeline by DVC in a source archive without .git: interrupted, resumed, repeated, restored and moved."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline_checkout import PIPELINE_FILES, copy_repository

STAGES = ("download", "validate", "prepare", "train", "evaluate", "register", "package")
FILES = (".dvcignore", "Makefile", "requirements.lock", *PIPELINE_FILES)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class SourceArchive:
    """A copy of the repository without .git; commands run in it with its own code and home folder."""

    def __init__(self, root: Path, home: Path) -> None:
        self.root, self.home = root, home

    @property
    def environment(self) -> dict[str, str]:
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "BENTOML", "KERAS", "DVC", "TF_"))
        }
        paths = f"{self.root / 'src'}{os.pathsep}{self.root}"
        bin_folder = f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"
        return inherited | {"PYTHONPATH": paths, "PATH": bin_folder, "HOME": str(self.home)}

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=self.root, env=self.environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, *command: str) -> str:
        process = self.start(*command)
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output
        return output

    def read_report(self, stage: str) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.root / "reports" / f"{stage}.json").read_text(encoding="utf-8"))
        return report

    def python(self, code: str) -> str:
        return self.run(
            sys.executable, "-c", f"from deepfake_detector.paths import Workspace\nWorkspace().enter()\n{code}"
        )


def training_run(archive: SourceArchive) -> dict[str, str]:
    """Tags of the champion's MLflow run."""
    run_id = archive.read_report("register")["champion"]["run_id"]
    tags = archive.python(
        "from deepfake_detector.tracking.store import open_client\nimport json\n"
        f"print(json.dumps(open_client().get_run('{run_id}').data.tags))"
    )
    found: dict[str, str] = json.loads(tags.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> SourceArchive:
    """A pipeline of about a minute: few small pictures, three epochs, no minimum accuracy."""
    root = tmp_path_factory.mktemp("pipeline") / "checkout"
    copy_repository(root, FILES, images=(64, 20, 20), epochs=3)
    home = tmp_path_factory.mktemp("home")
    archive = SourceArchive(root, home)
    archive.run("dvc", "config", "--local", "core.no_scm", "true")
    installed = root / ".venv" / ".installed"
    installed.parent.mkdir()
    installed.touch()  # the environment is that of this process, so `make` has nothing to install
    return archive


def test_a_kill_during_training_leaves_no_partial_outputs(archive: SourceArchive) -> None:
    process = archive.start("dvc", "repro")
    deadline = time.monotonic() + 500
    while not list((archive.root / ".cache" / "checkpoints").glob("train-*.npz")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (archive.root / "reports" / "train.json").exists()
    assert not (archive.root / "models" / "trained" / "model.keras").exists()


def test_the_next_repro_resumes_the_training_and_completes(archive: SourceArchive) -> None:
    output = archive.run("dvc", "repro")
    assert "Stage 'prepare' didn't change, skipping" in output
    assert int(training_run(archive)["resumed_at_epoch"]) >= 1
    assert archive.read_report("train")["epochs"] == 3
    assert archive.read_report("register")["champion"]["version"] == "1"
    assert archive.read_report("package")["bundle_sha256"] == archive.read_report("evaluate")["bundle_sha256"]


def test_a_second_repro_runs_nothing_again(archive: SourceArchive) -> None:
    before = {stage: archive.read_report(stage) for stage in STAGES}
    output = archive.run("make", "repro")
    for stage in STAGES:
        assert f"Stage '{stage}' didn't change, skipping" in output
    assert ": up to date" in output  # the bento
    assert {stage: archive.read_report(stage) for stage in STAGES} == before
    assert archive.run("dvc", "status").strip() == "Data and pipelines are up to date."


def test_a_new_training_of_the_same_gives_the_same_outputs(archive: SourceArchive) -> None:
    """Not resumed this time, in another MLflow run and at another hour: dvc.lock stays the same, byte for byte."""
    before, champion = (archive.root / "dvc.lock").read_bytes(), archive.read_report("register")["champion"]
    archive.run("dvc", "repro", "--force", "--single-item", "train")
    archive.run("dvc", "repro", "--force", "--single-item", "evaluate")
    assert (archive.root / "dvc.lock").read_bytes() == before
    archive.run("make", "repro")
    assert archive.read_report("register")["champion"] == champion


def test_nothing_is_written_to_the_home_folder(archive: SourceArchive) -> None:
    assert [str(p.relative_to(archive.home)) for p in archive.home.rglob("*") if p.is_file()] == []
    assert sorted(p.name for p in archive.root.parent.iterdir()) == ["checkout"]


def test_a_lost_store_is_filled_again_and_marked_restored(archive: SourceArchive) -> None:
    (archive.root / "mlflow.db").unlink()
    shutil.rmtree(archive.root / "mlartifacts")
    archive.run("make", "repro")
    assert training_run(archive)["restored"] == "true"


def test_a_training_from_the_run_cache_is_registered(archive: SourceArchive) -> None:
    """DVC restores the outputs without running the stage, so the training has no MLflow run."""
    before = archive.read_report("train")
    for name in ("data", "models", "mlartifacts", ".cache/checkpoints"):
        shutil.rmtree(archive.root / name, ignore_errors=True)
    for name in ("mlflow.db", "dvc.lock", "reports/train.json", "reports/register.json"):
        (archive.root / name).unlink()
    output = archive.run("dvc", "repro")
    for stage in STAGES[:5]:
        assert f"Stage '{stage}' is cached - skipping run" in output
    assert archive.read_report("train") == before
    assert archive.read_report("register")["champion"]["version"] == "1"


def test_a_moved_folder_still_loads_its_champion(archive: SourceArchive) -> None:
    moved = archive.root.with_name("moved")
    archive.root.rename(moved)
    archive.root = moved
    code = (
        "import mlflow, numpy as np, warnings; warnings.simplefilter('ignore')\n"
        "mlflow.set_tracking_uri('deepfake-sqlite:///mlflow.db')\n"
        "version = mlflow.MlflowClient().get_model_version_by_alias('deepfake-detector', 'champion')\n"
        "model = mlflow.keras.load_model(version.tags['keras_uri'])\n"
        "print(model.predict(np.zeros((2, 64, 64, 3), np.uint8), verbose=0).shape)"
    )
    assert archive.python(code).splitlines()[-1] == "(2,)"
