"""Videos that are too long for an answer at once: the page sends them as jobs. Redis is played by the test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

JOB = {
    "id": "j" * 22,
    "progress": 0.0,
    "ahead": None,
    "created_at": "",
    "expires_at": "",
    "result": None,
    "error": None,
}
LIMITS = {"max_bytes": 2**29, "max_duration_s": 14400.0, "queue": 32, "per_client": 16, "kept_hours": 24.0}
Requests = list[tuple[str, str]]


@pytest.fixture(scope="module")
def verdict(address: str, files: dict[str, Path]) -> Any:
    """What the service answers about the clip."""
    with files["clip.webm"].open("rb") as video:
        return httpx.post(f"{address}/predict_video?explain=true", files={"video": video}, timeout=60).json()


def with_jobs(page: Any, state: dict[str, Any], at_once_s: float = 1.0) -> Requests:
    """Have the service of a page do jobs, each with what `state` says then; return the list of what the page sends."""
    requests: Requests = []

    def about(route: Any) -> None:
        described = route.fetch().json()
        limits = LIMITS | {"at_once_bytes": 2**20 * 200, "at_once_s": at_once_s}
        route.fulfill(json=described | {"jobs": limits})

    def jobs(route: Any) -> None:
        requests.append((route.request.method, route.request.url.rsplit("/", 1)[-1]))
        if route.request.method == "DELETE":
            route.fulfill(status=204)
        else:
            route.fulfill(status=202 if route.request.method == "POST" else 200, json=JOB | state)

    page.route("**/about", about)
    page.route("**/jobs**", jobs)
    page.reload()
    page.locator("#strengths:not([hidden])").wait_for(state="attached")
    return requests


def test_a_long_video_becomes_a_job_and_its_progress_is_shown(visit: Any, files: dict[str, Path], verdict: Any) -> None:
    page = visit()
    state: dict[str, Any] = {"status": "queued", "ahead": 2}
    requests = with_jobs(page, state)
    page.set_input_files("#file", str(files["clip.webm"]))
    page.get_by_role("heading", name="Waiting: 2 long videos come first").wait_for()
    state |= {"status": "running", "progress": 0.4}
    page.get_by_role("heading", name=re.compile(r"^Analysing the whole video: 40\W?%$")).wait_for()
    assert page.locator("#answer progress").get_attribute("value") == "0.4"
    state |= {"status": "finished", "progress": 1.0, "result": verdict}
    page.wait_for_selector(".timeline")
    assert page.inner_text("#answer h2") == "1 of 2 faces looks manipulated"
    methods = [method for method, _ in requests]
    assert (methods[0], methods[-1], set(methods[1:-1])) == ("POST", "DELETE", {"GET"})
    assert requests[0][1] == "jobs?explain=true"
    assert {name for _, name in requests[1:]} == {JOB["id"]}


def test_a_short_video_is_answered_at_once(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    requests = with_jobs(page, {"status": "queued"}, at_once_s=600.0)
    page.set_input_files("#file", str(files["clip.webm"]))
    page.wait_for_selector(".timeline")
    assert requests == []


def test_a_cancelled_job_is_deleted(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    requests = with_jobs(page, {"status": "running", "progress": 0.1})
    page.set_input_files("#file", str(files["clip.webm"]))
    page.get_by_role("heading", name=re.compile(r"^Analysing the whole video: 10\W?%$")).wait_for()
    with page.expect_request(lambda request: request.method == "DELETE"):
        page.get_by_role("button", name="Cancel").click()
    page.get_by_text("clip.webm was not analysed").wait_for()
    assert requests[-1] == ("DELETE", JOB["id"])


def test_a_failed_job_is_an_error_with_its_message(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    error = {"code": "job_lost", "message": "3 workers that had the job ended", "hint": "encode the video again"}
    state: dict[str, Any] = {"status": "queued", "ahead": 0}
    with_jobs(page, state)
    page.set_input_files("#file", str(files["clip.webm"]))
    page.get_by_role("heading", name="Waiting for a process that analyses long videos").wait_for()
    state |= {"status": "failed", "error": error}
    page.get_by_text("3 workers that had the job ended").wait_for()
    shown = page.inner_text("#answer")
    assert "Encode the video again" in shown
    assert "rejected" not in shown  # it is not the file's fault
