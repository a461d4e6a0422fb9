"""`deepfake runs | promote | rollback` as people type them, in a checkout with a real store."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.cli.app import app
from deepfake_detector.registry.model_registry import read_shelf
from pipelines import register
from pipelines.stage import run_stage


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command line -> exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["deepfake", *arguments])
        with pytest.raises(SystemExit) as stopped:
            app.main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def two(road: Any) -> Any:
    """Version 1 and its better successor 2."""
    road.params()
    for noise, seed in ((0.3, 1), (0.1, 2)):
        road.candidate(noise, seed)
        assert run_stage(register.main) == 0
    return road


def reported(road: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(road.workspace.report("register").read_text(encoding="utf-8"))
    return found


def test_before_anything_was_trained(road: Any, call: Any) -> None:
    road.params()
    assert call("runs")[:2] == (0, call("runs")[1])
    assert "0 of 0 runs with test_auc" in call("runs")[1]
    code, _, said = call("rollback", "--why", "no reason")
    assert code == 1
    assert "[model_not_found] no registered model tiny" in said


def test_the_table_of_runs(two: Any, call: Any) -> None:
    code, table, _ = call("runs")
    assert code == 0
    lines = [line for line in table.splitlines() if "tiny 2 epochs on sample" in line]
    assert ["02020202" in lines[0], "01010101" in lines[1]] == [True, True]  # the best first
    assert "2 champion" in lines[0]
    assert "1 previous" in lines[1]
    assert "2 of 2 runs with test_auc" in table
    lowest = call("runs", "--by", "test_auc", "--lowest", "--limit", "1")[1]
    assert "01010101" in lowest
    assert "02020202" not in lowest
    assert "1 of 2 runs" in lowest


def test_runs_and_moves_as_json(two: Any, call: Any) -> None:
    told = json.loads(call("runs", "--json")[1])
    assert [run["version"] for run in told["runs"]] == ["2 champion", "1 previous"]
    assert told["runs"][0]["params"]["network"] == "tiny"
    assert told["aliases"] == {"champion": "2", "previous": "1"}
    assert [move["kind"] for move in told["moves"]] == ["register", "register"]


def test_a_rollback_reaches_the_folder_that_is_served_and_the_report(two: Any, call: Any) -> None:
    before = reported(two)
    code, said, _ = call("rollback", "--why", "2 flags everything")
    assert code == 0
    assert "version 1 came back for 2" in said
    assert "2 flags everything" in said
    assert "dvc repro package" in said
    found = reported(two)
    assert found["champion"]["version"] == "1"
    assert "came back for 2" in found["chosen_by_hand"]
    assert found["decision"] == before["decision"]
    seal = (two.workspace.champion / "SHA256SUMS").read_bytes()
    assert run_stage(register.main) == 0  # the stage agrees, and leaves the person's choice alone
    assert reported(two) == found
    assert (two.workspace.champion / "SHA256SUMS").read_bytes() == seal
    assert "came back for 2" in call("runs", "--moves")[1]


def test_promotion_through_the_gate_refused_and_forced(two: Any, call: Any) -> None:
    code, _, said = call("promote", "1", "--why", "I like it")
    assert code == 1
    assert "[promotion_refused] version 1: refused: AUC" in said
    assert "--force" in said
    code, said, _ = call("promote", "previous", "--why", "the customer asked", "--force")
    assert code == 0
    assert "(forced): the customer asked" in said
    assert dict(read_shelf("tiny").aliases) == {"champion": "1", "previous": "2"}


@pytest.mark.parametrize("command", [["promote", "1"], ["rollback"]])
def test_a_reason_is_asked_for(road: Any, call: Any, command: list[str]) -> None:
    road.params()
    code, _, said = call(*command)
    assert code == 1
    assert "--why" in said


def test_outside_a_checkout_it_says_where_to_stand(road: Any, call: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, said = call("runs")
    assert code == 1
    assert "run from the repository's root" in said
