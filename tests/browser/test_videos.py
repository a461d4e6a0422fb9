from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

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


def test_the_score_of_the_clip_is_explained_beside_those_of_its_frames(page: Any) -> None:
    note = page.inner_text(".score-note")
    deciding = max((track for track in page.answer["tracks"] if track["long"]), key=lambda track: track["p_fake"])
    scores = [face["p_fake"] for face in page.answer["faces"] if face["track"] == page.answer["tracks"].index(deciding)]
    assert f"all {len(scores)} scored frames" in note
    assert f"from {min(scores):.3f} to {max(scores):.3f}" in note
    assert "no single frame decides" in note
    assert page.locator(".plot .clip-line").count() == 1
    assert f"whole clip {page.answer['p_fake']:.3f}" in page.inner_text(".chart-legend")


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "avif"])
def test_an_animation_is_a_video_whatever_its_format_and_name(
    visit: Any, files: dict[str, Path], tmp_path: Path, suffix: str
) -> None:
    frames = [Image.open(files[name]).convert("RGB") for name in ("red.png", "blue.png", "red.png")]
    path = tmp_path / f"still.{'jpg' if suffix == 'webp' else suffix}"
    buffer = io.BytesIO()
    frames[0].save(buffer, suffix.upper(), save_all=True, append_images=frames[1:], duration=400)
    path.write_bytes(buffer.getvalue())
    page = visit()
    with page.expect_request("**/predict_*") as request:
        page.set_input_files("#file", str(path))
    assert "/predict_video" in request.value.url
    page.locator(".timeline").wait_for()
    page.locator(f".media-view {'video' if suffix == 'avif' else 'img'}").wait_for()  # Chromium plays AVIF sequences
    assert not page.locator(".not-shown").count()


def test_a_still_picture_of_the_same_formats_is_an_image(visit: Any, files: dict[str, Path], tmp_path: Path) -> None:
    page = visit()
    pages = []
    page.on("request", lambda request: pages.append(request.url) if "/predict_" in request.url else None)
    for suffix in ("gif", "png", "webp", "avif"):
        path = tmp_path / f"still.{suffix}"
        Image.open(files["wall.png"]).save(path)
        page.set_input_files("#file", str(path))
        page.get_by_text(f"Answer for still.{suffix}").wait_for()
    assert ["/predict_image" in url for url in pages] == [True] * 4


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
