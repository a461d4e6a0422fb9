"""`deepfake feedback list | accept | reject`: tables and errors for people, JSON for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deepfake_detector.feedback.review import Review
from deepfake_detector.feedback.store import FeedbackStore
from tests.feedback.conftest import Folder

if TYPE_CHECKING:
    from tests.cli.conftest import RunCli


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "feedback")
    folder.add(b"one", "anna", "fake", note="[red]not a photograph[/red]")
    folder.add(b"two", "anna", "fake")
    folder.add(b"two", "ben", "real")
    folder.add(None, "ben", "real")
    return folder


def run(run_cli: RunCli, folder: Folder, *arguments: str) -> tuple[int, str, str]:
    return run_cli("feedback", *arguments, "--folder", str(folder.path), model=None)


def test_the_list_shows_open_cases_with_reporters_answers_and_notes(run_cli: RunCli, folder: Folder) -> None:
    code, table, _ = run(run_cli, folder, "list")
    assert code == 0
    for text in ("fake: anna; real: ben", "real 0.200", "[red]not a photograph[/red]", "not kept", "conflict"):
        assert text in table
    assert "2 pending, 1 conflict, 0 accepted, 0 rejected" in table
    _, printed, _ = run(run_cli, folder, "list", "--json", "--status", "conflict")
    (case,) = json.loads(printed)
    assert (case["status"], case["labels"]) == ("conflict", {"fake": ["anna"], "real": ["ben"]})
    assert Path(case["picture"]).read_bytes() == b"two"


def test_cases_are_accepted_and_rejected_by_the_begin_of_their_name(run_cli: RunCli, folder: Folder) -> None:
    one, two, _ = (case.case for case in Review([folder.path]).cases)
    assert run(run_cli, folder, "accept", one[:8], "--why", "checked")[0] == 0
    code, _, stderr = run(run_cli, folder, "accept", two)
    assert (code, "--label real|fake" in stderr) == (1, True)
    assert run(run_cli, folder, "accept", two, "--label", "real")[:2] == (0, f"accepted {two[:12]} as real\n")
    assert run(run_cli, folder, "reject", "request:request-4")[0] == 0
    assert [case.status for case in Review([folder.path]).cases] == ["accepted", "accepted", "rejected"]
    assert [decision.why for decision in FeedbackStore(folder.path).decisions()] == ["checked", "", ""]
    assert "0 pending, 0 conflict, 2 accepted, 1 rejected" in run(run_cli, folder, "list")[1]


def test_the_list_deletes_pictures_whose_time_is_over(run_cli: RunCli, folder: Folder) -> None:
    old = folder.add(b"old", "anna", "fake", now_s=0.0)
    _, table, _ = run(run_cli, folder, "list")
    assert "expired" in table
    assert old.picture is not None
    assert not folder.store.picture_path(old.picture).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "--folder", "/nowhere"), "no feedback at /nowhere"),
        (("accept", "nothing"), "no single case"),
        (("export", "out.zip", "--name", "Bad Name"), "no name of a source"),
        (("export", "out.zip", "--name", "all"), "no name of a source"),
    ],
)
def test_bad_input_is_one_message(
    run_cli: RunCli, folder: Folder, arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    code, _, stderr = run(run_cli, folder, *arguments)
    assert code == 1
    assert message in stderr
    assert "Traceback" not in stderr


def test_without_a_folder_the_option_is_asked_for(run_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEEPFAKE_SERVE_FEEDBACK", raising=False)
    code, _, stderr = run_cli("feedback", "list", model=None)
    assert (code, "--folder" in stderr) == (1, True)


def test_an_export_replaces_no_zip_of_the_data(
    run_cli: RunCli, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source is a zip or a folder of zips, and the second zip of an export gets its name from the first."""
    raw = folder.path.parent / "data" / "raw"
    (raw / "many").mkdir(parents=True)
    (folder.path.parent / "params.yaml").write_bytes((Path(__file__).parents[2] / "params.yaml").read_bytes())
    for name in ("one.zip", "one-held-out.zip", "many/a.zip", "many/b-held-out.zip"):
        (raw / name).write_bytes(b"zip")
    monkeypatch.chdir(folder.path.parent)
    for to in ("one.zip", "many/a.zip", "many/b.zip"):
        code, _, stderr = run(run_cli, folder, "export", f"data/raw/{to}")
        assert (code, "is the input" in " ".join(stderr.split())) == (1, True), stderr
