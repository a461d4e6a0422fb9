from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.inference.verdict import ImageVerdict, VideoVerdict
from deepfake_detector.media.image import encode_png
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.serving.openapi import About


def post(served: Any, path: str, data: bytes) -> tuple[int, dict[str, Any]]:
    answer = served.request("POST", path, files={"video" if "video" in path else "image": ("a.png", data)})
    return answer.status_code, answer.json()


def error(answer: Any) -> tuple[int, str]:
    found = answer.json()
    assert set(found) == {"error"}
    assert set(found["error"]) == {"code", "message", "hint"}
    assert found["error"]["message"]
    assert "/dev/fd" not in answer.text
    return answer.status_code, found["error"]["code"]


def with_location(rgb: NDArray[np.uint8]) -> bytes:
    """A JPEG that says it was taken at 52.5 degrees north and 13.25 degrees west."""
    exif, buffer = Image.Exif(), io.BytesIO()
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0), 3: "W", 4: (13.0, 15.0, 0.0)})
    Image.fromarray(rgb).save(buffer, "JPEG", quality=95, exif=exif)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def red(red_portrait: NDArray[np.uint8]) -> bytes:
    return encode_png(red_portrait)


def test_an_image_answer_has_the_documented_type(served: Any, red: bytes) -> None:
    status, answer = post(served, "/predict_image", red)
    assert status == 200
    verdict = ImageVerdict.model_validate_json(json.dumps(answer))
    assert (verdict.schema_version, verdict.verdict, verdict.evidence) == (4, "fake", "very strong")
    assert verdict.p_fake == verdict.faces[0].p_fake
    assert verdict.posterior is None
    assert verdict.faces[0].explanation is None


def test_a_video_answer_has_a_timeline_and_tracks(served: Any, clip: Path) -> None:
    status, answer = post(served, "/predict_video", clip.read_bytes())
    assert status == 200
    verdict = VideoVerdict.model_validate_json(json.dumps(answer))
    assert (verdict.verdict, len(verdict.timeline), len(verdict.tracks)) == ("fake", 16, 2)


def test_the_same_bytes_give_the_same_answer(served: Any, red: bytes) -> None:
    request = ("POST", "/predict_image", {"files": {"image": ("a", red)}})
    assert len({answer.content for answer in served.request_many([request] * 6)}) == 1


def test_an_image_without_a_face_is_an_answer_not_an_error(served: Any) -> None:
    status, answer = post(served, "/predict_image", encode_png(np.full((99, 99, 3), 99, np.uint8)))
    assert (status, answer["verdict"], answer["p_fake"], answer["evidence"]) == (200, "inconclusive", None, None)


def test_explain_and_prior_add_fields_and_change_no_other(served: Any, red: bytes) -> None:
    _, plain = post(served, "/predict_image", red)
    _, extended = post(served, "/predict_image?explain=true&prior=0.001", red)
    assert extended["faces"][0]["explanation"]["heatmap_png"]
    assert extended["posterior"]["p_fake"] < extended["p_fake"]
    extended["faces"][0]["explanation"] = extended["posterior"] = None
    assert extended == plain


def test_the_location_is_in_the_answer_only_on_request(served: Any, red_portrait: NDArray[np.uint8]) -> None:
    data = with_location(red_portrait)
    _, plain = post(served, "/predict_image", data)
    assert (plain["metadata"]["has_location"], plain["metadata"]["location_deg"]) == (True, None)
    assert "52.5" not in json.dumps(plain["metadata"])
    _, asked = post(served, "/predict_image?location=true", data)
    assert asked["metadata"]["location_deg"] == [52.5, -13.25]


def test_parameters_may_be_form_fields_before_or_after_the_file(served: Any, red: bytes) -> None:
    expected = served.request("POST", "/predict_image?explain=true&prior=0.001", files={"image": ("a", red)})
    file = ("image", ("a", red))
    for fields in (
        [("explain", (None, "true")), file, ("prior", (None, "0.001"))],
        [file, ("prior", (None, " 1e-3")), ("explain", (None, "yes"))],
    ):
        assert served.request("POST", "/predict_image", files=fields).content == expected.content
    plain = served.request("POST", "/predict_image", files={"image": ("a", red)})
    nulls = [("prior", (None, "null")), file, ("explain", (None, "false"))]  # as BentoML's client sends None
    assert served.request("POST", "/predict_image", files=nulls).content == plain.content


def test_the_query_and_the_form_may_agree_and_not_contradict_each_other(served: Any, red: bytes) -> None:
    files = [("image", ("a", red)), ("prior", (None, "0.5"))]
    assert served.request("POST", "/predict_image?prior=0.5", files=files).json()["posterior"]["prior"] == 0.5
    assert error(served.request("POST", "/predict_image?prior=0.4", files=files)) == (422, "bad_question")


