"""Repository folder -> where its code, data and libraries stand, as tags (str -> str).

It reads git's own answers and dvc.lock as plain YAML; neither a git checkout nor DVC is needed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from getpass import getuser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import node
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    pass

NOT_GIT, NO_COMMIT = "not a git checkout", "no commit yet"
OWN_OUTPUTS = ("dvc.lock", "reports")  # the road writes these itself: they say nothing about the code
LIBRARIES = (
    "deepfake-detector",
    "tensorflow",
    "keras",
    "numpy",
    "opencv-python-headless",
    "openvino",
    "mlflow",
    "dvc",
    "bentoml",
)


def read_lineage(root: Path, weights_sha256: str = "") -> dict[str, str]:
    """Collect the tags that say where a model came from.

    Args:
        root: the repository's folder; without git, dvc.lock or params.yaml the answer is shorter, never an error.
        weights_sha256: digest of the trained arrays, where they exist already.

    Returns:
        `git_commit`, `git_branch`, `git_dirty` ("true" when the code differs from the commit), `dvc_lock_sha256`,
        `params_sha256`, `actor` (who ran it, on which machine), `dvc:<output>` with DVC's digest of each output under
        data/ and models/, `version:<library>`, and `weights_sha256` if given. MLflow's own `mlflow.source.git.commit`
        fills the column in its run table.
    """
    tags = read_git(root) | _digests(root) | _dvc_outputs(root / "dvc.lock") | _libraries() | {"actor": actor()}
    return tags | ({"weights_sha256": weights_sha256} if weights_sha256 else {})


def read_git(root: Path) -> dict[str, str]:
    """Commit, branch and whether anything but the road's own outputs differs from the commit."""
    top = _git(root, "rev-parse", "--show-toplevel")
    # A source archive unpacked inside some other checkout must not borrow that one's commit.
    if not top or Path(top).resolve() != root.resolve():
        return {"git_commit": NOT_GIT}
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if not commit:
        return {"git_commit": NO_COMMIT}
    excluded = [f":(exclude){path}" for path in OWN_OUTPUTS]
    changed = _git(root, "status", "--porcelain", "--", ".", *excluded)
    return {
        "git_commit": commit,
        "git_branch": _git(root, "symbolic-ref", "--short", "--quiet", "HEAD") or "detached",
        "git_dirty": "unknown" if changed is None else str(bool(changed)).lower(),
        "mlflow.source.git.commit": commit,
    }


def _git(root: Path, *arguments: str) -> str | None:
    """Git's answer without its last line break; None when git is absent or refuses."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments], cwd=root, capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _digests(root: Path) -> dict[str, str]:
    files = {"dvc_lock_sha256": root / "dvc.lock", "params_sha256": root / "params.yaml"}
    return {tag: hashlib.sha256(path.read_bytes()).hexdigest() for tag, path in files.items() if path.is_file()}


def _dvc_outputs(lock: Path) -> dict[str, str]:
    try:
        stages = (yaml.safe_load(lock.read_text(encoding="utf-8")) or {}).get("stages", {})
        outputs = [output for stage in stages.values() for output in stage.get("outs", [])]
        digests = {str(output["path"]): str(output.get("md5", "")) for output in outputs}
    except (FileNotFoundError, yaml.YAMLError, AttributeError, KeyError, TypeError):
        return {}  # a lock that DVC itself would refuse; its digest is in the tags all the same
    return {f"dvc:{path}": md5 for path, md5 in digests.items() if md5 and path.startswith(("data/", "models/"))}


def _libraries() -> dict[str, str]:
    found = {"version:python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[f"version:{name}"] = version(name)
        except PackageNotFoundError:
            continue
    return found


def actor() -> str:
    """Who moves: the account and machine, or on GitHub the account and the workflow's run."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return f"{os.environ.get('GITHUB_ACTOR', 'github')} (GitHub run {os.environ.get('GITHUB_RUN_ID', 'unknown')})"
    try:
        return f"{getuser()}@{node()}"
    except (KeyError, OSError):  # an account without a name, as in some containers
        return f"{os.getuid()}@{node()}" if hasattr(os, "getuid") else node()
