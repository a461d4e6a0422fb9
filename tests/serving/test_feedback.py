"""POST /feedback: what is stored and what is refused, with real workers and a real prediction log."""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.errors import SettingsError
from deepfake_detector.feedback.store import FeedbackStore
from deepfake_detector.media.image import encode_png
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.serving.dispatcher import Dispatcher
from deepfake_detector.serving.errors import RateLimited
from deepfake_detector.serving.feedback_intake import RateLimiter
from deepfake_detector.serving.options import ServingOptions, read_options
from tests.serving.conftest import IDENTITY, Served, serve

ANNA, BEN, TOKEN = "anna-anna-anna-anna", "ben-ben-ben-ben-ben", "token-of-all-the-others"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def options(folder: Path, **changed: Any) -> ServingOptions:
    given = {
        "token": TOKEN, "keys": f"anna={ANNA}, ben={BEN}", "prediction_log": folder / "predictions.jsonl",
        "feedback": folder / "feedback", "workers": 1, "spares": 0, "feedback_per_hour": 1000,
    }  # fmt: skip
    return ServingOptions.model_validate(given | changed)


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def service(tiny_bundle: Bundle, module_folder: Path) -> Iterator[Served]:
    """A service that takes feedback."""
    dispatcher = Dispatcher(tiny_bundle, IDENTITY, options(module_folder))
    dispatcher.start()
    try:
        served = serve(dispatcher, module_folder / "predictions.jsonl")
        served.wait_ready()
        yield served
    finally:
        dispatcher.stop()


@pytest.fixture(scope="module")
def red(red_portrait: NDArray[np.uint8]) -> bytes:
    return encode_png(red_portrait)


@pytest.fixture(scope="module")
def blue(blue_portrait: NDArray[np.uint8]) -> bytes:
    return encode_png(blue_portrait)


def predicted(service: Served, *pictures: bytes, request_id: str = "") -> str:
    """Have pictures answered; returns the request id."""
    headers = bearer(TOKEN) | ({"X-Request-ID": request_id} if request_id else {})
    path, field = ("/predict_image", "image") if len(pictures) == 1 else ("/predict_images", "images")
    answer = service.request("POST", path, headers=headers, files=[(field, ("a", each)) for each in pictures])
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-request-id"])


def say(service: Served, key: str = ANNA, **fields: Any) -> Any:
    """Send feedback as JSON."""
    return service.request("POST", "/feedback", headers=bearer(key), json=fields)


def keep(service: Served, picture: bytes, key: str = ANNA, **fields: str) -> Any:
    """Send feedback as a form with a picture."""
    files = {"picture": ("a", picture)}
    return service.request("POST", "/feedback", headers=bearer(key), data={"keep": "true"} | fields, files=files)


