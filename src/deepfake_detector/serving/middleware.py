"""ASGI requests -> the same requests with an id, authentication, security headers, an access log line and metrics."""

from __future__ import annotations

import hmac
import logging
import re
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders

from deepfake_detector.serving.errors import Unauthorized, error_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from deepfake_detector.serving.telemetry import Metrics

PUBLIC_PATHS = ("/ui", "/docs", "/openapi.json", "/about")  # need no token: they show nothing of anybody's files
LOG_FIELDS = "deepfake.log_fields"  # key of the ASGI scope: fields that handlers add to the access log line
REQUEST_ID_HEADER = "X-Request-ID"
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DOCS_CSP = CSP.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")  # Swagger UI sets style attributes
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")

logger = logging.getLogger("deepfake")


class ServiceMiddleware:
    """ASGI middleware around the whole application.

    Args:
        app: the application.
        token: returns the token that clients must send as `Authorization: Bearer`, or None; called per request.
        metrics: returns the metrics that count requests; called per request.
        routes: paths that are counted by name; all others are counted as "other".
    """

    def __init__(
        self, app: ASGIApp, token: Callable[[], str | None], metrics: Callable[[], Metrics], routes: frozenset[str]
    ) -> None:
        self.app = app
        self._token, self._metrics, self._routes = token, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate a request, run it, add headers to its response, and record it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id, start_s, status = _request_id(headers), time.perf_counter(), 500
        log_fields = scope[LOG_FIELDS] = {"request_id": request_id}

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(MutableHeaders(scope=message), scope["path"], request_id)
            await send(message)

        try:
            app = self.app if self._is_authorized(headers, scope["path"]) else error_response(
                Unauthorized("this service needs an access token", "send the header `Authorization: Bearer TOKEN`")
            )  # fmt: skip
            await app(scope, receive, send_with_headers)
        finally:
            self._record(scope, status, time.perf_counter() - start_s, log_fields)

    def _is_authorized(self, headers: Headers, path: str) -> bool:
        token = self._token()
        if (
            token is None
            or path == "/"
            or any(path == public or path.startswith(f"{public}/") for public in PUBLIC_PATHS)
        ):
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())

    def _record(self, scope: Scope, status: int, duration_s: float, log_fields: dict[str, Any]) -> None:
        route = scope["path"] if scope["path"] in self._routes else "other"
        self._metrics().count_request(route, status, duration_s)
        duration_ms = round(duration_s * 1000, 1)
        line = {"method": scope["method"], "route": route, "status": status, "duration_ms": duration_ms, **log_fields}
        logger.info("request", extra=line)


def _request_id(headers: Headers) -> str:
    """Return the client's id if it is well formed, else a new one: no other text of a client enters the log."""
    given = headers.get(REQUEST_ID_HEADER, "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _add_headers(headers: MutableHeaders, path: str, request_id: str) -> None:
    headers[REQUEST_ID_HEADER] = request_id
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    headers["Content-Security-Policy"] = DOCS_CSP if path.startswith("/docs") else CSP
