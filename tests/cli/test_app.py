from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import RunCli


@pytest.mark.parametrize("arguments", [["predict"], ["predict", "--nope", "x"], ["nope"]])
def test_wrong_usage_is_bad_input(run_cli: RunCli, arguments: list[str]) -> None:
    code, _, stderr = run_cli(*arguments, model=None)
    assert code == 1
    assert "Usage" in stderr


@pytest.mark.parametrize("command", ["predict", "scan", "about"])
def test_help_has_examples(run_cli: RunCli, command: str) -> None:
    code, stdout, _ = run_cli(command, "--help", model=None)
    assert code == 0
    assert f"deepfake {command} " in stdout.split("Examples:")[1]


def test_a_wrong_model_is_bad_input_and_one_message(run_cli: RunCli, red_file: Path, tmp_path: Path) -> None:
    code, stdout, stderr = run_cli("predict", str(red_file), model=str(tmp_path))
    assert (code, stdout) == (1, "")
    assert stderr.startswith("error: [model_not_found] no model bundle at")
    assert "Traceback" not in stderr


def test_a_changed_model_is_a_failure_of_the_tool(run_cli: RunCli, red_file: Path, tiny: Any, tmp_path: Path) -> None:
    bundle = tiny.write_bundle(tmp_path / "bundle")
    (bundle.path / "card.md").write_text("changed")
    assert run_cli("predict", str(red_file), model=str(bundle.path))[0] == 2


def test_without_a_model_the_error_names_the_next_step(
    run_cli: RunCli, red_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(red_file.parent)
    monkeypatch.setattr("deepfake_detector.inference.model_selection.CHECKOUT_ROOT", Path(os.sep, "nowhere"))
    code, _, stderr = run_cli("predict", str(red_file), model=None)
    assert code == 1
    assert "make repro" in stderr
