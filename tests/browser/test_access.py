from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest


def accessibility_violations(page: Any) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]

    violations = Axe().run(page).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html'][:120]}" for each in violations]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_axe_finds_nothing_in_any_state(visit: Any, files: dict[str, Path], width: int, scheme: str) -> None:
    page = visit(width=width, color_scheme=scheme)
    page.get_by_text("trained on photographs").wait_for()
    assert accessibility_violations(page) == []
    page.set_input_files("#file", [str(files[name]) for name in ("clip.webm", "two.png", "junk.jpg")])
    page.locator(".file.error").wait_for()
    for details in page.locator("summary").all():
        details.click()
    for index in range(3):
        page.locator(".file-main").nth(index).click()
        page.locator(".media-view, .failure").wait_for()
        assert accessibility_violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls horizontally"
        assert len(page.screenshot(full_page=True)) > 10_000


def test_everything_is_reached_by_keyboard(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    choosers: list[Any] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))  # early: Chromium opens it with a delay
    page.get_by_text("trained on photographs").wait_for()
    names = []
    for _ in range(6):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.textContent.trim()"))
    assert names[0] == "Skip to the content"
    assert names[3] == "How it works"
    assert names[5] == "Choose files"
    page.keyboard.press("Enter")
    end_s = time.monotonic() + 30
    while not choosers and time.monotonic() < end_s:
        page.wait_for_timeout(50)
    choosers[0].set_files(str(files["clip.webm"]))
    page.wait_for_selector(".verdict")
    assert page.evaluate("document.activeElement.id") == "verdict"
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent.trim()"))
    expected = ["Moment of the video", "Show as a table", "Download the report (JSON)", "Print, or save as PDF"]
    assert [name for name in dict.fromkeys(reached) if name in expected] == expected


def test_answers_are_announced(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    page.set_input_files("#file", str(files["blue.png"]))
    page.wait_for_selector(".verdict")
    assert page.inner_text("#announcer") == "blue.png: No trace of manipulation found"
    assert page.get_attribute("#announcer", "aria-live") == "polite"


def test_a_model_trained_on_drawings_comes_with_a_warning(visit: Any, address: str) -> None:
    page = visit()
    assert not page.locator(".warning").count()

    def about_drawings(route: Any) -> None:
        route.fulfill(body=json.dumps(route.fetch().json() | {"trained_on": "drawn sample"}))

    page.route("**/about", about_drawings)
    page.reload()
    page.get_by_text("This model knows drawings, not photographs").wait_for()
    page.locator("#model summary").click()
    assert "drawings" in page.inner_text("#model-facts")
