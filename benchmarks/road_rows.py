"""Nothing to do, and how long finding that out takes: `dvc repro`, `register`; in a small road walked beforehand."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from benchmarks.material import Material
from benchmarks.start_rows import running
from benchmarks.timing import Row, Way, compare
from deepfake_detector.paths import Workspace

ROUNDS, WALK_S = 3, 1200  # the walk takes a minute on a quiet machine
# What a road consists of; the drawn sample is made there.
TAKEN = (
    *("README.md", "bentofile.yaml", "drop.txt", "dvc.yaml", "params.yaml"),
    *("pipelines", "pyproject.toml", "src", ".dvcignore", ".dvc/config"),
)


def road_rows(material: Material) -> Iterator[Row]:
    """Every row. The tools' own commands are the limit: nothing built on them can be faster."""
    road, home = material.scratch / "road", material.scratch / "home"
    home.mkdir()
    _lay(material.workspace.root, road)
    environment = _environment(road, home)
    python = (sys.executable, "-m")
    running((*python, "dvc", "repro"), road, environment, WALK_S)()
    rounds = material.some(ROUNDS)
    repro = Way("dvc repro", running((*python, "dvc", "repro"), road, environment))
    version = Way("dvc --version", running((*python, "dvc", "--version"), road, environment))
    yield from compare("road with nothing to do", repro, [version], "run", rounds)
    register = Way("pipelines.register", running((*python, "pipelines.register"), road, environment))
    mlflow = Way("python -c 'import mlflow'", running((sys.executable, "-c", "import mlflow"), road, environment))
    yield from compare("register with nothing to do", register, [mlflow], "run", rounds)


def _lay(root: Path, road: Path) -> None:
    """A copy of the code with a data set and a training that take seconds; whatever comes of it is registered."""
    (road / ".dvc").mkdir(parents=True)
    for name in TAKEN:
        if (root / name).is_dir():
            shutil.copytree(root / name, road / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(root / name, road / name)
    (road / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    params = yaml.safe_load((road / "params.yaml").read_text(encoding="utf-8"))
    params["download"]["sample"] |= {"train": 64, "valid": 20, "test": 20}
    params["validate"]["min_images_per_class"] = 5
    params["prepare"]["side_px"] = 64
    params["train"] |= {"epochs": 1, "batch_size": 16}
    params["evaluate"] |= {"bootstrap": 100, "grid_images": 4, "explain_images": 2}
    params["register"] |= {"min_accuracy": 0.0, "max_ece": 1.0, "min_robust_accuracy": 0.0, "max_latency_ms": 10_000}
    (road / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def _environment(road: Path, home: Path) -> dict[str, str]:
    """The road's own code, stores and home; what the bench's workspace has set for its own stores is left out."""
    ours = Workspace(road).tool_environment()
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    paths = f"{road / 'src'}{os.pathsep}{road}"
    tools = {"DVC_SITE_CACHE_DIR": str(road / ".cache" / "dvc"), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return kept | ours | tools | {"HOME": str(home), "PATH": path, "PYTHONPATH": paths}