@pytest.mark.parametrize(
    "field",
    [("explain", "maybe"), ("prior", "0"), ("prior", "NaN"), ("prior", "x"), ("prior", "[1]"), ("explian", "true")],
)
def test_an_invalid_form_field_is_rejected_and_its_file_closed(served: Any, red: bytes, field: tuple[str, str]) -> None:
    open_files = sum(1 for _ in Path("/proc/self/fd").iterdir())
    answer = served.request("POST", "/predict_image", files=[("image", ("a", red)), (field[0], (None, field[1]))])
    assert error(answer) == (422, "bad_upload" if field[0] == "explian" else "bad_question")
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) <= open_files + 1


@pytest.mark.parametrize("query", ["explain=maybe", "prior=0", "prior=1", "prior=nan", "prior=x", "explian=true"])
def test_an_invalid_query_parameter_is_rejected(served: Any, red: bytes, query: str) -> None:
    answer = served.request("POST", f"/predict_image?{query}", files={"image": ("a", red)})
    assert error(answer) == (422, "bad_question")


def test_a_batch_is_answered_in_order_with_errors_per_image(served: Any, red: bytes) -> None:
    blank = encode_png(np.zeros((80, 80, 3), np.uint8))
    files = [("images", (f"{i}.png", data)) for i, data in enumerate([red, b"junk", blank, red])]
    answer = served.request("POST", "/predict_images", files=files)
    found = answer.json()["answers"]
    assert (answer.status_code, len(found)) == (200, 4)
    assert [a.get("verdict") for a in found] == ["fake", None, "inconclusive", "fake"]
    assert found[1]["error"]["code"] == "unreadable_image"
    assert found[0] == post(served, "/predict_image", red)[1]


def test_a_batch_has_at_most_16_images(served: Any) -> None:
    answer = served.request("POST", "/predict_images", files=[("images", ("a", b"x"))] * 17)
    assert error(answer) == (422, "bad_upload")


@pytest.mark.parametrize(
    ("path", "data", "status", "code"),
    [
        ("/predict_image", b"\x00\x01junk" * 100, 415, "unreadable_image"),
        ("/predict_image", b"", 415, "unreadable_image"),
        ("/predict_image", b"\xff\xd8\xff\xe0 cut short", 415, "unreadable_image"),
        ("/predict_image", b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "points_elsewhere"),
        ("/predict_video", b"hello, this is text", 415, "unreadable_video"),
        ("/predict_video", b"", 415, "unreadable_video"),
        ("/predict_video", b"#EXTM3U\n/etc/passwd", 415, "points_elsewhere"),
    ],
)
def test_invalid_files_get_a_4xx_without_their_name(
    served: Any, path: str, data: bytes, status: int, code: str
) -> None:
    field = "video" if "video" in path else "image"
    answer = served.request("POST", path, files={field: ("../../etc/passwd", data)})
    assert error(answer) == (status, code)
    assert "passwd" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "kwargs", "status", "code"),
    [
        ("GET", "/nothing", {}, 404, "not_found"),
        ("GET", "/ui/nothing", {}, 404, "not_found"),
        ("GET", "/predict_image", {}, 405, "method_not_allowed"),
        ("POST", "/about", {}, 405, "method_not_allowed"),
        ("POST", "/predict_image", {}, 415, "unsupported_media_type"),
        ("POST", "/predict_image", {"json": {"image": "http://127.0.0.1/"}}, 415, "unsupported_media_type"),
        ("POST", "/predict_image", {"files": {"image": (None, b"http://127.0.0.1/")}}, 422, "bad_upload"),
        ("POST", "/predict_video", {"files": {"image": ("a.mp4", b"x")}}, 422, "bad_upload"),
    ],
)
def test_every_error_has_the_same_shape(
    served: Any, method: str, path: str, kwargs: dict[str, Any], status: int, code: str
) -> None:
    assert error(served.request(method, path, **kwargs)) == (status, code)


def test_about_describes_the_served_model(served: Any, tiny_bundle: Bundle) -> None:
    found = About.model_validate_json(served.request("GET", "/about").content)
    assert (found.sha256, found.name, found.trained_on) == (tiny_bundle.sha256, "pretrained", "photographs")
    assert found.reason == "the model that ships with the code"


def test_the_page_refers_to_no_other_address(served: Any) -> None:
    assert served.request("GET", "/").headers["location"] == "./ui/"
    page = served.request("GET", "/ui/")
    assert page.headers["content-type"].startswith("text/html")
    assert "http" not in page.text


def test_an_internal_error_is_a_500_without_details(served: Any, red: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise ZeroDivisionError("/secret/path")

    monkeypatch.setattr(served.dispatcher.pool, "submit", failing)
    answer = served.request("POST", "/predict_image", files={"image": ("a", red)})
    assert error(answer) == (500, "tool_failed")
    assert "secret" not in answer.text
