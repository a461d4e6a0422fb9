"""`deepfake runs | promote | rollback` on the command line, in a checkout with a real store."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.cli import app
from deepfake_detector.registry.model_registry import read_registry
from pipelines import register
from pipelines.stage import run_stage
from tests.pipeline_checkout import PipelineCheckout

pytestmark = pytest.mark.slow

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def deepfake(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command line with these arguments -> exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["deepfake", *arguments])
        with pytest.raises(SystemExit) as stopped:
            app.main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def two(checkout: PipelineCheckout) -> PipelineCheckout:
    """Version 1 and its better successor 2, by the stage."""
    checkout.write_params()
    for noise, seed in ((0.3, 1), (0.1, 2)):
        checkout.candidate(noise, seed)
        assert run_stage(register.main) == 0
    return checkout


def read_report(checkout: PipelineCheckout) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(checkout.workspace.report("register").read_text(encoding="utf-8"))
    return report


def test_before_any_training_the_table_is_empty_and_a_rollback_fails(
    checkout: PipelineCheckout, deepfake: Command
) -> None:
    checkout.write_params()
    code, table, _ = deepfake("runs")
    assert code == 0
    assert "0 of 0 runs with test_auc" in table
    code, _, error = deepfake("rollback", "--why", "no reason")
    assert code == 1
    assert "[model_not_found] no registered model tiny" in error


def test_runs_prints_a_sorted_table(two: PipelineCheckout, deepfake: Command) -> None:
    code, table, _ = deepfake("runs")
    assert code == 0
    lines = [line for line in table.splitlines() if "tiny 2 epochs on sample" in line]
    assert ["02020202" in lines[0], "01010101" in lines[1]] == [True, True]  # the best first
    assert "2 champion" in lines[0]
    assert "1 previous" in lines[1]
    assert "2 of 2 runs with test_auc" in table
    lowest = deepfake("runs", "--by", "test_auc", "--lowest", "--limit", "1")[1]
    assert "01010101" in lowest
    assert "02020202" not in lowest
    assert "1 of 2 runs" in lowest


def test_runs_of_versions_are_shown_after_the_experiment_was_renamed(two: PipelineCheckout, deepfake: Command) -> None:
    two.write_params(experiment="renamed")
    table = deepfake("runs")[1]
    assert "2 champion" in table
    assert "2 of 2 runs with test_auc" in table


def test_runs_prints_runs_and_history_as_json(two: PipelineCheckout, deepfake: Command) -> None:
    printed = json.loads(deepfake("runs", "--json")[1])
    assert [run["version"] for run in printed["runs"]] == ["2 champion", "1 previous"]
    assert printed["runs"][0]["params"]["network"] == "tiny"
    assert printed["aliases"] == {"champion": "2", "previous": "1"}
    assert [change["kind"] for change in printed["alias_changes"]] == ["register", "register"]


def test_a_rollback_exports_the_champion_and_updates_the_report(two: PipelineCheckout, deepfake: Command) -> None:
    before = read_report(two)
    code, printed, _ = deepfake("rollback", "--why", "2 flags everything")
    assert code == 0
    assert "version 1 was restored in place of 2" in printed
    assert "2 flags everything" in printed
    assert "python -m pipelines.package" in printed
    report = read_report(two)
    assert report["champion"]["version"] == "1"
    assert "restored in place of 2" in report["manual_change"]
    assert report["decision"] == before["decision"]
    seal = (two.workspace.champion / "SHA256SUMS").read_bytes()
    assert run_stage(register.main) == 0  # the stage keeps the manual change
    assert read_report(two) == report
    assert (two.workspace.champion / "SHA256SUMS").read_bytes() == seal
    assert "restored in place of 2" in deepfake("runs", "--history")[1]


def test_a_promotion_is_refused_by_the_gate_and_can_be_forced(two: PipelineCheckout, deepfake: Command) -> None:
    code, _, error = deepfake("promote", "1", "--why", "I like it")
    assert code == 1
    assert "[promotion_refused] version 1: refused: AUC" in error
    assert "--force" in error
    code, printed, _ = deepfake("promote", "previous", "--why", "the customer asked", "--force")
    assert code == 0
    assert "(forced): the customer asked" in printed
    assert dict(read_registry("tiny").aliases) == {"champion": "1", "previous": "2"}


@pytest.mark.parametrize("command", [["promote", "1"], ["rollback"]])
def test_a_reason_is_required(checkout: PipelineCheckout, deepfake: Command, command: list[str]) -> None:
    checkout.write_params()
    code, _, error = deepfake(*command)
    assert code == 1
    assert "--why" in error


def test_outside_a_checkout_the_error_names_the_folder_to_use(
    checkout: PipelineCheckout, deepfake: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, error = deepfake("runs")
    assert code == 1
    assert "run from the repository's root" in error
