"""A fresh clone with the environment only activated: temporary and queued experiments, their table, the way back."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline_checkout import PIPELINE_FILES, REPOSITORY, copy_repository

FILES = (".dvcignore", ".gitignore", "docs", "Makefile", "requirements.lock", *PIPELINE_FILES)
EXAMPLE = REPOSITORY / "docs" / "examples" / "dvc_api.py"
MAX_WIDTH = 120  # columns of `make experiments`

# DVC's queue workers are daemons: one that finds no task may idle for ever, and whoever reads its output waits with it.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        os.environ.get("DEEPFAKE_EXPERIMENTS") != "1", reason="several trainings: DEEPFAKE_EXPERIMENTS=1"
    ),
]


class Clone:
    """A clone of the repository; commands run in it as after `source .venv/bin/activate`."""

    def __init__(self, root: Path) -> None:
        self.root, self.home = root, root.with_name("home")
        self.home.mkdir(exist_ok=True)

    def run(self, *command: str, folder: str = ".") -> str:
        """Standard output of a command that must succeed."""
        prefixes = ("MLFLOW", "BENTOML", "KERAS", "DVC", "GIT_", "DEEPFAKE", "PYTHONPATH", "MAKE")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
        environment |= {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}",
            "HOME": str(self.home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "COLUMNS": str(MAX_WIDTH),
            "DVC_NO_ANALYTICS": "1",
        }
        # Files, not pipes: a daemon that the command starts would hold a pipe open.
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            done = subprocess.run(
                command, cwd=self.root / folder, env=environment, stdout=output, stderr=errors, timeout=800
            )
            output.seek(0)
            errors.seek(0)
            text = output.read()
            assert done.returncode == 0, text + errors.read()
        return text

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=ada", "-c", "user.email=ada@lab", "commit", "--quiet", "-m", message)

    def rows(self, query: str) -> list[Any]:
        """Result of a query of the one MLflow store."""
        with closing(sqlite3.connect(f"file:{self.root / 'mlflow.db'}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A clone in which nothing was run yet; the floors refuse no full evaluation."""
    folder = tmp_path_factory.mktemp("experiments")
    copy_repository(folder / "origin", FILES, images=(32, 12, 12), epochs=1)
    origin = Clone(folder / "origin")
    (origin.root / "reports").mkdir()
    shutil.copyfile(REPOSITORY / "reports" / "metrics.json", origin.root / "reports" / "metrics.json")
    origin.run("git", "init", "--quiet", "-b", "main")
    origin.commit("the code")
    origin.run("git", "clone", "--quiet", str(origin.root), str(folder / "clone"))
    made = Clone(folder / "clone")
    for name in ("name", "email"):
        made.run("git", "config", f"user.{name}", "ada@lab")
    yield made
    made.run("dvc", "queue", "stop", "--kill")


def test_a_command_below_the_root_leaves_nothing_there(clone: Clone) -> None:
    clone.run("dvc", "status", folder="docs")
    assert not (clone.root / "docs" / ".cache").exists()
    assert clone.run("git", "status", "--short") == ""


def test_a_temporary_experiment_is_kept_although_the_gate_refuses_its_model(clone: Clone) -> None:
    output = clone.run("dvc", "exp", "run", "--temp", "--name", "quick", "--set-param", "evaluate.quick=true")
    assert "refused: evaluated on small samples (evaluate.quick)" in output
    assert "no champion yet" in output
    assert clone.run("dvc", "exp", "list", "--name-only").split()[-1] == "quick"
    assert clone.rows("SELECT status FROM runs") == [("FINISHED",)]  # in the clone's own store
    assert clone.rows("SELECT alias FROM registered_model_aliases") == [("challenger",)]
    assert clone.run("git", "status", "--short") == ""


def test_two_queued_experiments_run_at_once_and_share_the_store(clone: Clone) -> None:
    clone.run("dvc", "exp", "run", "--queue", "--name", "more", "--set-param", "train.epochs=2")
    clone.run("dvc", "exp", "run", "--queue", "--name", "seed", "--set-param", "train.seed=5")
    clone.run("dvc", "queue", "start", "--jobs", "2")
    deadline = time.monotonic() + 700
    while (status := clone.run("dvc", "queue", "status")).count("Success") < 2:
        assert "Failed" not in status, clone.run("dvc", "queue", "logs", "more") + clone.run(
            "dvc", "queue", "logs", "seed"
        )
        assert time.monotonic() < deadline, status
        time.sleep(3)
    assert clone.rows("SELECT status FROM runs") == [("FINISHED",)] * 3
    assert clone.rows("SELECT COUNT(*) FROM model_versions") == [(3,)]
    assert ("champion",) in clone.rows("SELECT alias FROM registered_model_aliases")
    assert not list((clone.root / ".dvc" / "tmp" / "exps").rglob("mlflow.db"))
    assert clone.run("git", "status", "--short") == ""


def test_the_table_of_experiments_fits_the_terminal(clone: Clone) -> None:
    recipe = (REPOSITORY / "Makefile").read_text(encoding="utf-8").split("experiments: $(ENV)\n\t")[1]
    table = clone.run("bash", "-c", recipe.splitlines()[0].replace("$$", "$") + " --no-pager")
    lines = table.splitlines()
    assert max(map(len, lines)) <= MAX_WIDTH
    assert all(name in table for name in ("[quick]", "[more]", "[seed]", "train.epochs", "accuracy", "auc"))


def test_the_example_of_the_python_api(clone: Clone) -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 20
    clone.run("dvc", "exp", "apply", "more")
    printed = clone.run(sys.executable, str(EXAMPLE))
    assert printed.splitlines()[0].startswith("workspace: 2 epochs, AUC ")
    assert {line.split(":")[0] for line in printed.splitlines()[1:]} == {"quick", "more", "seed"}


def test_an_applied_experiment_is_up_to_date_after_make_repro_and_can_be_undone(clone: Clone) -> None:
    """After `dvc exp apply more`: only `register` and `package` have something to do here."""
    installed = clone.root / ".venv" / ".installed"
    installed.parent.mkdir()
    installed.touch()  # the environment is that of this process
    output = clone.run("make", "repro")
    assert "Stage 'evaluate' didn't change, skipping" in output
    assert json.loads((clone.root / "reports" / "register.json").read_text(encoding="utf-8"))["champion"]
    versions = clone.rows("SELECT COUNT(*) FROM model_versions")
    assert versions == [(3,)]  # the version of the experiment, found again
    assert clone.run("dvc", "status").strip() == "Data and pipelines are up to date."
    changed = clone.run("git", "status", "--short").split("\n")
    assert {line[3:] for line in changed if line} <= {"dvc.lock", "params.yaml", "reports/metrics.json"}
    clone.run("git", "restore", "--staged", "--worktree", "--source", "HEAD", "params.yaml", "reports/metrics.json")
    assert "train.epochs" not in clone.run("dvc", "params", "diff")
