"""The stage `download`, run as DVC runs it: exit code, archive, report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from deepfake_detector.workspace import Workspace
from pipelines.download import main
from pipelines.stage import run_stage

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Workspace, "enter", lambda self: self)  # leaves the environment of other tests alone
    return Workspace()


def settle(workspace: Workspace, **download: object) -> None:
    params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    params["download"]["sample"].update(train=4, valid=4, test=4)
    params["download"].update(download)
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")


def test_the_report_is_stable_and_names_no_folder(workspace: Workspace) -> None:
    settle(workspace)
    reports = []
    for _ in range(2):
        assert run_stage(main) == 0
        reports.append(workspace.report("download").read_text(encoding="utf-8"))
    assert reports[0] == reports[1]
    assert str(workspace.root) not in reports[0]
    report = json.loads(reports[0])
    assert report["source"] == "sample"
    assert report["counts"]["test"] == {"fake": 2, "real": 2}
    assert report["bytes"] == workspace.archive.stat().st_size


def test_a_missing_archive_ends_with_exit_1(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    settle(workspace, source="archive", archive="nowhere.zip")
    assert run_stage(main) == 1
    assert "nowhere.zip" in capsys.readouterr().err
    assert not workspace.archive.exists()
    assert not workspace.report("download").exists()
