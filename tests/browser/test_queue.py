from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

HEADLINE = "#answer h2"
FAILED = "Failed to load resource: "
BUSY = '{"error": {"code": "too_busy", "message": "the queue is full", "hint": "retry later"}}'


def upload(page: Any, *paths: Path) -> None:
    page.set_input_files("#file", [str(path) for path in paths])


def wait_for(page: Any, requests: list[Any], count: int) -> None:
    """Wait until the page has sent so many requests, while it keeps running."""
    end_s = time.monotonic() + 30
    while len(requests) < count:
        assert time.monotonic() < end_s, f"{len(requests)} requests, expected {count}"
        page.wait_for_timeout(50)


def test_several_files_are_processed_in_order_and_chosen_from_a_list(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    upload(page, files["red.png"], files["junk.jpg"], files["blue.png"])
    page.locator(".file.real").wait_for()
    states = page.locator(".file-state").all_inner_texts()
    assert states == ["This face looks swapped", "No answer", "No trace of manipulation found"]
    assert page.inner_text(HEADLINE) == "This face looks swapped"
    page.locator(".file-main").nth(2).press("Enter")
    assert page.inner_text(HEADLINE) == "No trace of manipulation found"
    page.get_by_role("button", name="Remove blue.png").click()
    page.get_by_role("button", name="Remove junk.jpg").click()
    assert page.inner_text(HEADLINE) == "This face looks swapped"
    assert page.locator("#files").is_hidden()


def test_files_are_dropped_and_pasted(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    for kind, key in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        page.evaluate(
            """([kind, key, bytes]) => {
              const transfer = new DataTransfer();
              transfer.items.add(new File([new Uint8Array(bytes)], `${kind}.png`, { type: 'image/png' }));
              const event = new Event(kind, { bubbles: true, cancelable: true });
              Object.defineProperty(event, key, { value: transfer });
              document.body.dispatchEvent(event);
            }""",
            [kind, key, list(files["wall.png"].read_bytes())],
        )
        page.get_by_text(f"Answer for {kind}.png").wait_for()
    assert page.locator(".file-name").all_inner_texts() == ["drop.png", "paste.png"]


def test_an_error_is_shown_with_its_message_and_hint(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    upload(page, files["junk.jpg"])
    page.locator(".failure").wait_for()
    assert page.inner_text(HEADLINE) == "This file cannot be read"
    text = page.inner_text(".failure")
    assert "It reads JPEG" in page.inner_text(".hint")
    assert "not an image of a format that is read here" in text  # the service's own words
    assert "no picture" not in page.inner_text(".failure [lang=en]")  # the bytes of the file
    assert "curl" not in text
    assert not page.get_by_role("button", name="Try again").count()  # the same file would fail again
    assert page.evaluate("document.activeElement.id") == "verdict"
    with page.expect_file_chooser():
        page.get_by_role("button", name="Choose another file").click()


def test_a_busy_service_is_retried_after_the_time_it_gives(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    requests = []

    def answer(route: Any) -> None:
        requests.append(route)
        if len(requests) == 1:
            route.fulfill(status=429, body=BUSY, headers={"Retry-After": "2", "Content-Type": "application/json"})
        else:
            route.continue_()

    page.route("**/predict_image**", answer)
    upload(page, files["red.png"])
    page.get_by_text("The service is busy. Retrying in 2 s").wait_for()
    page.get_by_text("The service is busy. Retrying in 1 s").wait_for()
    page.locator(".verdict.fake").wait_for()
    assert len(requests) == 2


def test_an_error_page_of_a_proxy_is_shown_too(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    page.route("**/predict_image**", lambda route: route.fulfill(status=413, body="<html>proxy</html>"))
    upload(page, files["red.png"])
    page.locator(".failure").wait_for()
    assert page.inner_text(HEADLINE) == "The file is too large"
    assert "status 413" in page.inner_text(".failure")
    assert not page.get_by_role("button", name="Try again").count()


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (0, "No connection"),
        (408, "The upload took too long"),
        (422, "This file was rejected"),
        (500, "No answer"),
        (504, "The analysis took too long"),
    ],
)
def test_every_failure_has_a_title_a_reason_and_a_retry_button_where_it_helps(
    visit: Any, files: dict[str, Path], expected_messages: list[str], status: int, title: str
) -> None:
    expected_messages.append(
        f"{FAILED}the server responded with a status of {status}" if status else f"{FAILED}net::ERR_CONN"
    )
    page = visit()
    body = {"error": {"code": "c", "message": "the reason of `c`", "hint": "do this next"}}

    def fail(route: Any) -> None:
        if status:
            route.fulfill(status=status, json=body, headers={"X-Request-ID": "r-17"})
        else:
            route.abort("connectionreset")

    page.route("**/predict_image**", fail)
    upload(page, files["red.png"])
    page.locator(".failure").wait_for()
    assert page.inner_text(HEADLINE) == title
    text = page.inner_text(".failure")
    for words in ("The reason of c", "Do this next", "r-17") if status else ("was lost", "you are online"):
        assert words in text
    page.unroute("**/predict_image**")
    if status == 422:  # the file is the cause
        assert not page.get_by_role("button", name="Try again").count()
        return
    page.get_by_role("button", name="Try again").click()
    page.locator(".verdict.fake").wait_for()


def test_a_starting_service_is_retried_a_limited_number_of_times(
    visit: Any, files: dict[str, Path], expected_messages: list[str]
) -> None:
    expected_messages.append(f"{FAILED}the server responded with a status of 503")
    page = visit()
    requests = []

    def answer(route: Any) -> None:
        requests.append(route)
        body = {"error": {"code": "not_ready", "message": "no worker is ready yet", "hint": "retry later"}}
        route.fulfill(status=503, json=body, headers={"Retry-After": "1"})

    page.route("**/predict_image**", answer)
    upload(page, files["red.png"])
    page.get_by_text("The service is starting. Retrying in 1 s").wait_for()
    page.locator(".failure").wait_for(timeout=60_000)
    assert page.inner_text(HEADLINE) == "The service is not ready"
    assert len(requests) > 1


def test_the_access_key_is_requested_and_used(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    keys = []

    def answer(route: Any) -> None:
        keys.append(route.request.headers.get("authorization"))
        route.fulfill(status=401, body="{}") if keys[-1] != "Bearer open sesame" else route.continue_()

    page.route("**/predict_image**", answer)
    upload(page, files["red.png"])
    page.get_by_role("textbox", name="Access key").fill("open sesame")
    page.keyboard.press("Enter")
    page.locator(".verdict.fake").wait_for()
    assert keys == [None, "Bearer open sesame"]


def test_a_file_is_cancelled_and_analysed_again(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    pending: list[Any] = []
    page.route("**/predict_image**", lambda route: pending.append(route))
    upload(page, files["red.png"], files["blue.png"])
    page.get_by_role("button", name="Cancel").wait_for()
    wait_for(page, pending, 1)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("heading", name="Cancelled").wait_for()
    wait_for(page, pending, 2)
    pending[1].continue_()
    page.unroute("**/predict_image**")
    page.locator(".file.real").wait_for()  # the next file in the list is processed
    page.get_by_role("button", name="Analyse again").click()
    page.locator(".verdict.fake").wait_for()
