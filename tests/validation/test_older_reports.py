"""After a rejection every older report says once that it belongs to other data; an accepted run changes none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepfake_detector.errors import CheckCrashed, DataRejected, DetectorError
from deepfake_detector.io import write_json
from deepfake_detector.paths import Workspace
from deepfake_detector.validation.older_reports import JSON_KEY, NOTICE, mark_older_reports, marking_older_reports

PAGES = ("reports/evaluate/report.html", "reports/evaluate/card.md", "reports/ablate.md")
OWN = ("reports/data_docs/index.html", "reports/data_docs/validations/files.html")
MARKED = ("train", "evaluate")
NOT_MARKED = ("download", "metrics", "benchmarks", "register")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    for name in (*PAGES, *OWN):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("<html><body class='x'><h1>Report</h1></body></html>", encoding="utf-8")
    workspace = Workspace(tmp_path)
    for name in (*MARKED, *NOT_MARKED):
        write_json(workspace.report(name), {"value": 1})
    return workspace


def contents(workspace: Workspace) -> dict[Path, str]:
    return {path: path.read_text(encoding="utf-8") for path in workspace.root.rglob("*") if path.is_file()}


def test_each_report_of_later_stages_is_marked_once(workspace: Workspace) -> None:
    before = contents(workspace)
    mark_older_reports(workspace)
    after = contents(workspace)
    mark_older_reports(workspace)
    assert contents(workspace) == after
    changed = {str(path.relative_to(workspace.root)) for path in before if after[path] != before[path]}
    assert changed == {*PAGES, *(f"reports/{name}.json" for name in MARKED)}
    assert all(after[workspace.root / name].count(NOTICE) == 1 for name in changed)
    assert after[workspace.root / PAGES[0]].startswith("<html><body class='x'><p role=")
    assert after[workspace.root / PAGES[1]].startswith("> **This report belongs to other data")
    for name in MARKED:
        assert json.loads(after[workspace.report(name)]) == {"value": 1, JSON_KEY: NOTICE}


def test_a_page_without_a_body_tag_is_marked_at_its_start(workspace: Workspace) -> None:
    page = workspace.root / PAGES[0]
    page.write_text("<h1>Report</h1>", encoding="utf-8")
    mark_older_reports(workspace)
    assert page.read_text(encoding="utf-8").startswith("<p role=")


def test_a_linked_copy_in_the_cache_keeps_its_content(workspace: Workspace) -> None:
    page, cached = workspace.root / PAGES[0], workspace.root / "cached"
    cached.hardlink_to(page)
    before = cached.read_bytes()
    mark_older_reports(workspace)
    assert cached.read_bytes() == before != page.read_bytes()


@pytest.mark.parametrize(("error", "marks"), [(DataRejected("bad"), True), (CheckCrashed("bug"), False)])
def test_only_a_rejection_marks_reports(workspace: Workspace, error: DetectorError, marks: bool) -> None:
    before = contents(workspace)
    with pytest.raises(type(error)), marking_older_reports(workspace):
        raise error
    assert (contents(workspace) != before) == marks
    with marking_older_reports(workspace):
        marked = contents(workspace)
    assert contents(workspace) == marked


def test_nothing_is_created_where_there_are_no_reports(tmp_path: Path) -> None:
    mark_older_reports(Workspace(tmp_path))
    assert list(tmp_path.iterdir()) == []
