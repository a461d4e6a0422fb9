from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from deepfake_detector.errors import UnreadableImage
from deepfake_detector.serving.error_shape import OneErrorShape, refusal


def ask(response: Any, request_s: float = 5.0) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(OneErrorShape(response, request_s))
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.get("http://test/")

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("response", "code", "message"),
    [
        (PlainTextResponse("Not Found", 404), "not_found", "Not Found"),
        (PlainTextResponse("Method Not Allowed", 405), "method_not_allowed", "Method Not Allowed"),
        (JSONResponse([{"error": "in a list"}], 415), "unsupported_media_type", "in a list"),
        (JSONResponse({"error": "in an object"}, 400), "bad_request", "in an object"),
        (
            JSONResponse({"error": "1 error", "detail": [{"loc": ["image"], "msg": "Field required"}]}, 400),
            "bad_request",
            "1 error; image: Field required",
        ),
        (JSONResponse("a word", 503), "tool_failed", "a word"),
        (Response(status_code=500), "tool_failed", "HTTP status 500"),
    ],
)
def test_foreign_errors_get_the_shape_and_keep_their_status(response: Response, code: str, message: str) -> None:
    answer = ask(response)
    assert answer.status_code == response.status_code
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["message"] == message
    assert isinstance(answer.json()["error"]["hint"], str)
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_our_own_errors_pass_as_they_are_without_a_trace_of_the_mark() -> None:
    answer = ask(refusal(UnreadableImage("no picture", "send one")))
    assert answer.status_code == 415
    assert answer.json() == {"error": {"code": "unreadable_image", "message": "no picture", "hint": "send one"}}
    assert "x-error-shape" not in answer.headers


def test_good_answers_pass_in_pieces() -> None:
    answer = ask(StreamingResponse(iter(["a", "b"]), 200, {"x-kept": "1"}))
    assert (answer.text, answer.headers["x-kept"]) == ("ab", "1")


def test_a_request_that_takes_too_long_is_answered_and_what_comes_later_is_dropped() -> None:
    async def stuck(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await PlainTextResponse("too late")(scope, receive, send)

    answer = ask(stuck, request_s=0.05)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "too_slow")


def test_an_exception_of_the_application_is_not_swallowed() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(broken)


def test_other_protocols_pass_untouched() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(OneErrorShape(app)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]
