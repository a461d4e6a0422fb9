from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.inference.decision import posterior

HEADLINE = "#answer h2"
LEFT_TOP_WIDTH = "(e) => { const m = e.getCTM(); return [m.e, m.f, e.ownerSVGElement.clientWidth]; }"  # px


def upload(page: Any, *paths: Path) -> None:
    page.set_input_files("#file", [str(path) for path in paths])
    page.wait_for_selector(".verdict")


def boxes(page: Any) -> dict[str, tuple[float, float]]:
    """Number of a face -> centre of its box, in shares of the picture."""
    page.wait_for_selector(".box")
    centres: dict[str, tuple[float, float]] = page.evaluate(
        """() => { const image = document.querySelector('.media-view img').getBoundingClientRect();
        return Object.fromEntries([...document.querySelectorAll('.box')].map((box) => {
          const r = box.getBoundingClientRect();
          return [box.dataset.face, [(r.x + r.width / 2 - image.x) / image.width, (r.y + r.height / 2 - image.y) / image.height]];
        })); }"""  # noqa: E501
    )
    return centres


def test_a_fake_is_shown_with_evidence_reasons_and_kind(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    upload(page, files["red.png"])
    assert page.inner_text(HEADLINE) == "This face looks swapped"
    assert page.inner_text(".strength-word") == "Very strong"
    assert page.locator(".strength-steps .on").count() == 4
    assert "0.7" in page.inner_text(".reasons")
    assert page.inner_text(".kinds h4") == "Kind of fake: face swap"
    assert "proof" in page.inner_text(".verdict-advice")
    assert page.evaluate("document.activeElement.id") == "verdict"


def test_no_trace_is_never_called_real(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    upload(page, files["blue.png"])
    assert page.inner_text(HEADLINE) == "No trace of manipulation found"
    text = page.inner_text(".verdict") + page.inner_text(".faces")
    assert not any(word in text.lower() for word in ("is real", "authentic", "original", "genuine face"))


def test_a_picture_without_a_face_gets_no_score(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    upload(page, files["wall.png"])
    assert page.inner_text(HEADLINE) == "No face found"
    assert page.locator(".scale, .prior, .box").count() == 0


def test_a_picture_that_the_browser_cannot_show_has_a_complete_answer(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    upload(page, files["red.tif"])
    page.get_by_text("Your browser cannot show this format").wait_for()
    assert page.inner_text(HEADLINE) == "This face looks swapped"
    assert page.locator(".crop-pair").count() == 1  # the crop and its heatmap


@pytest.mark.parametrize("name", ["two.png", "rotated.jpg"])
def test_boxes_and_heatmaps_are_on_the_faces_also_of_rotated_pictures(
    visit: Any, files: dict[str, Path], name: str
) -> None:
    page = visit()
    with page.expect_response("**/predict_image**") as response:
        upload(page, files[name])
    faces = response.value.json()["faces"]
    centres = boxes(page)
    for number, face in enumerate(faces, 1):
        x, y, width, height = face["box_px"]
        assert centres[str(number)] == pytest.approx([(x + width / 2) / 512, (y + height / 2) / 256], abs=0.01)
        *corner, width_px = page.locator(".heatmap image").nth(number - 1).evaluate(LEFT_TOP_WIDTH)
        (left, top), scale = face["explanation"]["corners_px"][0], width_px / 512
        assert corner == pytest.approx([left * scale, top * scale], abs=2)
    assert page.inner_text(HEADLINE) == "1 of 2 faces looks manipulated"


def test_the_heatmap_is_switched_on_and_off(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    upload(page, files["red.png"])
    heatmap, switch = page.locator(".heatmap"), page.get_by_role("switch")
    opacities = [heatmap.evaluate("(e) => getComputedStyle(e).opacity")]
    for _ in range(2):
        switch.press("Space")
        opacities.append(heatmap.evaluate("(e) => getComputedStyle(e).opacity"))
    assert opacities == ["0", "0.85", "0"]
    assert page.locator(".crop-pair img").evaluate_all("(all) => all.every((e) => e.naturalWidth === 64)")


def test_the_prior_slider_computes_the_posterior_of_the_service(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    with page.expect_response("**/predict_image**") as response:
        upload(page, files["red.png"])
    p_fake = response.value.json()["p_fake"]
    posteriors = page.evaluate(
        """async (p) => { const { posterior } = await import('./prior.js');
        return [0.0001, 0.01, 0.5, 0.75].map((prior) => posterior(p, prior)); }""",
        p_fake,
    )
    assert posteriors == pytest.approx([posterior(p_fake, prior) for prior in (0.0001, 0.01, 0.5, 0.75)])
    slider = page.get_by_role("slider")
    slider.press("Home")
    assert slider.get_attribute("aria-valuetext") == "1 in 10,000 files is a fake"
    assert page.inner_text(".prior-answer b") == "under 1\u202f%"


def test_the_report_has_the_answer_and_the_digest_of_the_file(
    visit: Any, files: dict[str, Path], tmp_path: Path
) -> None:
    page = visit()
    upload(page, files["red.png"])
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the report").click()
    assert download.value.suggested_filename == "red.png.deepfake-report.json"
    download.value.save_as(tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["file"]["sha256"] == hashlib.sha256(files["red.png"].read_bytes()).hexdigest()
    assert report["answer"]["verdict"] == "fake"
    assert report["about"]["trained_on"] == "photographs"
    assert report["posterior"]["p_fake"] == pytest.approx(report["answer"]["p_fake"])


def test_the_printed_page_has_facts_instead_of_buttons(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    upload(page, files["red.png"])
    page.evaluate(
        "window.print = () => { document.body.dataset.printed = document.querySelectorAll('details[open]').length; }"
    )
    page.get_by_role("button", name="Print").click()
    page.wait_for_selector("[data-printed]")
    assert page.get_attribute("body", "data-printed") == "1"
    page.emulate_media(media="print")
    assert page.inner_text("#sha256") == hashlib.sha256(files["red.png"].read_bytes()).hexdigest()
    assert not page.locator(".button:visible").count()
