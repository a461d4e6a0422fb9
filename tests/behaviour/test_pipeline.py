"""The whole road, walked as a stranger would: by DVC, in a source archive without .git, killed, lost, moved."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
STAGES = ("download", "validate", "prepare", "train", "evaluate", "register", "package")
TAKEN = (
    *("Makefile", "README.md", "bentofile.yaml", "drop.txt", "dvc.yaml", "params.yaml"),
    *("pipelines", "pyproject.toml", "src"),
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Checkout:
    """A copy of the repository, and commands run in it with its own code and home."""

    def __init__(self, root: Path, home: Path) -> None:
        self.root, self.home = root, home

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "BENTOML", "KERAS", "DVC", "TF_"))}
        paths = f"{self.root / 'src'}{os.pathsep}{self.root}"
        bin_folder = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        return kept | {"PYTHONPATH": paths, "PATH": bin_folder, "HOME": str(self.home)}

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

    def report(self, stage: str) -> dict:
        return json.loads((self.root / "reports" / f"{stage}.json").read_text(encoding="utf-8"))

    def python(self, code: str) -> str:
        return self.run(
            sys.executable, "-c", f"from deepfake_detector.paths import Workspace\nWorkspace().enter()\n{code}"
        )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Checkout:
    """A road of a minute: few small pictures, three epochs, any accuracy will do."""
    root = tmp_path_factory.mktemp("road") / "checkout"
    root.mkdir()
    for name in TAKEN:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copyfile
        copy(REPOSITORY / name, root / name)
    (root / ".dvc").mkdir()
    shutil.copyfile(REPOSITORY / ".dvc" / "config", root / ".dvc" / "config")
    shutil.copyfile(REPOSITORY / ".dvcignore", root / ".dvcignore")
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    params["download"]["sample"] |= {"train": 64, "valid": 20, "test": 20}
    params["validate"]["min_images_per_class"] = 5
    params["prepare"]["side_px"] = 64
    params["train"] |= {"epochs": 3, "batch_size": 16}
    params["evaluate"]["bootstrap"] = 100
    params["register"] |= {"min_accuracy": 0.0, "max_ece": 1.0, "min_robust_accuracy": 0.0}
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    home = tmp_path_factory.mktemp("home")
    checkout = Checkout(root, home)
    checkout.run("dvc", "config", "--local", "core.no_scm", "true")
    return checkout


def test_a_kill_in_the_middle_of_training_leaves_nothing_half_done(checkout: Checkout) -> None:
    process = checkout.start("dvc", "repro")
    deadline = time.monotonic() + 500
    while not list((checkout.root / ".cache" / "checkpoints").glob("train-*.npz")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (checkout.root / "reports" / "train.json").exists()
    assert not (checkout.root / "models" / "trained" / "model.keras").exists()


def test_the_next_repro_goes_on_and_reaches_the_end(checkout: Checkout) -> None:
    output = checkout.run("dvc", "repro")
    assert "Stage 'prepare' didn't change, skipping" in output
    assert checkout.report("train")["resumed_at_epoch"] >= 1
    assert checkout.report("train")["epochs"] == 3
    assert checkout.report("register")["champion"]["version"] == "1"
    assert checkout.report("package")["bundle_sha256"] == checkout.report("evaluate")["bundle_sha256"]


def test_a_second_repro_trains_nothing(checkout: Checkout) -> None:
    before = {stage: checkout.report(stage) for stage in STAGES}
    output = checkout.run("dvc", "repro")
    for stage in STAGES[:5]:
        assert f"Stage '{stage}' didn't change, skipping" in output
    assert "nothing to do" in output
    assert {stage: checkout.report(stage) for stage in STAGES} == before


def test_nothing_is_written_to_the_home_folder(checkout: Checkout) -> None:
    assert [str(p.relative_to(checkout.home)) for p in checkout.home.rglob("*") if p.is_file()] == []
    assert sorted(p.name for p in checkout.root.parent.iterdir()) == ["checkout"]


def test_a_lost_store_is_filled_again_and_marked_restored(checkout: Checkout) -> None:
    trained_by = checkout.report("train")["run_id"]
    (checkout.root / "mlflow.db").unlink()
    shutil.rmtree(checkout.root / "mlartifacts")
    checkout.run("dvc", "repro")
    run_id = checkout.report("register")["champion"]["run_id"]
    tags = checkout.python(
        "from deepfake_detector.tracking.store import open_client\nimport json\n"
        f"print(json.dumps(open_client().get_run('{run_id}').data.tags))"
    )
    found = json.loads(tags.splitlines()[-1])
    assert (found["restored"], found["restored_from"]) == ("true", trained_by)


def test_a_training_restored_by_the_run_cache_is_registered(checkout: Checkout) -> None:
    """DVC restores outputs without running the stage, so no MLflow run is made by it."""
    before = checkout.report("train")
    for name in ("data", "models", "mlartifacts", ".cache/checkpoints"):
        shutil.rmtree(checkout.root / name, ignore_errors=True)
    for name in ("mlflow.db", "dvc.lock", "reports/train.json", "reports/register.json"):
        (checkout.root / name).unlink()
    output = checkout.run("dvc", "repro")
    for stage in STAGES[:5]:
        assert f"Stage '{stage}' is cached - skipping run" in output
    assert checkout.report("train") == before
    assert checkout.report("register")["champion"]["version"] == "1"


def test_a_moved_folder_still_loads_its_champion(checkout: Checkout) -> None:
    moved = checkout.root.with_name("moved")
    checkout.root.rename(moved)
    checkout.root = moved
    code = (
        "import mlflow, numpy as np, warnings; warnings.simplefilter('ignore')\n"
        "model = mlflow.keras.load_model('models:/deepfake-detector@champion')\n"
        "print(model.predict(np.zeros((2, 64, 64, 3), np.uint8), verbose=0).shape)"
    )
    assert checkout.python(code).splitlines()[-1] == "(2,)"