def outcome(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def stored(folder: Path) -> FeedbackStore:
    return FeedbackStore(folder / "feedback")


def test_a_label_is_stored_with_what_the_log_says_of_the_answer(
    service: Served, module_folder: Path, red: bytes
) -> None:
    request_id = predicted(service, red)
    answer = say(service, request_id=request_id, label="real", note=" my\u202e\tphotograph\n\x1b[31m")
    assert answer.status_code == 201
    assert answer.json()["reporter"] == "anna"
    assert answer.json()["picture_expires_s"] is None
    report = stored(module_folder).reports()[-1]
    logged = next(
        line
        for line in map(json.loads, service.prediction_log.read_text().splitlines())
        if line["request_id"] == request_id
    )
    assert (report.request_id, report.label, report.reporter) == (request_id, "real", "anna")
    assert report.note == "my photograph [31m"
    assert (report.verdict, report.p_fake, report.model_sha256) == tuple(
        logged[name] for name in ("verdict", "p_fake", "model_sha256")
    )
    assert report.picture is None


def test_a_picture_is_kept_only_when_it_is_returned_for_that(service: Served, module_folder: Path, red: bytes) -> None:
    request_id, before = predicted(service, red), stored(module_folder).used_bytes()
    answers_before = service.prediction_log.read_bytes()
    without = service.request(
        "POST", "/feedback", headers=bearer(ANNA), data={"request_id": request_id, "label": "real"},
        files={"picture": ("a", red)},
    )  # fmt: skip
    assert outcome(without) == (422, "bad_question")
    assert outcome(say(service, request_id=request_id, label="real", keep=True)) == (422, "bad_question")
    assert stored(module_folder).used_bytes() == before
    answer = keep(service, red, BEN, request_id=request_id, label="real")
    assert answer.status_code == 201, answer.text
    assert answer.json()["picture_expires_s"] == pytest.approx(time.time() + 30 * 24 * 3600, abs=60)
    report = stored(module_folder).reports()[-1]
    assert report.picture is not None
    assert stored(module_folder).picture_path(report.picture).read_bytes() == red
    assert service.prediction_log.read_bytes() == answers_before  # the score of the check is no answer


def test_files_are_for_their_owner_alone(service: Served, module_folder: Path, red: bytes) -> None:
    assert keep(service, red, request_id=predicted(service, red), label="fake").status_code == 201
    folder = module_folder / "feedback"
    modes = {path.is_dir(): set[int]() for path in (folder, folder / "feedback.jsonl")}
    for path in (folder, *folder.rglob("*")):
        modes[path.is_dir()].add(stat.S_IMODE(path.stat().st_mode))
    assert modes == {True: {0o700}, False: {0o600}}


def test_the_key_decides_who_the_reporter_is(service: Served, module_folder: Path, red: bytes) -> None:
    request_id = predicted(service, red)
    for key, name in ((ANNA, "anna"), (BEN, "ben"), (TOKEN, "token")):
        assert say(service, key, request_id=request_id, label="fake").json()["reporter"] == name
    for wrong in ({}, bearer(f"{ANNA}x"), bearer(""), {"Authorization": ANNA}, bearer("\u00e9" * 20)):
        headers = {name: value.encode("latin-1") for name, value in wrong.items()}
        answer = service.request("POST", "/feedback", headers=headers, json={"request_id": request_id, "label": "real"})
        assert outcome(answer) == (401, "unauthorized")
    assert [report.reporter for report in stored(module_folder).reports()[-3:]] == ["anna", "ben", "token"]


def test_only_requests_that_were_logged_can_be_reported(service: Served, red: bytes) -> None:
    request_id = predicted(service, red, request_id="mine:1")
    assert outcome(say(service, request_id="never-seen", label="real")) == (404, "unknown_request")
    assert outcome(say(service, request_id="mine", label="real")) == (404, "unknown_request")  # a part of an id is none
    assert say(service, request_id=request_id, label="real").status_code == 201


def test_of_a_batch_the_picture_says_which_answer_is_meant(
    service: Served, module_folder: Path, red: bytes, blue: bytes
) -> None:
    request_id = predicted(service, red, blue)
    assert outcome(say(service, request_id=request_id, label="real")) == (422, "ambiguous_request")
    assert keep(service, blue, request_id=request_id, label="fake").status_code == 201
    report = stored(module_folder).reports()[-1]
    assert report.verdict == "real"
    assert report.p_fake is not None
    assert report.p_fake < 0.5


def test_a_picture_must_be_that_of_the_request_and_readable(service: Served, red: bytes, blue: bytes) -> None:
    request_id = predicted(service, red)
    same_size = blue[: len(red)].ljust(len(red), b"\0")
    for picture in (blue, same_size):
        assert outcome(keep(service, picture, request_id=request_id, label="real"))[1] in (
            "other_picture", "unkept_picture"
        )  # fmt: skip
    assert outcome(keep(service, blue, request_id=request_id, label="real")) == (422, "other_picture")
    for junk in (b"junk" * 100, b"%PDF-1.7", b"\x89PNG\r\n\x1a\n" + b"\0" * 100):
        assert outcome(keep(service, junk, request_id=request_id, label="real")) == (415, "unkept_picture")
    assert outcome(keep(service, b"#EXTM3U", request_id=request_id, label="real")) == (415, "points_elsewhere")


@pytest.mark.parametrize(
    "fields",
    [
        {"label": "real"},
        {"request_id": "a", "label": "unsure"},
        {"request_id": "../../etc/passwd", "label": "real"},
        {"request_id": "a" * 65, "label": "real"},
        {"request_id": "a", "label": "real", "note": "x" * 501},
        {"request_id": "a", "label": "real", "reporter": "ben"},
        {"request_id": ["a"], "label": "real"},
    ],
)
def test_unknown_and_invalid_fields_are_refused(service: Served, fields: dict[str, Any]) -> None:
    assert outcome(say(service, **fields)) == (422, "bad_question")


def test_bodies_are_bounded_and_of_a_known_kind(service: Served) -> None:
    def send(content: bytes, kind: str) -> tuple[int, str]:
        headers = bearer(ANNA) | {"Content-Type": kind}
        return outcome(service.request("POST", "/feedback", headers=headers, content=content))

    assert send(b'{"note": "' + b"x" * 5000 + b'"}', "application/json") == (413, "too_large")
    assert send(b"{", "application/json; charset=utf-8") == (422, "bad_upload")
    assert send(b"[]", "application/json") == (422, "bad_upload")
    assert send(b"[" * 4000, "application/json") == (422, "bad_upload")
    assert send(b"a=b", "application/x-www-form-urlencoded") == (415, "unsupported_media_type")
    form = {"request_id": "a", "label": "real", "note": "x" * 2001}
    answer = service.request("POST", "/feedback", headers=bearer(ANNA), data=form, files={"picture": ("a", b"x")})
    assert outcome(answer) == (422, "bad_upload")
    assert outcome(service.request("POST", "/feedback", headers=bearer(ANNA), files={"request_id": (None, "a")})) == (
        422, "bad_upload",
    )  # fmt: skip


def test_other_sites_and_hosts_are_refused_and_other_methods(service: Served) -> None:
    fields = {"request_id": "a", "label": "real"}
    for headers, expected in (
        ({"Origin": "http://evil.example"}, (403, "cross_site_request")),
        ({"Host": "evil.example"}, (400, "host_not_allowed")),
    ):
        answer = service.request("POST", "/feedback", headers=bearer(ANNA) | headers, json=fields)
        assert outcome(answer) == expected
    assert service.request("GET", "/feedback", headers=bearer(ANNA)).status_code == 405


def test_a_full_disk_is_507_and_leaves_no_half_line_and_no_picture(
    service: Served, module_folder: Path, red: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id, folder = predicted(service, red), module_folder / "feedback"
    assert say(service, request_id=request_id, label="real").status_code == 201
    lines, pictures = (folder / "feedback.jsonl").read_bytes(), sorted((folder / "pictures").iterdir())
    real_write = os.write

    def full_for_lines(descriptor: int, data: Any) -> int:
        if len(data) > 2000:  # a picture, or what is left of it
            return real_write(descriptor, data)
        if len(data) < 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(descriptor, data[: len(data) - 30])

    with monkeypatch.context() as patched:
        patched.setattr("deepfake_detector.feedback.store.os.write", full_for_lines)
        answer = keep(service, red, request_id=request_id, label="real")
        assert outcome(answer) == (507, "storage_full")
        assert int(answer.headers["retry-after"]) > 0
    assert (folder / "feedback.jsonl").read_bytes() == lines
    assert sorted((folder / "pictures").iterdir()) == pictures


def test_the_folder_has_a_limit(tiny_bundle: Bundle, tmp_path: Path) -> None:
    served = serve(Dispatcher(tiny_bundle, IDENTITY, options(tmp_path, feedback_mib=1)), tmp_path)
    (tmp_path / "predictions.jsonl").write_text(logged_line("a"))
    assert say(served, request_id="a", label="real").status_code == 201
    with (tmp_path / "feedback" / "pictures" / f"99999999999-{'a' * 32}.png").open("wb") as file:
        file.truncate(2**20)
    assert outcome(say(served, request_id="a", label="real")) == (507, "storage_full")


def logged_line(request_id: str, **changed: Any) -> str:
    line = {"request_id": request_id, "kind": "image", "verdict": "fake", "p_fake": 0.9, "file_bytes": 5,
            "model_sha256": "m"}  # fmt: skip
    return json.dumps(line | changed) + "\n"


def test_rotated_logs_and_those_of_other_replicas_are_searched(tiny_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_text('{"request_id": "cut\n')
    (tmp_path / "predictions.jsonl.2").write_text(logged_line("old"))
    (tmp_path / "replica-2.jsonl").write_text(logged_line("theirs"))
    own = serve(Dispatcher(tiny_bundle, IDENTITY, options(tmp_path)), tmp_path)
    assert say(own, request_id="old", label="real").status_code == 201
    assert outcome(say(own, request_id="theirs", label="real")) == (404, "unknown_request")
    assert outcome(say(own, request_id="cut", label="real")) == (404, "unknown_request")
    both = serve(Dispatcher(tiny_bundle, IDENTITY, options(tmp_path, feedback_logs=f"{tmp_path}/*.jsonl*")), tmp_path)
    assert say(both, request_id="theirs", label="real").status_code == 201


def test_each_client_has_a_rate_of_its_own(tiny_bundle: Bundle, tmp_path: Path) -> None:
    served = serve(Dispatcher(tiny_bundle, IDENTITY, options(tmp_path, feedback_per_hour=2)), tmp_path)
    (tmp_path / "predictions.jsonl").write_text(logged_line("a"))
    assert say(served, request_id="a", label="real").status_code == 201
    assert outcome(say(served, request_id="unknown", label="real")) == (
        404,
        "unknown_request",
    )  # counts: ids are guessed so
    answer = say(served, request_id="a", label="real")
    assert outcome(answer) == (429, "rate_limited")
    assert 3500 < int(answer.headers["retry-after"]) <= 3600
    assert say(served, BEN, request_id="a", label="real").status_code == 201


def test_the_rate_holds_in_any_hour() -> None:
    limiter = RateLimiter(2)
    for now_s in (0.0, 3000.0, 3600.5, 6601.0):
        limiter.take("anna", now_s)
    with pytest.raises(RateLimited) as caught:
        limiter.take("anna", 6700.0)
    assert caught.value.retry_after_s == pytest.approx(500.5)


def test_expired_pictures_are_deleted_at_the_start(tiny_bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "feedback" / "pictures"
    folder.mkdir(parents=True)
    now = int(time.time())
    for expires in (now - 1, now + 1000):
        (folder / f"{expires}-{'a' * 32}.png").write_bytes(b"x")
    intake = Dispatcher(tiny_bundle, IDENTITY, options(tmp_path)).feedback
    assert intake is not None
    intake.start()
    deadline = time.monotonic() + 10
    while len(list(folder.iterdir())) > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    intake.stop()
    assert [path.name.partition("-")[0] for path in folder.iterdir()] == [str(now + 1000)]


def test_without_the_setting_there_is_no_feedback(tiny_bundle: Bundle, tmp_path: Path) -> None:
    served = serve(Dispatcher(tiny_bundle, IDENTITY, options(tmp_path, feedback=None)), tmp_path)
    assert outcome(say(served, request_id="a", label="real")) == (404, "feedback_off")
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.jsonl"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"DEEPFAKE_SERVE_FEEDBACK": "/f", "DEEPFAKE_SERVE_PREDICTION_LOG": "/l"}, "FEEDBACK: .*KEYS or .*TOKEN"),
        ({"DEEPFAKE_SERVE_FEEDBACK": "/f", "DEEPFAKE_SERVE_TOKEN": TOKEN}, "FEEDBACK: .*PREDICTION_LOG"),
        ({"DEEPFAKE_SERVE_KEYS": "secret-secret-secret-secret-secret-secret"}, "KEYS: .*entry 1 is no NAME=KEY"),
        ({"DEEPFAKE_SERVE_KEYS": "secret-secret-secret="}, "KEYS: .*entry 1 has 0 characters"),
        ({"DEEPFAKE_SERVE_FEEDBACK": "", "DEEPFAKE_SERVE_TOKEN": TOKEN}, "FEEDBACK: .*names no folder"),
        ({"DEEPFAKE_SERVE_KEYS": f"a={ANNA},a={BEN}"}, "KEYS: .*entry 2 repeats"),
        ({"DEEPFAKE_SERVE_KEYS": f"a={ANNA},b={ANNA}"}, "KEYS: .*entry 2 repeats"),
        ({"DEEPFAKE_SERVE_KEYS": f"token={ANNA}"}, "KEYS: .*entry 1"),
        ({"DEEPFAKE_SERVE_FEEDBACK_DAYS": "0"}, "FEEDBACK_DAYS"),
    ],
)
def test_settings_that_cannot_work_stop_the_service_and_show_no_secret(changed: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        read_options(changed)
    assert "secret-" not in str(caught.value)
    assert "anna-" not in str(caught.value)


def test_keys_are_read_and_not_printed() -> None:
    options = read_options({"DEEPFAKE_SERVE_KEYS": f"anna={ANNA} , ben={BEN}=="})
    assert {name: key.get_secret_value() for name, key in options.keys.items()} == {"anna": ANNA, "ben": f"{BEN}=="}
    assert "anna-" not in repr(options)
