from __future__ import annotations

import asyncio
import errno
import io
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from deepfake_detector.errors import BadInput
from deepfake_detector.media.image import encode_png
from deepfake_detector.serving import upload
from deepfake_detector.serving.errors import BadUpload, ExternalReference, TooBusy, error_response
from deepfake_detector.serving.upload import (
    FORM_OVERHEAD_BYTES,
    MultipartForm,
    RequestBody,
    UploadSpec,
    UploadStore,
    reject_external_references,
)

ONE_FILE = UploadSpec("image", 100_000)
THREE_FILES = UploadSpec("image", 100_000, 3, 150_000)
WITH_TEXT = UploadSpec("image", 100_000, text_fields=("note",))
MULTIPART = {"content-type": "multipart/form-data; boundary=b"}
COMPLETE = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc\r\n--b--\r\n'


def post(spec: UploadSpec = ONE_FILE, **request: Any) -> httpx.Response:
    """Return the sizes of the received files and the text fields, or the error."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = RequestBody(Request(scope, receive))
        try:
            form = await body.read_form(spec)
        except BadInput as error:
            await body.drain()
            await error_response(error)(scope, receive, send)
            return
        sizes: list[Any] = [file.seek(0, 2) for file in form.files]
        sizes += [f"{name}={text.decode()}" for name, text in form.texts.items()]
        form.close()
        await JSONResponse(sizes)(scope, receive, send)

    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.post("/", **request)

    return asyncio.run(run())


def error(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


@pytest.mark.parametrize("size", [0, 1, 99_999, 100_000])
def test_a_file_within_the_limit_is_received(size: int) -> None:
    assert post(files={"image": ("a.jpg", b"x" * size)}).json() == [size]


def test_one_byte_over_the_limit_is_too_large() -> None:
    assert error(post(files={"image": ("a.jpg", b"x" * 100_001)})) == (413, "too_large")


def test_several_files_are_received_in_order_up_to_their_total_limit() -> None:
    files = [("image", ("a", b"x" * size)) for size in (10, 90_000, 0)]
    assert post(THREE_FILES, files=files).json() == [10, 90_000, 0]
    assert error(post(THREE_FILES, files=[*files, ("image", ("a", b""))])) == (422, "bad_upload")
    large = [("image", ("a", b"x" * 100_000))] * 3
    assert error(post(THREE_FILES, files=large)) == (413, "too_large")


def test_a_chunked_body_is_counted_and_reading_stops_at_the_limit() -> None:
    uploaded_bytes = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal uploaded_bytes
        yield COMPLETE[: COMPLETE.index(b"abc")]
        for _ in range(1000):
            uploaded_bytes += 10_000
            yield b"x" * 10_000

    assert error(post(content=endless(), headers=MULTIPART)) == (413, "too_large")
    assert uploaded_bytes <= 100_000 + FORM_OVERHEAD_BYTES + upload.DRAIN_BYTES + 20_000


def test_a_declared_length_over_the_limit_is_rejected_unread() -> None:
    chunks = 0

    async def large() -> AsyncIterator[bytes]:
        nonlocal chunks
        chunks += 1
        yield COMPLETE

    headers = MULTIPART | {"content-length": str(upload.DRAIN_BYTES + 1)}
    assert error(post(content=large(), headers=headers)) == (413, "too_large")
    assert chunks == 0


def test_a_stalled_upload_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "IDLE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(upload, "DRAIN_TIMEOUT_S", 0.05)

    async def stalled() -> AsyncIterator[bytes]:
        yield COMPLETE[:40]
        await asyncio.sleep(10)

    assert error(post(content=stalled(), headers=MULTIPART)) == (408, "too_slow")


@pytest.mark.parametrize(
    "request_",
    [
        {"json": {"image": "http://127.0.0.1/secret"}},
        {"content": b"http://127.0.0.1/secret"},
        {"data": {"image": "http://127.0.0.1/secret"}},
        {"content": b"x", "headers": {"content-type": "application/vnd.bentoml+pickle"}},
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
        {"content": b"x", "headers": {"content-type": f"multipart/form-data; boundary={'b' * 300}"}},
        {},
    ],
)
def test_only_multipart_forms_are_accepted(request_: dict[str, Any]) -> None:
    assert error(post(**request_)) == (415, "unsupported_media_type")


def test_an_address_instead_of_a_file_is_rejected_and_not_fetched() -> None:
    response = post(files={"image": (None, b"http://127.0.0.1/secret")})
    assert error(response) == (422, "bad_upload")
    assert "addresses are not fetched" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "files",
    [
        [("file", ("a.jpg", b"x"))],
        [("image", ("a.jpg", b"x")), ("image", ("b.jpg", b"x"))],
        [("image", ("a.jpg", b"x")), ("more", (None, b"x"))],
        [("image", ("", b"x"))],
    ],
)
def test_anything_but_one_file_in_the_expected_field_is_rejected(files: list[Any]) -> None:
    assert error(post(files=files)) == (422, "bad_upload")


def test_a_text_field_that_the_route_knows_is_received() -> None:
    files = [("note", (None, "x" * 100)), ("image", ("a", b"abc"))]
    assert post(WITH_TEXT, files=files).json() == [3, f"note={'x' * 100}"]
    assert post(WITH_TEXT, files=[*files[1:], ("note", (None, b""))]).json() == [3, "note="]


@pytest.mark.parametrize(
    "fields",
    [
        [("note", (None, "x" * 101))],
        [("note", (None, "x")), ("note", (None, "x"))],
        [("note", ("a.txt", "x"))],
        [("other", (None, "x"))],
        [("image", (None, "http://127.0.0.1/"))],
    ],
)
def test_a_long_repeated_or_unknown_text_field_is_rejected(fields: list[Any]) -> None:
    assert error(post(WITH_TEXT, files=[("image", ("a", b"abc")), *fields])) == (422, "bad_upload")


def test_a_form_with_text_only_has_no_file() -> None:
    assert error(post(WITH_TEXT, files=[("note", (None, "x"))])) == (422, "bad_upload")


@pytest.mark.parametrize(
    "body",
    [
        b"garbage",
        b"",
        b"--b--\r\n",
        COMPLETE[: COMPLETE.index(b"\r\n--b--")],
        COMPLETE[: COMPLETE.index(b"--\r\n", 20)],
        b"--b\r\nno header at all\r\n\r\nabc\r\n--b--\r\n",
        b"--b\r\n\r\nabc\r\n--b--\r\n",
    ],
)
def test_malformed_forms_are_rejected(body: bytes) -> None:
    assert error(post(content=body, headers=MULTIPART)) == (422, "bad_upload")


def feed_in_two(content: bytes, cut: int) -> MultipartForm:
    form = MultipartForm(MULTIPART["content-type"], ONE_FILE)
    form.feed(content[:cut])
    form.feed(content[cut:])
    return form


def test_a_form_is_parsed_the_same_however_it_is_chunked() -> None:
    for cut in range(1, len(COMPLETE)):
        form = feed_in_two(COMPLETE, cut)
        form.finish()
        form.files[0].seek(0)
        assert form.files[0].read() == b"abc"
        form.close()
    wrong_field = COMPLETE.replace(b"image", b"other")
    for cut in range(1, len(wrong_field)):
        with pytest.raises(BadUpload, match="has a field 'other'"):
            feed_in_two(wrong_field, cut)


def test_a_client_that_disconnects_is_a_bad_upload() -> None:
    received: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"--b\r\n", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return received.pop(0)

    scope = {"type": "http", "headers": [(b"content-type", MULTIPART["content-type"].encode())]}
    with pytest.raises(BadUpload, match="connection ended"):
        asyncio.run(RequestBody(Request(scope, receive)).read_form(ONE_FILE))


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd", "HLS"),
        (b"\xef\xbb\xbf\r\n #extm3u", "HLS"),
        ("#EXTM3U\nhttp://a/".encode("utf-16"), "HLS"),
        (b"ffconcat version 1.0\nfile /etc/passwd", "concat"),
        (b"<MPD xmlns='urn:mpeg:dash:schema:mpd:2011'>", "DASH"),
        (b"<?xml version='1.0'?>\n<!-- a -->\n<MPD>", "DASH"),
        (b"<svg onload='x'>", "SVG"),
        (b"<?xml version='1.0'?><!DOCTYPE svg><svg>", "SVG"),
        (b"<!DOCTYPE html><p>", "XML"),
        (b"v=0\r\no=- 0 0 IN IP4 10.0.0.1", "SDP"),
        (b"http://127.0.0.1/a.mp4", "address"),
        (b"[playlist]\nFile1=/etc/passwd", "playlist"),
    ],
)
def test_formats_that_refer_to_other_files_are_rejected(head: bytes, name: str) -> None:
    with pytest.raises(ExternalReference, match=name):
        reject_external_references(head)


@pytest.mark.parametrize(
    "head", [b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"\0\0\0\x18ftypmp42", b"GIF89a", b"text #EXTM3U"]
)
def test_all_other_content_is_left_to_the_decoders(head: bytes) -> None:
    reject_external_references(head)


async def _drips(pause_s: float) -> AsyncIterator[bytes]:
    yield COMPLETE[:40]
    for byte in COMPLETE[40:]:
        await asyncio.sleep(pause_s)
        yield bytes([byte])


def test_an_upload_that_trickles_is_ended_after_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte resets the idle timeout; the rate does not."""
    monkeypatch.setattr(upload, "RATE_WINDOW_S", 0.3)
    monkeypatch.setattr(upload, "DRAIN_TIMEOUT_S", 0.3)  # in all: a rejected upload may trickle, too
    start_s = time.monotonic()
    assert error(post(content=_drips(0.1), headers=MULTIPART)) == (408, "too_slow")
    assert time.monotonic() - start_s < 4  # all of it would take 7


