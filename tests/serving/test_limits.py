from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from deepfake_detector.serving.form import FormCheck, Upload, UploadRejected
from deepfake_detector.serving.limits import ENVELOPE_BYTES, UploadGate

UPLOADS = {"/up": Upload("image", 100_000)}
URL = "http://test/up"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """What the service behind the gate sees: the fields of the form, with their sizes."""
    request = Request(scope, receive)
    seen: dict[str, Any] = {"path": request.url.path}
    if request.headers.get("content-type", "").startswith("multipart/"):
        async with request.form() as form:
            for name, value in form.multi_items():
                seen[name] = len(value) if isinstance(value, str) else len(await value.read())
    await JSONResponse(seen)(scope, receive, send)


def ask(method: str = "POST", url: str = URL, gate: UploadGate | None = None, **request: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(gate or UploadGate(echo, UPLOADS))
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.request(method, url, **request)

    return asyncio.run(run())


def error(response: httpx.Response) -> tuple[int, str]:
    body = response.json()["error"]
    assert set(body) == {"code", "message", "hint"}
    assert body["message"]
    return response.status_code, body["code"]


@pytest.mark.parametrize("size", [0, 1, 99_999, 100_000])
def test_a_file_within_the_limit_passes_byte_for_byte(size: int) -> None:
    response = ask(files={"image": ("a.jpg", b"x" * size)})
    assert (response.status_code, response.json()) == (200, {"path": "/up", "image": size})


def test_a_body_spooled_to_disk_is_replayed_whole() -> None:
    gate = UploadGate(echo, {"/up": Upload("image", 5_000_000)})
    assert ask(gate=gate, files={"image": ("a.jpg", b"y" * 4_500_000)}).json()["image"] == 4_500_000


def test_one_byte_more_is_too_large() -> None:
    assert error(ask(files={"image": ("a.jpg", b"x" * 100_001)})) == (413, "too_large")


def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    reached: list[str] = []

    async def unread(scope: Any, receive: Any, send: Any) -> None:
        reached.append("app")

    files = {"image": ("a.jpg", b"x" * (100_001 + ENVELOPE_BYTES))}
    assert error(ask(gate=UploadGate(unread, UPLOADS), files=files)) == (413, "too_large")
    assert reached == []


def test_a_chunked_body_without_a_length_is_counted_and_reading_stops() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(1000):
            sent += 10_000
            yield b"x" * 10_000

    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert error(ask(content=endless(), headers=headers)) == (413, "too_large")
    assert sent <= 200_000


@pytest.mark.parametrize(
    "request_",
    [
        {"json": {"image": "http://127.0.0.1/secret"}},
        {"content": b"http://127.0.0.1/secret"},
        {"data": {"image": "http://127.0.0.1/secret"}},
        {"content": b"x", "headers": {"content-type": "application/vnd.bentoml+pickle"}},
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
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
        [("image", ("a" * 201, b"x"))],
        [("image", ("é" * 101, b"x"))],
        [("image", ("", b"x"))],
    ],
)
def test_anything_but_one_named_file_in_its_field_is_refused(files: list[Any]) -> None:
    assert error(ask(files=files)) == (422, "bad_upload")


@pytest.mark.parametrize(
    "body",
    [
        b"garbage",
        b"",
        b"--b--\r\n",
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc',
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc\r\n--b',
        b"--b\r\nno header at all\r\n\r\nabc\r\n--b--\r\n",
        b"--b\r\n\r\nabc\r\n--b--\r\n",
    ],
)
def test_broken_forms_are_refused(body: bytes) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert error(ask(content=body, headers=headers)) == (422, "bad_upload")


def feed(check: FormCheck, *pieces: bytes) -> None:
    for piece in pieces:
        check.feed(piece)
    check.finish()


def test_a_form_is_checked_alike_however_it_is_cut() -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc\r\n--b--\r\n'
    bad = body.replace(b"image", b"other")
    for cut in range(1, len(body)):
        check = FormCheck("multipart/form-data; boundary=b", UPLOADS["/up"])
        feed(check, body[:cut], body[cut:])
    for cut in range(1, len(bad)):
        check = FormCheck("multipart/form-data; boundary=b", UPLOADS["/up"])
        with pytest.raises(UploadRejected, match="has a field 'other'"):
            feed(check, bad[:cut], bad[cut:])


def test_other_routes_and_methods_pass_untouched() -> None:
    assert ask(url="http://test/else", json={"a": 1}).json() == {"path": "/else"}
    assert ask("GET").json() == {"path": "/up"}


def test_too_many_uploads_at_once_are_refused_and_the_place_is_given_back() -> None:
    async def run() -> list[int]:
        inside, go_on = asyncio.Event(), asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            inside.set()
            await go_on.wait()
            await echo(scope, receive, send)

        gate = UploadGate(slow, UPLOADS, at_once=1)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(gate)) as client:
            files = {"image": ("a.jpg", b"x")}
            first = asyncio.create_task(client.post(URL, files=files))
            await inside.wait()
            second = await client.post(URL, files=files)
            go_on.set()
            third_after = await first
            third = await client.post(URL, files=files)
        assert json.loads(second.content)["error"]["code"] == "too_busy"
        return [third_after.status_code, second.status_code, third.status_code]

    assert asyncio.run(run()) == [200, 503, 200]


def test_a_client_that_hangs_up_is_no_crash() -> None:
    messages = [{"type": "http.request", "body": b"--b\r\n", "more_body": True}, {"type": "http.disconnect"}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    scope = {"type": "http", "method": "POST", "path": "/up", "headers": headers}
    asyncio.run(UploadGate(echo, UPLOADS)(scope, receive, send))
    assert sent[0]["status"] == 422
