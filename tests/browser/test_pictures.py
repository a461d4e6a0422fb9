from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

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
    assert page.inner_text(HEADLINE) == "No clearly visible face found"
    assert "masked" in page.inner_text(".verdict-advice")
    assert page.locator(".scale, .prior, .box").count() == 0
    assert "original file" in page.inner_text(".next")


def test_a_picture_that_the_browser_cannot_show_has_a_complete_answer(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    upload(page, files["red.tif"])
    page.get_by_text("Your browser cannot show this format").wait_for()
    assert page.inner_text(HEADLINE) == "This face looks swapped"
    assert page.locator(".crops img").count() >= 3  # the crop, and the crop below its heatmap


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
        *corner, width_px = page.locator(".heatmap:not(.relative) image").nth(number - 1).evaluate(LEFT_TOP_WIDTH)
        (left, top), scale = face["explanation"]["corners_px"][0], width_px / 512
        assert corner == pytest.approx([left * scale, top * scale], abs=2)
    assert page.inner_text(HEADLINE) == "1 of 2 faces looks manipulated"


def test_the_heatmap_is_switched_on_and_off(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    upload(page, files["red.png"])
    heatmap, switch = (
        page.locator("svg.heatmap.heatmap:not(.relative)"),
        page.get_by_role("switch", name="Show the heatmap"),
    )
    opacities = [heatmap.evaluate("(e) => getComputedStyle(e).opacity")]
    for _ in range(2):
        switch.press("Space")
        opacities.append(heatmap.evaluate("(e) => getComputedStyle(e).opacity"))
    assert opacities == ["0", "0.85", "0"]
    assert page.locator(".crops img").evaluate_all("(all) => all.every((e) => e.naturalWidth === 64)")


def test_the_relative_heatmap_is_offered_where_the_evidence_differs(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    with page.expect_response("**/predict_image**") as response:
        upload(page, files["two.png"])
    explained = [face["explanation"] for face in response.value.json()["faces"]]
    expected = sum(each["relative_png"] is not None for each in explained)
    assert expected > 0
    assert page.locator(".crops.three").count() == expected
    relative = page.get_by_role("switch", name="strongest")
    assert relative.count() == 0  # hidden until the heatmap is shown
    page.get_by_role("switch", name="Show the heatmap").check()
    relative.check()
    opacity = "(e) => getComputedStyle(e).opacity"
    assert page.locator(".heatmap.relative").evaluate(opacity) == "0.85"
    assert page.locator(".heatmap:not(.relative)").evaluate(opacity) == "0"


def changed_answer(page: Any, address: str, path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Have the page get the service's answer for a file with a change, for what the tiny model never answers."""
    files = {"image": (path.name, path.read_bytes())}
    answer = httpx.post(f"{address}/predict_image?explain=true", files=files, timeout=60).raise_for_status().json()
    change(answer)
    page.route("**/predict_image**", lambda route: route.fulfill(json=answer))


def test_a_heatmap_without_differences_says_so(visit: Any, address: str, files: dict[str, Path]) -> None:
    page = visit()

    def without_differences(answer: dict[str, Any]) -> None:
        answer["faces"][0]["explanation"]["relative_png"] = None

    changed_answer(page, address, files["red.png"], without_differences)
    upload(page, files["red.png"])
    assert "no place stands out" in page.inner_text(".legend")
    assert page.get_by_role("switch").count() == 1
    assert page.locator(".crops img").count() == 3


def test_metadata_are_shown_and_the_location_only_on_request(
    visit: Any, files: dict[str, Path], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif.update({0x010F: "Canon", 0x0110: "EOS R5", 0x0131: "Lightroom <b>", 0x013B: "A. Name"})
    exif.get_ifd(0x8769).update({0x9003: "2024:05:01 12:30:15"})
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0), 3: "E", 4: (13.0, 15.0, 0.0)})
    path = tmp_path / "located.jpg"
    Image.open(files["red.png"]).save(path, "JPEG", quality=95, exif=exif)
    page = visit()
    upload(page, path)
    card = page.locator(".metadata")
    text = card.inner_text()
    for words in ("Canon EOS R5", "Lightroom <b>", "A. Name", "1 May 2024, 12:30:15", "in the file, not shown"):
        assert words in text or words.replace("1 May 2024", "May 1, 2024") in text
    assert "52.5" not in page.content()
    card.get_by_role("button", name="Show it").click()
    page.get_by_text("52.50000; 13.25000").wait_for()
    assert page.inner_text(HEADLINE) == "This face looks swapped"


def test_a_file_without_metadata_says_so(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    upload(page, files["red.png"])
    assert "no metadata" in page.inner_text(".metadata")


def test_the_next_steps_link_to_search_pages_and_send_nothing(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    upload(page, files["red.png"])
    links = page.locator(".next a")
    assert links.count() == 3
    for link in links.all():
        assert link.get_attribute("href").startswith("https://")
        assert "?" not in link.get_attribute("href")  # nothing about the file
        assert link.get_attribute("rel") == "noopener noreferrer"


COVERAGE = {
    "image": {
        "all": {"files": 4000, "decided": 0.724, "right": 0.973},
        "sources": {
            "faces synthetic": {"files": 3000, "decided": 0.9, "right": 0.99},
            "street": {"files": 1000, "decided": 0.2, "right": None},
        },
    },
    "video": {"all": {"files": 0, "decided": 0.0, "right": None}, "sources": {}},
}


def visit_with_coverage(visit: Any, coverage: dict[str, Any] = COVERAGE, **about: Any) -> Any:
    page = visit()
    changed = {"coverage": coverage, **about}
    page.route("**/about", lambda route: route.fulfill(json=route.fetch().json() | changed))
    page.reload()
    page.locator(".strengths-figures, .strengths-accuracy").wait_for()
    return page


def test_the_page_says_before_upload_what_the_model_is_good_at(visit: Any) -> None:
    text = re.sub(r"\s*\n\s*", " ", visit_with_coverage(visit).inner_text(".strengths"))
    assert "Pictures decides on 72\u202f% of 4,000 test files right in 97\u202f% of these" in text
    assert "faces generated face decides on 90\u202f% of 3,000 test files" in text
    assert "street decides on 20\u202f% of 1,000 test files" in text
    assert "Videos" not in text  # not measured


def test_the_sources_of_the_shipped_model_alone_are_named_in_words(visit: Any) -> None:
    measured = {"files": 9, "decided": 0.5, "right": 0.8}
    sources = {"twins_web": measured, "own": measured}
    coverage = {"image": {"all": measured, "sources": sources}, "video": COVERAGE["video"]}
    names = visit_with_coverage(visit, coverage, name="pretrained").locator(".strengths dt").all_inner_texts()
    assert names == ["Pictures", "photographs and their copies by an autoencoder (everyday)", "own"]
    names = visit_with_coverage(visit, coverage, name="champion").locator(".strengths dt").all_inner_texts()
    assert names == ["Pictures", "twins_web", "own"]


def test_without_measured_coverage_the_accuracy_is_shown(visit: Any) -> None:
    page = visit_with_coverage(visit, {})
    assert "right in 50\u202f%" in page.inner_text(".strengths")


def test_an_answer_says_how_often_such_files_are_decided(visit: Any, files: dict[str, Path]) -> None:
    page = visit_with_coverage(visit)
    upload(page, files["red.png"])
    assert "decides on 72\u202f%; where it decides, it is right in 97\u202f%" in page.inner_text(".verdict-coverage")
    page = visit()  # without measured coverage nothing is said
    upload(page, files["red.png"])
    assert page.locator(".verdict-coverage").count() == 0


def test_an_undecided_answer_says_how_many_files_are_decided(visit: Any, address: str, files: dict[str, Path]) -> None:
    page = visit_with_coverage(visit)
    undecided = {"verdict": "inconclusive", "p_fake": 0.5, "evidence": "moderate"}
    changed_answer(page, address, files["red.png"], lambda answer: answer.update(undecided))
    upload(page, files["red.png"])
    assert "of test pictures it decides on 72\u202f%" in page.inner_text(".verdict-coverage")


def test_no_trace_has_no_strength_of_evidence(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    with page.expect_response("**/predict_image**") as response:
        upload(page, files["blue.png"])
    answer = response.value.json()
    assert (answer["evidence"], answer["kind_of_fake"]) == ("no trace found", None)
    assert page.locator(".strength, .kinds").count() == 0


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


def test_a_late_description_of_the_model_replaces_nothing_that_is_on_show(
    visit: Any, files: dict[str, Path], tmp_path: Path
) -> None:
    page, held = visit(), list[Any]()
    page.route("**/about", lambda route: held.append(route))
    page.reload()
    upload(page, files["red.png"])
    button = page.get_by_role("button", name="Download the report").element_handle()
    button.focus()
    assert page.locator(".verdict-coverage").count() == 0
    (route,) = held
    route.fulfill(json=route.fetch().json() | {"coverage": COVERAGE})
    page.locator(".verdict-coverage").wait_for()
    assert button.evaluate("(e) => e.isConnected && document.activeElement === e")
    with page.expect_download() as download:
        button.click()
    download.value.save_as(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["about"]["coverage"] == COVERAGE


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