def test_a_burst_does_not_pay_for_a_later_trickle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "RATE_WINDOW_S", 0.3)

    async def content() -> AsyncIterator[bytes]:
        yield COMPLETE[: COMPLETE.index(b"abc")] + bytes(50_000)
        for _ in range(100):
            await asyncio.sleep(0.05)
            yield b"x"

    assert error(post(content=content(), headers=MULTIPART)) == (408, "too_slow")


def test_all_uploads_together_have_a_limit(tmp_path: Path) -> None:
    store = UploadStore(tmp_path, max_bytes=1000)
    with store.reader() as first, store.reader() as second:
        first(600)
        second(400)
        with pytest.raises(TooBusy, match="uploads of"):
            second(1)
    assert store.used_bytes == 0


@pytest.mark.parametrize(
    ("number", "status", "code"),
    [(errno.ENOSPC, 507, "storage_full"), (errno.EDQUOT, 507, "storage_full"), (errno.EMFILE, 503, "out_of_resources")],
)
@pytest.mark.parametrize("moment", ["open", "write", "flush"])
def test_a_full_disk_and_no_descriptors_are_503_and_507_with_retry_after(
    idle: Any, monkeypatch: pytest.MonkeyPatch, number: int, status: int, code: str, moment: str
) -> None:
    served = idle()
    monkeypatch.setattr(type(served.dispatcher), "check_ready", lambda _: None)
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())

    class Failing(io.BytesIO):
        def write(self, data: Any) -> int:
            if moment == "write":
                raise OSError(number, "it fails")
            return super().write(data)

        def flush(self) -> None:
            if moment == "flush":
                raise OSError(number, "it fails")

    def open_file(**_: Any) -> Failing:
        if moment == "open":
            raise OSError(number, "it fails")
        return Failing()

    monkeypatch.setattr("deepfake_detector.serving.upload.tempfile.TemporaryFile", open_file)
    answer = served.request("POST", "/predict_image", files={"image": ("a", b"x" * 9999)})
    assert error(answer) == (status, code)
    assert int(answer.headers["retry-after"]) >= 1
    assert served.dispatcher.admission.in_use == 0
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) <= before + 1


def test_a_file_that_cannot_be_opened_for_want_of_descriptors_is_503(
    idle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr("starlette.staticfiles.StaticFiles.get_response", failing)
    answer = idle().request("GET", "/ui/main.js")
    assert error(answer) == (503, "out_of_resources")
    assert int(answer.headers["retry-after"]) >= 1


def test_slow_uploads_hold_no_slot_that_an_honest_request_needs(served: Any) -> None:
    """64 slots, 70 uploads that never end, and a picture."""
    picture = {"image": ("a.png", encode_png(np.zeros((64, 64, 3), np.uint8)))}

    async def stalled() -> AsyncIterator[bytes]:
        yield COMPLETE[:60]
        await asyncio.sleep(60)

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(served.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            slow = [
                asyncio.ensure_future(client.post("/predict_video", content=stalled(), headers=MULTIPART))
                for _ in range(70)
            ]
            await asyncio.sleep(0.3)
            assert served.dispatcher.admission.in_use == 0
            answer = await client.post("/predict_image", files=picture)
            for each in slow:
                each.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
            return answer

    assert asyncio.run(run()).status_code == 200
