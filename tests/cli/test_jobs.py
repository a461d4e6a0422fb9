"""`deepfake jobs` where it cannot begin; tests/serving/test_jobs_worker.py has what it does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deepfake_detector.errors import ModelNotFound
from deepfake_detector.serving import jobs_command
from tests.cli.conftest import RunCli


def test_without_redis_the_error_names_the_setting(run_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEEPFAKE_SERVE_REDIS", raising=False)
    code, _, stderr = run_cli("jobs")
    assert code == 1
    assert "[bad_settings] DEEPFAKE_SERVE_REDIS is not set" in stderr


def test_a_redis_that_does_not_answer_is_a_failure(
    run_cli: RunCli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEEPFAKE_SERVE_REDIS", f"unix://:hunter2@{tmp_path}/nothing")
    code, stdout, stderr = run_cli("jobs")
    assert code == 2
    assert "[queue_unavailable]" in stderr
    assert "hunter2" not in stdout + stderr


def test_without_the_packages_the_error_names_the_extra(run_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPFAKE_SERVE_REDIS", "redis://127.0.0.1:1/0")
    for name in ("deepfake_detector.serving.jobs_store", "deepfake_detector.serving.jobs_worker"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    code, _, stderr = run_cli("jobs")
    assert code == 2
    assert "[missing_extra] jobs need the package redis" in stderr
    assert "deepfake-detector[jobs]" in stderr


def test_other_systems_get_another_way(run_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    code, _, stderr = run_cli("jobs")
    assert code == 2
    assert "deepfake predict" in stderr


def test_the_model_of_an_image_is_found(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="--bundle"):
        jobs_command.bundle_in_image({})
    for version in ("one", "two"):
        (tmp_path / "models" / "deepfake-detector" / version / "bundle").mkdir(parents=True)
        if version == "one":
            assert jobs_command.bundle_in_image({"BENTO_PATH": str(tmp_path)}).parts[-2:] == ("one", "bundle")
    with pytest.raises(ModelNotFound, match="2 models"):
        jobs_command.bundle_in_image({"BENTO_PATH": str(tmp_path)})
