"""Which checkout owns the stores: the primary one, whatever copy of it runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from deepfake_detector.paths import STORE_ROOT_VARIABLE, Workspace, primary_checkout


@pytest.fixture(autouse=True)
def _without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STORE_ROOT_VARIABLE, raising=False)


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=ada", "-c", "user.email=ada@lab", "-c", "protocol.file.allow=always")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *identity, *arguments]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "main"
    folder.mkdir()
    git(folder, "init", "--quiet", "-b", "main")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "first")
    return folder


def test_a_clone_and_a_source_archive_own_their_stores(repository: Path, tmp_path: Path) -> None:
    clone, archive = tmp_path / "clone", tmp_path / "archive"
    git(tmp_path, "clone", "--quiet", str(repository), str(clone))
    archive.mkdir()
    assert [primary_checkout(each) for each in (repository, clone, archive)] == [repository, clone, archive]


def test_a_linked_worktree_uses_the_stores_of_the_main_worktree(repository: Path, tmp_path: Path) -> None:
    linked = tmp_path / "elsewhere" / "linked"
    git(repository, "worktree", "add", "--quiet", str(linked))
    assert Workspace(linked).root == linked
    assert Workspace(linked).store_root == repository


@pytest.mark.parametrize("folder", ["tmp1a2b", "standalone/tmp1a2b"])  # of the queue, of `--temp`
def test_a_temporary_workspace_of_dvc_uses_the_stores_of_its_checkout(repository: Path, folder: str) -> None:
    workspace = repository / ".dvc" / "tmp" / "exps" / folder
    workspace.mkdir(parents=True)
    git(workspace, "init", "--quiet")
    assert Workspace(workspace).store_root == repository


def test_experiments_of_a_linked_worktree_use_the_stores_of_the_main_worktree(repository: Path) -> None:
    linked = repository.parent / "linked"
    git(repository, "worktree", "add", "--quiet", str(linked))
    workspace = linked / ".dvc" / "tmp" / "exps" / "tmp1a2b"
    workspace.mkdir(parents=True)
    assert Workspace(workspace).store_root == repository


def test_a_submodule_and_a_worktree_of_a_bare_repository_own_their_stores(repository: Path, tmp_path: Path) -> None:
    outer, bare, linked = tmp_path / "outer", tmp_path / "bare.git", tmp_path / "of-bare"
    outer.mkdir()
    git(outer, "init", "--quiet")
    git(outer, "submodule", "--quiet", "add", str(repository), "inner")
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), str(bare))
    git(bare, "worktree", "add", "--quiet", "--detach", str(linked))
    assert (outer / "inner" / ".git").is_file()
    assert primary_checkout(outer / "inner") == outer / "inner"
    assert primary_checkout(linked) == linked


def test_the_variable_names_another_folder_for_all_stores(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    monkeypatch.setenv(STORE_ROOT_VARIABLE, str(shared))
    tools = Workspace(repository).tool_environment()
    assert tools["MLFLOW_TRACKING_URI"] == f"sqlite:///{shared / 'mlflow.db'}"
    assert tools["BENTOML_HOME"] == str(shared / ".bentoml")
    assert Workspace(repository).checkpoints == repository / ".cache" / "checkpoints"
