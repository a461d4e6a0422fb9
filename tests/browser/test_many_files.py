"""Many files at once: tally, order, export."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_access import accessibility_violations


@pytest.fixture
def page(visit: Any, files: dict[str, Path]) -> Any:
    """A page with four answered files, in an order that is not that of suspicion, and one that failed."""
    page = visit()
    names = ("blue.png", "wall.png", "red.png", "junk.jpg", "two.png")
    page.set_input_files("#file", [str(files[name]) for name in names])
    page.locator(".file").nth(4).locator(".icon-fake").wait_for()
    return page


def names(page: Any) -> list[str]:
    found: list[str] = page.locator(".file-name").all_inner_texts()
    return found


def saved(page: Any, button: str, path: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    download.value.save_as(path)
    assert download.value.suggested_filename == path.name
    return path


def test_a_tally_counts_the_answers(page: Any) -> None:
    text = page.inner_text(".tally")
    assert text == "5 files: 2 look fake, 1 without a trace, 1 not scored, 1 without an answer"
    assert accessibility_violations(page) == []


def test_files_are_sorted_by_suspicion(page: Any) -> None:
    added = names(page)
    page.select_option("#files-order", "suspicion")
    assert set(names(page)[:2]) == {"red.png", "two.png"}
    assert names(page)[2:] == ["blue.png", "wall.png", "junk.jpg"]
    page.select_option("#files-order", "added")
    assert names(page) == added


def test_each_row_has_its_reason_and_is_not_cut_off(page: Any) -> None:
    reasons = dict(zip(names(page), page.locator(".file").all_inner_texts(), strict=True))
    assert "Score 0.9" in reasons["red.png"]
    assert "This file cannot be read" in reasons["junk.jpg"]
    cut_off = "(all) => all.filter((e) => e.scrollWidth > e.clientWidth + 1).length"
    assert page.locator(".file-name, .file-state, .file-reason, #file-list").evaluate_all(cut_off) == 0


def test_all_answers_are_saved_as_csv(page: Any, tmp_path: Path) -> None:
    text = saved(page, "All answers (CSV)", tmp_path / "deepfake-answers.csv").read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["file"] for row in rows] == names(page)
    assert [row["verdict"] for row in rows] == ["real", "inconclusive", "fake", "", "fake"]
    assert rows[2]["kind_of_fake"] == "swap"
    assert float(rows[2]["score"]) > 0.9
    assert len(rows[2]["sha256"]) == 64
    assert rows[0]["evidence"] == "no trace found"
    assert "not an image" in rows[3]["error"]


def test_all_answers_are_saved_as_json(page: Any, tmp_path: Path) -> None:
    saved_answers = json.loads(saved(page, "All answers (JSON)", tmp_path / "deepfake-answers.json").read_text())
    answers = saved_answers["answers"]
    assert [each["file"] for each in answers] == names(page)
    assert answers[0]["answer"]["verdict"] == "real"
    assert answers[0]["answer"]["kind_of_fake"] is None
    assert answers[3]["error"]["code"] == "unreadable_image"
    assert saved_answers["about"]["trained_on"] == "photographs"


def test_a_cell_that_a_spreadsheet_would_run_gets_an_apostrophe(visit: Any) -> None:
    page = visit()
    cells = ["=1+1", "+1", "-1", "@x", "\t=1", " =1", "\r\n=1", "\uff1d1", 'a"b', "a-b.png", 0.5, None]
    written = page.evaluate(
        "async (cells) => { const { csvCell } = await import('./export.js'); return cells.map(csvCell); }", cells
    )
    guarded = [f'"\'{cell}"' for cell in cells[:8]]
    assert written == [*guarded, '"a""b"', '"a-b.png"', '"0.5"', '""']


def test_more_than_16_files_queue_and_nine_rows_are_shown(visit: Any, files: dict[str, Path], tmp_path: Path) -> None:
    page = visit()
    copies = [Path(shutil.copy(files["wall.png"], tmp_path / f"=cmd{number}.png")) for number in range(20)]
    page.set_input_files("#file", [str(path) for path in copies])
    page.get_by_text("20 not scored").wait_for()
    assert page.locator(".file").count() == 9
    page.get_by_role("button", name="Show all 20 files").press("Enter")
    assert page.locator(".file").count() == 20
    assert page.evaluate("document.activeElement.textContent") == "Show fewer files"
    text = saved(page, "All answers (CSV)", tmp_path / "deepfake-answers.csv").read_text(encoding="utf-8-sig")
    assert text.count("\"'=cmd") == 20


def test_focus_stays_in_the_list_while_files_are_answered(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    pending: list[Any] = []
    page.route("**/predict_image**", lambda route: pending.append(route))
    page.set_input_files("#file", [str(files[name]) for name in ("red.png", "blue.png")])
    page.locator(".file-main").nth(1).focus()
    while not pending:
        page.wait_for_timeout(50)
    pending[0].continue_()
    page.locator(".file.fake").wait_for()
    focused = "document.activeElement.closest('.file')?.querySelector('.file-name').textContent"
    assert page.evaluate(focused) == "blue.png"
    while len(pending) < 2:
        page.wait_for_timeout(50)
    pending[1].continue_()
    page.locator(".file.real").wait_for()
    assert page.evaluate(focused) == "blue.png"
