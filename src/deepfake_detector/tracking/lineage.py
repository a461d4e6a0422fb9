"""Repository folder -> tags (str -> str) that name the versions of its code, data and libraries.

Read from git and from dvc.lock; neither a git checkout nor DVC is required.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from getpass import getuser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import node

from ruamel.yaml.error import YAMLError

from deepfake_detector.yaml_file import read_yaml

NOT_GIT, NO_COMMIT = "not a git checkout", "no commit yet"
OWN_OUTPUTS = ("dvc.lock", "reports")  # written by the pipeline; changes in them are no changes of the code
FEEDBACK_TAG, DRIFT_TAG = "feedback:", "drift_report"
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
    """Collect the lineage tags of a run or model version.

    Args:
        root: the repository's folder; without git, dvc.lock or params.yaml their tags are missing, which is no error.
        weights_sha256: digest of the trained weights, if they exist already.

    Returns:
        `git_commit`, `git_branch`, `git_dirty` ("true" if the code differs from the commit), `dvc_lock_sha256`,
        `params_sha256`, `actor` (account and machine), `dvc:<output>` with DVC's digest of each output under data/ and
        models/, `feedback:<source>` with the digest of each source of feedback, `drift_report` with the name of the one
        before the training, `version:<library>`, and `weights_sha256` if given. `mlflow.source.git.commit` fills a
        column of MLflow's run table.
    """
    tags = (
        read_git(root)
        | _file_digests(root)
        | _dvc_outputs(root / "dvc.lock")
        | _occasion(root)
        | _library_versions()
        | {"actor": actor()}
    )
    return tags | ({"weights_sha256": weights_sha256} if weights_sha256 else {})


def read_git(root: Path) -> dict[str, str]:
    """Commit, branch and whether anything but the pipeline's outputs differs from the commit."""
    top = _git(root, "rev-parse", "--show-toplevel")
    # A source archive unpacked inside another checkout does not have that checkout's commit.
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
    """Output of a git command, stripped; None if git is missing or the command fails."""
    try:
        completed = subprocess.run(
            ["git", "--no-optional-locks", *arguments], cwd=root, capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return completed.stdout.strip() if completed.returncode == 0 else None


def _file_digests(root: Path) -> dict[str, str]:
    files = {"dvc_lock_sha256": root / "dvc.lock", "params_sha256": root / "params.yaml"}
    return {tag: hashlib.sha256(path.read_bytes()).hexdigest() for tag, path in files.items() if path.is_file()}


def _dvc_outputs(lock: Path) -> dict[str, str]:
    try:
        stages = (read_yaml(lock) or {}).get("stages", {})
        outputs = [output for stage in stages.values() for output in stage.get("outs", [])]
        digests = {str(output["path"]): str(output.get("md5", "")) for output in outputs}
    except (FileNotFoundError, YAMLError, AttributeError, KeyError, TypeError):
        return {}  # DVC would refuse this lock too; its digest is among the tags all the same
    return {f"dvc:{path}": md5 for path, md5 in digests.items() if md5 and path.startswith(("data/", "models/"))}


def _occasion(root: Path) -> dict[str, str]:
    """Sources that hold feedback, and the drift report that came before the training."""
    try:
        params = read_yaml(root / "params.yaml") or {}
        report = json.loads((root / "reports" / "download.json").read_text(encoding="utf-8"))
        digests = {source["name"]: str(source["sha256"]) for source in report["sources"]}
        names = [str(source["name"]) for source in params["download"]["sources"] if source.get("feedback")]
        drift_report = str(params.get("evaluate", {}).get("drift_report", ""))
    except (OSError, ValueError, YAMLError, AttributeError, KeyError, TypeError):
        return {}  # the stages would refuse such a file
    feedback = {f"{FEEDBACK_TAG}{name}": digests[name] for name in names if name in digests}
    return feedback | ({DRIFT_TAG: drift_report} if drift_report else {})


def _library_versions() -> dict[str, str]:
    versions = {"version:python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[f"version:{name}"] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def actor() -> str:
    """Who runs this: account and machine, or on GitHub the account and the workflow run."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return f"{os.environ.get('GITHUB_ACTOR', 'github')} (GitHub run {os.environ.get('GITHUB_RUN_ID', 'unknown')})"
    try:
        return f"{getuser()}@{node()}"
    except (KeyError, OSError):  # an account without a name, as in some containers
        return f"{os.getuid()}@{node()}" if hasattr(os, "getuid") else node()
