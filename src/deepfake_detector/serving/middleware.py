"""ASGI requests -> answers of our application, with an id, authentication, security headers, a log line and metrics."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from deepfake_detector.errors import DetectorError
from deepfake_detector.serving.errors import Unauthorized, error_response
from deepfake_detector.serving.origin import check_host, check_origin

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from deepfake_detector.serving.dispatcher import Dispatcher

HEALTH_PATHS = ("/livez", "/readyz", "/healthz")  # are requested every few seconds: not logged and not counted
# These need no token: they show nothing of anybody's files.
PUBLIC_PATHS = ("/ui", "/docs", "/docs.json", "/openapi.json", "/about", *HEALTH_PATHS)
LOG_FIELDS = "deepfake.log_fields"  # key of the ASGI scope: fields that handlers add to the access log line
CLIENT = "deepfake.client"  # key of the ASGI scope: name of the client's key; "" without one
ROOT_PATH = "deepfake.root_path"  # key of the ASGI scope: the prefix of all paths, as clients see them
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
_ADDRESS = re.compile(r"^https?://[^/]*/?", re.IGNORECASE)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")

logger = logging.getLogger("deepfake")


class ServiceMiddleware:
    """ASGI middleware of BentoML that answers every HTTP request by our application.

    BentoML's own handlers read bodies of any size, fetch URLs in file fields, and have other error shapes.

    Args:
        app: BentoML's application; it gets what is no HTTP request, for example the start of the server.
        application: answers HTTP requests, with a Dispatcher in `application.state.dispatcher`.
        routes: paths that are counted by name, and with a slash at the end all paths below them; others are "other".
    """

    def __init__(self, app: ASGIApp, application: Starlette, routes: frozenset[str]) -> None:
        self.app, self._application, self._routes = app, application, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate a request, run it, add headers to its response, and record it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        dispatcher: Dispatcher = self._application.state.dispatcher
        target = scope["path"]
        scope = below_root_path(scope, dispatcher.root_path)
        headers, path = Headers(scope=scope), scope["path"]
        request_id, start_s, status = _request_id(headers), time.perf_counter(), 500
        scope[LOG_FIELDS] = {"request_id": request_id}

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(MutableHeaders(scope=message), path, scope[ROOT_PATH], request_id)
            await send(message)

        try:
            app = _refusal(headers, scope, target, dispatcher) or self._application
            await app(scope, receive, send_with_headers)
        finally:
            if path not in HEALTH_PATHS:
                self._record(dispatcher, scope, status, time.perf_counter() - start_s)

    def _record(self, dispatcher: Dispatcher, scope: Scope, status: int, duration_s: float) -> None:
        route = self._route_label(scope["path"])
        dispatcher.metrics.count_request(route, status, duration_s)
        duration_ms = round(duration_s * 1000, 1)
        line = {"method": scope["method"], "route": route, "status": status, "duration_ms": duration_ms}
        logger.info("request", extra=line | scope[LOG_FIELDS])

    def _route_label(self, path: str) -> str:
        if path in self._routes:
            return path
        folders = (route for route in self._routes if route != "/" and f"{path}/".startswith(route))
        return next((route for route in folders if route.endswith("/")), "other")


def below_root_path(scope: Scope, root_path: str) -> Scope:
    """Return the scope with the path that our routes know; the path in front of it is stored under ROOT_PATH.

    Args:
        scope: of a request. Its path may be a whole address: clients may send one (RFC 9112, section 3.2.2).
        root_path: the prefix of all paths, as clients see them. A proxy may remove it or leave it.
    """
    path, root_path = _ADDRESS.sub("/", scope["path"], count=1), root_path or scope.get("root_path", "")
    if path == root_path or path.startswith(f"{root_path}/"):
        path = path[len(root_path) :] or "/"
    return {**scope, "path": path, "root_path": "", ROOT_PATH: root_path}


def _refusal(headers: Headers, scope: Scope, target: str, dispatcher: Dispatcher) -> ASGIApp | None:
    """Return the error for a request that no handler may see, else None.

    Health checks name the address of a container as host, and their answers show nothing.
    """
    try:
        if scope["path"] not in HEALTH_PATHS:
            check_host(headers, target, dispatcher.hosts)
        check_origin(scope["method"], headers)
        client = dispatcher.keys.client(headers.get("authorization", ""))
        scope[CLIENT] = client or ""
        if client is None and dispatcher.keys.required and not _is_public(scope["path"]):
            raise Unauthorized("this service needs an access token", "send the header `Authorization: Bearer TOKEN`")
    except DetectorError as error:
        scope[LOG_FIELDS]["error_code"] = error.code
        return error_response(error)
    return None


def _is_public(path: str) -> bool:
    return path == "/" or any(path == each or path.startswith(f"{each}/") for each in PUBLIC_PATHS)


def _request_id(headers: Headers) -> str:
    """Return the client's id if it is well formed, else a new one: no other text of a client enters the log."""
    given = headers.get(REQUEST_ID_HEADER, "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _add_headers(headers: MutableHeaders, path: str, root_path: str, request_id: str) -> None:
    headers[REQUEST_ID_HEADER] = request_id
    if "location" in headers:
        headers["location"] = _location(headers["location"], path, root_path)
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    headers["Content-Security-Policy"] = DOCS_CSP if path.startswith("/docs") else CSP


def _location(location: str, path: str, root_path: str) -> str:
    """Return the target of a redirect below the root path; without one, relative to the requested path.

    A proxy may have removed a prefix, and ended TLS, without our knowing: a relative target keeps both.
    """
    target = urlsplit(location)._replace(scheme="", netloc="").geturl().lstrip("/")
    return f"{root_path}/{target}" if root_path else "./" + "../" * (path.count("/") - 1) + target
