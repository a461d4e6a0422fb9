"""Lineage tags with and without git, DVC and an enclosing checkout."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from deepfake_detector.tracking.lineage import NOT_GIT, actor, read_git, read_lineage

LOCK = """
schema: '2.0'
stages:
  download:
    cmd: python -m pipelines.download
    outs:
    - {path: data/raw/faces.zip, hash: md5, md5: abc, size: 3}
    - {path: reports/download.json, hash: md5, md5: def, size: 3}
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A commit with one file, on the branch `work`, isolated from the user's git settings."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "code.py").write_text("one = 1\n")
    git(root, "init", "-q", "-b", "work")
    git(root, "add", ".")
    git(root, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "first")
    return root


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def test_a_clean_checkout(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    expected = {"git_commit": commit, "git_branch": "work", "git_dirty": "false", "mlflow.source.git.commit": commit}
    assert read_git(repository) == expected


@pytest.mark.parametrize(
    ("path", "dirty"),
    [("code.py", "true"), ("new.py", "true"), ("dvc.lock", "false"), ("reports/train.json", "false")],
)
def test_only_outputs_of_the_pipeline_leave_it_clean(repository: Path, path: str, dirty: str) -> None:
    (repository / path).parent.mkdir(exist_ok=True)
    (repository / path).write_text("two = 2\n")
    assert read_git(repository)["git_dirty"] == dirty


def test_a_detached_head(repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    assert read_git(repository)["git_branch"] == "detached"


def test_no_commit_yet(tmp_path: Path, repository: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    assert read_git(empty) == {"git_commit": "no commit yet"}


def test_an_archive_unpacked_in_another_checkout_does_not_get_its_commit(repository: Path) -> None:
    inner = repository / "unpacked"
    inner.mkdir()
    assert read_git(inner) == {"git_commit": NOT_GIT}


def test_without_git_installed(repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_git(repository) == {"git_commit": NOT_GIT}


def test_tags_of_files_data_libraries_and_weights(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text(LOCK)
    (tmp_path / "params.yaml").write_text("train: {}\n")
    tags = read_lineage(tmp_path, "w" * 64)
    assert tags["dvc_lock_sha256"] == hashlib.sha256(LOCK.encode()).hexdigest()
    assert tags["params_sha256"] == hashlib.sha256(b"train: {}\n").hexdigest()
    assert tags["dvc:data/raw/faces.zip"] == "abc"
    assert "dvc:reports/download.json" not in tags
    assert tags["weights_sha256"] == "w" * 64
    assert tags["version:numpy"]
    assert "@" in tags["actor"] or "GitHub" in tags["actor"]


@pytest.mark.parametrize("lock", [None, "", "stages: [", "stages: 3", "stages: {a: {outs: [{hash: md5}]}}"])
def test_a_missing_or_invalid_lock_is_no_error(tmp_path: Path, lock: str | None) -> None:
    if lock is not None:
        (tmp_path / "dvc.lock").write_text(lock)
    tags = read_lineage(tmp_path)
    assert not any(tag.startswith("dvc:") for tag in tags)
    assert "weights_sha256" not in tags
    assert all(isinstance(value, str) for value in tags.values())


@pytest.mark.parametrize("on_github", [True, False])
def test_the_actor_is_an_account_and_its_machine_or_a_workflow_run(
    monkeypatch: pytest.MonkeyPatch, on_github: bool
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", str(on_github).lower())
    monkeypatch.setenv("GITHUB_ACTOR", "ada")
    monkeypatch.setenv("GITHUB_RUN_ID", "7")
    monkeypatch.setenv("LOGNAME", "grace")
    assert actor() == "ada (GitHub run 7)" if on_github else actor().startswith("grace@")


def test_feedback_and_the_drift_report_before_a_training_are_named(tmp_path: Path) -> None:
    sources = "download:\n  sources:\n  - {name: faces}\n  - {name: feedback, feedback: true}\n"
    (tmp_path / "params.yaml").write_text(sources + "evaluate:\n  drift_report: drift-2026-11-29-1a2b3c4d\n")
    assert "drift_report" not in read_lineage(tmp_path)  # nothing was fetched: this is no training
    (tmp_path / "reports").mkdir()
    fetched = [{"name": "faces", "sha256": "a" * 64}, {"name": "feedback", "sha256": "b" * 64}]
    (tmp_path / "reports" / "download.json").write_text(json.dumps({"sources": fetched}))
    tags = read_lineage(tmp_path)
    assert {name: value for name, value in tags.items() if name.startswith("feedback:")} == {
        "feedback:feedback": "b" * 64
    }
    assert tags["drift_report"] == "drift-2026-11-29-1a2b3c4d"
    (tmp_path / "params.yaml").write_text("download: 3\n")
    assert "drift_report" not in read_lineage(tmp_path)
