from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from deepfake_detector.errors import BadInput
from deepfake_detector.serving import upload as body_module
from deepfake_detector.serving.errors import refusal
from deepfake_detector.serving.upload import ENVELOPE_BYTES, Body, Form, Upload, UploadRejected

UPLOAD = Upload("image", 100_000)
SEVERAL = Upload("image", 100_000, 3, 150_000)
BOUNDARY = {"content-type": "multipart/form-data; boundary=b"}
WHOLE = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc\r\n--b--\r\n'


def ask(upload: Upload = UPLOAD, **request: Any) -> httpx.Response:
    """The sizes of the files that arrive, or the refusal."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = Body(Request(scope, receive))
        try:
            form = await body.form(upload)
        except BadInput as error:
            await body.drain()
            await refusal(error)(scope, receive, send)
            return
        sizes = [file.seek(0, 2) for file in form.files]
        form.close()
        await JSONResponse(sizes)(scope, receive, send)

    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.post("/", **request)

    return asyncio.run(run())


def error(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


@pytest.mark.parametrize("size", [0, 1, 99_999, 100_000])
def test_a_file_within_the_limit_arrives_whole(size: int) -> None:
    assert ask(files={"image": ("a.jpg", b"x" * size)}).json() == [size]


def test_one_byte_more_is_too_large() -> None:
    assert error(ask(files={"image": ("a.jpg", b"x" * 100_001)})) == (413, "too_large")


def test_several_files_arrive_in_order_within_their_sum() -> None:
    files = [("image", ("a", b"x" * size)) for size in (10, 90_000, 0)]
    assert ask(SEVERAL, files=files).json() == [10, 90_000, 0]
    assert error(ask(SEVERAL, files=[*files, ("image", ("a", b""))])) == (422, "bad_upload")
    big = [("image", ("a", b"x" * 100_000))] * 3
    assert error(ask(SEVERAL, files=big)) == (413, "too_large")


def test_a_chunked_body_without_a_length_is_counted_and_reading_stops() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield WHOLE[: WHOLE.index(b"abc")]
        for _ in range(1000):
            sent += 10_000
            yield b"x" * 10_000

    assert error(ask(content=endless(), headers=BOUNDARY)) == (413, "too_large")
    assert sent <= 100_000 + ENVELOPE_BYTES + body_module.DRAIN_BYTES + 20_000


def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    sent = 0

    async def large() -> AsyncIterator[bytes]:
        nonlocal sent
        sent += 1
        yield WHOLE

    headers = BOUNDARY | {"content-length": str(body_module.DRAIN_BYTES + 1)}
    assert error(ask(content=large(), headers=headers)) == (413, "too_large")
    assert sent == 0


def test_an_upload_that_stands_still_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "IDLE_S", 0.05)
    monkeypatch.setattr(body_module, "DRAIN_S", 0.05)

    async def stuck() -> AsyncIterator[bytes]:
        yield WHOLE[:40]
        await asyncio.sleep(10)

    assert error(ask(content=stuck(), headers=BOUNDARY)) == (408, "too_slow")


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
def test_only_multipart_forms_are_read(request_: dict[str, Any]) -> None:
    assert error(ask(**request_)) == (415, "unsupported_media_type")


def test_an_address_in_the_place_of_a_file_is_refused_and_never_fetched() -> None:
    response = ask(files={"image": (None, b"http://127.0.0.1/secret")})
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
def test_anything_but_one_file_in_its_field_is_refused(files: list[Any]) -> None:
    assert error(ask(files=files)) == (422, "bad_upload")


@pytest.mark.parametrize(
    "body",
    [
        b"garbage",
        b"",
        b"--b--\r\n",
        WHOLE[: WHOLE.index(b"\r\n--b--")],
        WHOLE[: WHOLE.index(b"--\r\n", 20)],
        b"--b\r\nno header at all\r\n\r\nabc\r\n--b--\r\n",
        b"--b\r\n\r\nabc\r\n--b--\r\n",
    ],
)
def test_broken_forms_are_refused(body: bytes) -> None:
    assert error(ask(content=body, headers=BOUNDARY)) == (422, "bad_upload")


def test_a_form_is_read_alike_however_it_is_cut() -> None:
    bad = WHOLE.replace(b"image", b"other")
    for cut in range(1, len(WHOLE)):
        form = Form(BOUNDARY["content-type"], UPLOAD)
        form.feed(WHOLE[:cut])
        form.feed(WHOLE[cut:])
        form.finish()
        form.files[0].seek(0)
        assert form.files[0].read() == b"abc"
        form.close()
    for cut in range(1, len(bad)):
        form = Form(BOUNDARY["content-type"], UPLOAD)
        with pytest.raises(UploadRejected, match="has a field 'other'"):
            form.feed(bad[:cut]) or form.feed(bad[cut:])


def test_a_client_that_hangs_up_is_no_crash() -> None:
    messages = [{"type": "http.request", "body": b"--b\r\n", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    scope = {"type": "http", "headers": [(b"content-type", BOUNDARY["content-type"].encode())]}
    with pytest.raises(UploadRejected, match="connection ended"):
        asyncio.run(Body(Request(scope, receive)).form(UPLOAD))
