"""A stage runs the code of its own checkout, although the environment's editable install points to another one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
WORKER = """
import pipelines  # as every stage does, being a module of it
from deepfake_detector.parallel import process_pool
import deepfake_detector

def where(_: int) -> str:
    import deepfake_detector
    return deepfake_detector.__file__

if __name__ == "__main__":
    with process_pool(1) as pool:
        print(deepfake_detector.__file__, *pool.map(where, [0]), sep="\\n")
"""


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """Another checkout with the code of `pipelines` and as much of the package as worker processes need."""
    root = tmp_path / "second"
    package = root / "src" / "deepfake_detector"
    package.mkdir(parents=True)
    (root / "pipelines").mkdir()
    (root / "pipelines" / "__init__.py").write_bytes((REPOSITORY / "pipelines" / "__init__.py").read_bytes())
    for name in ("__init__.py", "parallel.py", "errors.py"):
        (package / name).write_bytes((REPOSITORY / "src" / "deepfake_detector" / name).read_bytes())
    (root / "pipelines" / "probe.py").write_text(WORKER, encoding="utf-8")
    return root


def run(root: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a checkout; the package is installed in editable mode, from this one."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    return subprocess.run(
        [sys.executable, *command], cwd=root, env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("path", ["", str(REPOSITORY / "src")])  # by the install alone, and by PYTHONPATH too
def test_a_second_checkout_runs_its_own_code_in_worker_processes_too(second: Path, path: str) -> None:
    done = run(second, "-m", "pipelines.probe", **({"PYTHONPATH": path} if path else {}))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(second / "src" / "deepfake_detector" / "__init__.py")] * 2


def test_code_that_was_imported_from_elsewhere_stops_the_stage(second: Path) -> None:
    done = run(second, "-c", "import deepfake_detector, pipelines", PYTHONPATH=str(REPOSITORY / "src"))
    assert done.returncode == 2
    assert done.stderr.startswith(f"\nerror [other_checkout]: the code in {REPOSITORY / 'src'}")
    assert f"not that of this checkout ({second / 'src'})" in done.stderr


def test_a_checkout_without_the_package_stops_the_stage(second: Path) -> None:
    (second / "src").rename(second / "sources")
    done = run(second, "-m", "pipelines.probe", PYTHONPATH=str(REPOSITORY / "src"))
    assert done.returncode == 2
    assert "error [other_checkout]" in done.stderr
