"""`dvc repro` and `register` with nothing to do, in a small pipeline that was run before -> comparisons."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from benchmarks.material import Material
from benchmarks.start_rows import running
from benchmarks.timing import Comparison, Variant, compare
from deepfake_detector.paths import Workspace

ROUNDS, FIRST_RUN_S = 3, 1200  # the first run takes a minute on an idle machine
# What a pipeline needs; the sample is drawn in the copy.
COPIED = (
    *("README.md", "bentofile.yaml", "requirements-image.lock", "drop.txt", "dvc.yaml", "params.yaml"),
    *("gx", "pipelines", "pyproject.toml", "src", ".dvcignore", ".dvc/config"),
)


def pipeline_rows(material: Material) -> Iterator[Comparison]:
    """Compare with the tools' own commands, the lower limit of the time."""
    checkout, home = material.scratch / "checkout", material.scratch / "home"
    home.mkdir()
    _copy_checkout(material.workspace.root, checkout)
    environment = _environment(checkout, home)
    python = (sys.executable, "-m")
    running((*python, "dvc", "repro"), checkout, environment, FIRST_RUN_S)()
    rounds = material.some(ROUNDS)
    repro = Variant("dvc repro", running((*python, "dvc", "repro"), checkout, environment))
    version = Variant("dvc --version", running((*python, "dvc", "--version"), checkout, environment))
    yield from compare("pipeline with nothing to do", repro, [version], "run", rounds)
    register = Variant("pipelines.register", running((*python, "pipelines.register"), checkout, environment))
    mlflow = Variant(
        "python -c 'import mlflow'", running((sys.executable, "-c", "import mlflow"), checkout, environment)
    )
    yield from compare("register with nothing to do", register, [mlflow], "run", rounds)


def _copy_checkout(root: Path, checkout: Path) -> None:
    """Copy the code, with settings for a data set and a training of seconds whose model is always registered."""
    (checkout / ".dvc").mkdir(parents=True)
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(root / name, checkout / name)
    (checkout / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    params = yaml.safe_load((checkout / "params.yaml").read_text(encoding="utf-8"))
    params["download"]["sample"] |= {"train": 64, "valid": 20, "test": 20}
    params["validate"]["min_images_per_class"] = 5
    params["prepare"]["side_px"] = 64
    params["train"] |= {"epochs": 1, "batch_size": 16}
    params["evaluate"] |= {"bootstrap": 100, "grid_images": 4, "explain_images": 2}
    params["register"] |= {"min_accuracy": 0.0, "max_ece": 1.0, "min_robust_accuracy": 0.0, "max_latency_ms": 10_000}
    (checkout / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def _environment(checkout: Path, home: Path) -> dict[str, str]:
    """Variables for the copy's own code, stores and home, without those of this process's stores."""
    ours = Workspace(checkout).tool_environment()
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    paths = f"{checkout / 'src'}{os.pathsep}{checkout}"
    tools = {"DVC_SITE_CACHE_DIR": str(checkout / ".cache" / "dvc"), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return kept | ours | tools | {"HOME": str(home), "PATH": path, "PYTHONPATH": paths}
