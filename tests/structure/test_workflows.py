"""GitHub's workflows cannot run here: what they name exists, scripts parse, and they may do no more than they must."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def scripts(path: Path) -> str:
    return "\n".join(step.get("run", "") for step in steps(path))


def test_there_are_five() -> None:
    names = [path.name for path in WORKFLOWS]
    assert names == ["checks.yml", "image.yml", "nightly.yml", "release.yml", "retrain.yml"]


def test_the_run_of_the_tests_outlasts_the_longest_test() -> None:
    """A test that asks for more time than `faulthandler_timeout` would end the whole run instead of failing."""
    files = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")]
    longest_s = max(int(limit) for text in files for limit in re.findall(r"mark\.timeout\((\d+)\)", text))
    (end_s,) = re.findall(r"^faulthandler_timeout = (\d+)$", PYPROJECT, re.MULTILINE)
    assert longest_s < int(end_s)


def test_the_wheel_is_tried_on_every_supported_python() -> None:
    workflow = read(ROOT / ".github" / "workflows" / "release.yml")
    tried = set(workflow["jobs"]["try"]["strategy"]["matrix"]["python"])
    classifiers = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PYPROJECT)
    assert tried == set(classifiers)
    oldest, beyond = re.findall(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', PYPROJECT)[0]
    assert tried == {f"3.{minor}" for minor in range(int(oldest), int(beyond))}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_they_call_exists(path: Path) -> None:
    for verb in re.findall(r"^\s*make (\S+)", scripts(path), re.MULTILINE):
        target = "$(ENV)" if verb == ".venv/.installed" else verb
        assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.MULTILINE), f"no target {verb}"
    for module in re.findall(r"python -m (pipelines\.\w+)", scripts(path)):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
    for step in steps(path):
        cached = step.get("with", {}).get("cache-dependency-path")
        assert cached is None or (ROOT / cached).is_file()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_scripts_parse_and_take_no_text_from_outside(path: Path) -> None:
    """An expression inside a script is pasted in before the shell sees it: whoever names a setting could run code."""
    for step in steps(path):
        if "run" in step:
            assert "${{" not in step["run"], step
            subprocess.run(["bash", "-n", "-c", step["run"]], check=True)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_they_may_do_no_more_than_they_must(path: Path) -> None:
    content = read(path)
    assert content["permissions"]["contents"] == "read"
    assert set(content["permissions"]) <= {"contents", "issues"}
    for job in content["jobs"].values():
        assert job["timeout-minutes"] <= 360
    for step in steps(path):
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "a/b@v1")), step


def test_one_retraining_at_a_time_on_a_schedule_or_by_hand() -> None:
    content = read(ROOT / ".github" / "workflows" / "retrain.yml")
    triggers = {str(key): value for key, value in content.items()}["True"]  # YAML 1.1 reads `on` as true
    assert set(triggers) == {"schedule", "workflow_dispatch"}
    assert content["concurrency"]["group"] == "retrain"


def test_the_report_of_a_retraining_without_a_champion(tmp_path: Path) -> None:
    """Without a shared registry the first candidate may be refused; the job goes on and says so."""
    (tmp_path / "reports").mkdir()
    decision = {"reasons": ["refused: accuracy 0.5"]}
    content = {"candidate": {"version": "1"}, "champion": None, "decision": decision}
    (tmp_path / "reports" / "register.json").write_text(json.dumps(content), encoding="utf-8")
    script = scripts(ROOT / ".github" / "workflows" / "retrain.yml")
    code = script.split("<<'PYTHON'\n")[1].split("PYTHON\n")[0]
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "Version 1 was made; there is no champion yet."
    assert "- refused: accuracy 0.5" in done.stdout


def test_a_retraining_needs_a_reason_other_than_drift(tmp_path: Path) -> None:
    """Nothing is trained unless the step before says so; drift alone opens an issue."""
    by_name = {step.get("name"): step for step in steps(ROOT / ".github" / "workflows" / "retrain.yml")}
    names = list(by_name)
    order = ("Look for drift", "Look for a reason to train", "Train, and let the gate decide", "Report", "Open it")
    assert sorted(order, key=names.index) == list(order)
    assert by_name["Train, and let the gate decide"]["if"] == "steps.decide.outputs.train == 'true'"
    assert "occasion.md" in by_name["Report"]["run"]
    assert "evaluate.drift_report=$DRIFT_REPORT" in by_name["Train, and let the gate decide"]["run"]

    code = by_name["Look for a reason to train"]["run"].split("<<'OUTPUT'\n")[1].split("OUTPUT\n")[0]
    (tmp_path / "reports").mkdir()
    drift = {"name": "drift-2026-11-29-1a2b3c4d", "drifted": True}
    content = {"train": False, "reasons": [], "champion": "1", "drift": drift}
    (tmp_path / "reports" / "retraining.json").write_text(json.dumps(content), encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "train=false\ndrift=drift-2026-11-29-1a2b3c4d\ndrifted=true\n"
