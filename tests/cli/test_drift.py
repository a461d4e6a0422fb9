"""`deepfake drift`: exit codes, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from deepfake_detector.cli import drift as command
from deepfake_detector.cli.app import app
from deepfake_detector.errors import BadInput, BundleCorrupt
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.monitoring import drift as monitoring
from deepfake_detector.monitoring import page


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle) -> Any:
    """Runs the command on a report with a given verdict; the report itself has tests of its own."""

    def call(verdict: str, *arguments: str) -> Any:
        logs = SimpleNamespace(broken=1, lines=300, broken_named=("a.jsonl:7: no JSON",))
        report = SimpleNamespace(
            verdict=verdict, drifted=verdict.endswith("shift"), summary=("abc: moved.",), logs=logs,
            as_dict=lambda: {"verdict": verdict},
        )  # fmt: skip
        received = dict[str, Any]()

        def measured(*values: Any) -> Any:
            received.update(zip(("logs", "bundles", "baseline"), values, strict=True))
            return report

        monkeypatch.setattr(monitoring, "measure_drift", measured)
        monkeypatch.setattr(page, "write_page", lambda _, out: out.write_text("page"))
        result = CliRunner().invoke(app, ["drift", *arguments, "--model", str(tiny_bundle.path)])
        return result, received

    return call


@pytest.mark.parametrize(("verdict", "code"), [("quiet", 0), ("prior shift", 3), ("covariate shift", 3)])
def test_drift_is_an_answer_with_an_exit_code_of_its_own(run: Any, verdict: str, code: int) -> None:
    result, received = run(verdict, "a.jsonl", "b.parquet", "--baseline", "c.jsonl")
    assert result.exit_code == code
    assert result.stdout.splitlines() == [
        f"verdict: {verdict}", "abc: moved.", "1 of 300 lines are broken: a.jsonl:7: no JSON",
    ]  # fmt: skip
    assert [str(path) for path in received["logs"]] == ["a.jsonl", "b.parquet"]
    assert [str(path) for path in received["baseline"]] == ["c.jsonl"]


def test_json_is_all_that_is_printed(run: Any, tmp_path: Path) -> None:
    result, _ = run("quiet", "a.jsonl", "--json", "--out", str(tmp_path / "drift.html"))
    assert json.loads(result.stdout) == {"verdict": "quiet"}
    assert (tmp_path / "drift.html").read_text() == "page"


def test_the_page_never_replaces_a_log(run: Any, tmp_path: Path) -> None:
    log = tmp_path / "a.html"
    log.write_text("lines")
    result, _ = run("quiet", str(log), "--out", str(log))
    assert isinstance(result.exception, BadInput)
    result, _ = run("quiet", str(log), "--out", str(tmp_path / "a.pdf"))
    assert isinstance(result.exception, BadInput)


def test_named_bundles_come_first_and_broken_ones_that_nobody_named_are_passed_over(
    run: Any, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = tiny.write_bundle(tmp_path / "models" / "bundle", gain=5.0)
    named = tiny.write_bundle(tmp_path / "named", gain=6.0)
    found = [bundle.sha256 for bundle in command.known_bundles([str(named.path)])]
    assert found[0] == named.sha256
    assert own.sha256 in found
    (own.path / "card.md").write_text("changed")
    assert own.sha256 not in [bundle.sha256 for bundle in command.known_bundles([])]
    with pytest.raises(BundleCorrupt):
        command.known_bundles([str(own.path)])
