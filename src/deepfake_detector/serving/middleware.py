"""ASGI requests -> the same with an id, the right token, safe headers on what leaves, and a line in log and metrics."""

from __future__ import annotations

import hmac
import logging
import re
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders

from deepfake_detector.serving.errors import Unauthorized, refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from deepfake_detector.serving.telemetry import Metrics

OPEN = ("/ui", "/docs", "/openapi.json", "/about")  # need no token: they tell nothing about anybody's files
NOTES = "deepfake.notes"  # in the scope: what handlers add to the request's line in the log
ID_HEADER = "X-Request-ID"
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_PAGES = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; "
_MEDIA = "img-src 'self' blob: data:; media-src 'self' blob:; "
_FRAME = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
CSP = _PAGES + _MEDIA + _FRAME
CSP_DOCS = CSP.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")  # Swagger UI styles by attributes

logger = logging.getLogger("deepfake")


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: the application.
        token: what must be sent as `Authorization: Bearer`; None asks nobody. Asked at each request.
        metrics: where requests are counted. Asked at each request.
        routes: paths that are counted by name; all others are "other".
    """

    def __init__(
        self, app: ASGIApp, token: Callable[[], str | None], metrics: Callable[[], Metrics], routes: frozenset[str]
    ) -> None:
        self.app = app
        self._token, self._metrics, self._routes = token, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, pass on, and look at what comes back."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id, start_s, status = _id(headers), time.perf_counter(), 500
        notes = scope[NOTES] = {"request_id": request_id}

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _protect(MutableHeaders(scope=message), scope["path"], request_id)
            await send(message)

        try:
            app = self.app if self._may(headers, scope["path"]) else refusal(
                Unauthorized("this service answers only those who send its token", "send `Authorization: Bearer TOKEN`")
            )  # fmt: skip
            await app(scope, receive, sent)
        finally:
            self._keep(scope, status, time.perf_counter() - start_s, notes)

    def _may(self, headers: Headers, path: str) -> bool:
        token = self._token()
        if token is None or path == "/" or any(path == place or path.startswith(f"{place}/") for place in OPEN):
            return True
        kind, _, sent = headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), token.encode())

    def _keep(self, scope: Scope, status: int, seconds: float, notes: dict[str, Any]) -> None:
        route = scope["path"] if scope["path"] in self._routes else "other"
        self._metrics().request(route, status, seconds)
        line = {"method": scope["method"], "route": route, "status": status, "ms": round(seconds * 1000, 1), **notes}
        logger.info("request", extra=line)


def _id(headers: Headers) -> str:
    """The caller's id if it is one, else a new one; what else callers write does not get into logs."""
    given = headers.get(ID_HEADER, "")
    return given if _ID.fullmatch(given) else uuid.uuid4().hex


def _protect(headers: MutableHeaders, path: str, request_id: str) -> None:
    headers[ID_HEADER] = request_id
    for name, value in _SAFE.items():
        headers.setdefault(name, value)
    headers["Content-Security-Policy"] = CSP_DOCS if path.startswith("/docs") else CSP
