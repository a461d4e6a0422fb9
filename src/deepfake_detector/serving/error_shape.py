"""Errors of the program, of BentoML and of the router -> one JSON shape: {"error": {"code", "message", "hint"}}."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from deepfake_detector.errors import DetectorError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_S = 120.0
CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}
HINTS = {
    404: "the routes are POST /predict_image, POST /predict_video, GET /about, GET /ui, GET /healthz and GET /metrics",
    405: "predictions are asked for with POST, all else with GET",
    504: "send a shorter or smaller file, or try again when the service is less busy",
}
MARK = b"x-error-shape"  # set on responses that have the shape already; taken off before they leave


def refusal(error: DetectorError) -> JSONResponse:
    """A known error as a response."""
    return _response(error.http_status, error.code, error.message, error.hint)


class OneErrorShape:
    """ASGI middleware that rewrites every error response, and gives up on requests that take too long.

    Args:
        app: the next application.
        request_s: longest time a request may take, in seconds.
    """

    def __init__(self, app: ASGIApp, request_s: float = REQUEST_S) -> None:
        self.app = app
        self.request_s = request_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and look at what comes back."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        watch = _Watch(send)
        work = asyncio.ensure_future(self.app(scope, receive, watch))
        done, _ = await asyncio.wait({work}, timeout=self.request_s)
        if done:
            await work
            await watch.finish(scope, receive)
            return
        # A worker thread cannot be stopped: the answer does not wait for it, and what it still says is dropped.
        work.cancel()
        if not watch.started:
            message = f"no answer within {self.request_s:.0f} seconds"
            await _response(504, "too_slow", message, HINTS[504])(scope, receive, watch)
        watch.closed = True


class _Watch:
    """A send function that passes good responses on, and holds back foreign errors until they are whole."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False  # something has left
        self.closed = False
        self._status = 0
        self._held: list[bytes] | None = None

    async def __call__(self, message: Message) -> None:
        if self.closed:
            return
        if message["type"] == "http.response.start":
            ours = [pair for pair in message["headers"] if pair[0] == MARK]
            if message["status"] >= 400 and not ours:
                self._status, self._held = message["status"], []
                return
            headers = [pair for pair in message["headers"] if pair[0] != MARK]
            self.started = True
            await self._send({**message, "headers": headers})
        elif self._held is None:
            await self._send(message)
        else:
            self._held.append(message.get("body", b""))

    async def finish(self, scope: Scope, receive: Receive) -> None:
        """Send the held error in its new shape."""
        if self._held is None:
            return
        message, self._held = _said(b"".join(self._held), self._status), None
        code = CODES.get(self._status, "tool_failed" if self._status >= 500 else "bad_request")
        await _response(self._status, code, message, HINTS.get(self._status, ""))(scope, receive, self)


def _response(status: int, code: str, message: str, hint: str) -> JSONResponse:
    body = {"error": {"code": code, "message": message, "hint": hint}}
    return JSONResponse(body, status, {MARK.decode(): "1"})


def _said(body: bytes, status: int) -> str:
    """The sentence inside an error body of BentoML (an object, a list of one object) or Starlette (text)."""
    try:
        content: Any = json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace").strip() or f"HTTP status {status}"
    if isinstance(content, list) and content:
        content = content[0]
    if isinstance(content, dict):
        details = content.get("detail") or []
        where = [f"{'.'.join(map(str, d.get('loc', ())))}: {d.get('msg', '')}" for d in details if isinstance(d, dict)]
        return "; ".join([str(content.get("error", f"HTTP status {status}")), *where])
    return str(content)
