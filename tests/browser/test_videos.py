from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SEEKED = "(t) => Math.abs(document.querySelector('video').currentTime - t) < 0.15"


@pytest.fixture
def page(visit: Any, files: dict[str, Path]) -> Any:
    """A page with the answer for a clip."""
    page = visit()
    with page.expect_response("**/predict_video**") as response:
        page.set_input_files("#file", str(files["clip.webm"]))
    page.wait_for_selector(".timeline")
    page.wait_for_function("() => document.querySelector('video').readyState >= 2")
    page.answer = response.value.json()
    return page


def test_a_clip_is_shown_with_timeline_tracks_and_best_frames(page: Any) -> None:
    assert page.inner_text("#answer h2") == "1 of 2 faces looks manipulated"
    assert page.locator(".plot .dot").count() == len(page.answer["timeline"])
    rows = page.locator(".track-row .strip")
    assert [row.get_attribute("aria-label").split(",")[0] for row in rows.all()] == [
        "Face 1: no trace found",
        "Face 2: looks fake",
    ]
    assert page.locator(".best-frames li").count() == len(page.answer["best_frames"]) > 0
    assert page.locator(".faces li").count() == 2


def test_a_click_on_the_timeline_seeks(page: Any) -> None:
    plot = page.locator(".plot")
    plot.click(position={"x": 0.61 * plot.bounding_box()["width"], "y": 40})
    length_s = max(page.answer["duration_s"], page.answer["timeline"][-1]["t_s"])
    page.wait_for_function(SEEKED, arg=0.61 * length_s)
    assert page.evaluate("document.querySelector('video').paused")
    assert "score" in page.inner_text(".readout")


def test_arrow_keys_step_through_the_scored_frames(page: Any) -> None:
    times = [frame["t_s"] for frame in page.answer["timeline"]]
    plot = page.get_by_role("slider", name="Moment of the video")
    plot.press("Home")
    page.wait_for_function(SEEKED, arg=times[0])
    plot.press("ArrowRight")
    page.wait_for_function(SEEKED, arg=times[1])
    plot.press("End")
    page.wait_for_function(SEEKED, arg=times[-1])
    assert "looks fake; 2 faces" in plot.get_attribute("aria-valuetext")
    page.wait_for_function("() => document.querySelectorAll('.box').length === 2")  # of the frame on show
    plot.press("ArrowLeft")
    page.wait_for_function(SEEKED, arg=times[-2])


def test_the_table_has_the_scores_and_seeks(page: Any) -> None:
    page.get_by_text("Show as a table").click()
    rows = page.locator(".as-table tbody tr")
    assert rows.count() == len(page.answer["timeline"])
    assert "no trace found" in rows.first.inner_text()
    rows.nth(3).get_by_role("button").press("Enter")
    page.wait_for_function(SEEKED, arg=page.answer["timeline"][3]["t_s"])


def test_best_frames_seek(page: Any) -> None:
    page.locator(".plot").press("Home")
    page.locator(".best-frames button").first.click()
    page.wait_for_function(SEEKED, arg=page.answer["best_frames"][0]["t_s"])


def test_a_clip_that_the_browser_cannot_play_has_a_complete_answer(visit: Any, clip: Path) -> None:
    page = visit()
    page.set_input_files("#file", str(clip))  # MPEG-4 part 2
    page.get_by_text("Your browser cannot play this format").wait_for()
    page.locator(".plot").press("End")
    assert "looks fake" in page.inner_text(".readout")
