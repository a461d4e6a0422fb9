"""The stage `download`, run as DVC runs it: exit code, archive, report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from deepfake_detector.paths import Workspace
from pipelines.download import main
from pipelines.stage import run_stage

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Workspace, "enter", lambda self: self)  # leaves the environment of other tests alone
    return Workspace()


def write_settings(workspace: Workspace, **source: object) -> None:
    params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    params["download"]["sample"].update(train=4, valid=4, test=4)
    params["download"]["sources"][0].update(source)
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")


def test_the_report_is_reproducible_and_names_no_folder(workspace: Workspace) -> None:
    write_settings(workspace)
    reports = []
    for _ in range(2):
        assert run_stage(main) == 0
        reports.append(workspace.report("download").read_text(encoding="utf-8"))
    assert reports[0] == reports[1]
    assert str(workspace.root) not in reports[0]
    (source,) = json.loads(reports[0])["sources"]
    assert (source["name"], source["kind"], source["fake_kind"]) == ("faces", "sample", "synthetic")
    assert source["counts"]["test"] == {"fake": 2, "real": 2}
    assert source["bytes"] == (workspace.raw / "faces.zip").stat().st_size


def test_a_missing_archive_ends_with_exit_1(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    write_settings(workspace, kind="archive", location="missing.zip")
    assert run_stage(main) == 1
    assert "missing.zip" in capsys.readouterr().err
    assert not list(workspace.raw.glob("*"))
    assert not workspace.report("download").exists()


def test_a_second_source_adds_a_labelled_folder(workspace: Workspace) -> None:
    folder = workspace.root / "mine"
    folder.mkdir()
    (folder / "labels.csv").write_text("path,label_str\na.jpg,real\nb.jpg,fake\n", encoding="utf-8")
    for name in ("a.jpg", "b.jpg", "unlabelled.jpg"):
        (folder / name).write_text(name)
    write_settings(workspace)
    params = yaml.safe_load(workspace.params.read_text(encoding="utf-8"))
    params["download"]["sources"].append({"name": "mine", "kind": "labelled", "location": "mine", "fake_kind": "swap"})
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
    assert run_stage(main) == 0
    report = json.loads(workspace.report("download").read_text(encoding="utf-8"))
    assert [(s["name"], s["fake_kind"], s["unlabelled"]) for s in report["sources"]] == [
        ("faces", "synthetic", 0),
        ("mine", "swap", 1),
    ]
    assert sorted(file.name for file in workspace.raw.iterdir()) == ["faces.zip", "mine.zip"]
