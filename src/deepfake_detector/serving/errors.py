"""What the service refuses or fails at -> one JSON shape: {"error": {"code", "message", "hint"}}, and its status."""

from __future__ import annotations

import json
import math
from http import HTTPStatus

from starlette.responses import JSONResponse

from deepfake_detector.errors import BadInput, DetectorError, ToolFailed

ROUTES = (
    "POST /predict_image, /predict_video and /predict_images; GET /about, /docs, /ui, /healthz, /readyz and /metrics"
)
HINTS = {404: f"the routes are {ROUTES}", 405: "predictions are asked for with POST, all else with GET"}


class UploadRejected(BadInput):
    """A request that is not a file, or not so many files, in the right field."""

    code = "bad_upload"


class NotAForm(UploadRejected):
    """A body of another type than a multipart form."""

    code, http_status = "unsupported_media_type", 415


class PointsElsewhere(BadInput):
    """A playlist, script or drawing that names other files and hosts instead of holding pictures."""

    code, http_status = "points_elsewhere", 415


class BadQuestion(BadInput):
    """A query parameter that is unknown or has no sensible value."""

    code = "bad_question"


class TooSlow(BadInput):
    """An upload that does not arrive."""

    code, http_status = "too_slow", 408


class TooCostly(BadInput):
    """A file that takes more time or memory than one file may."""

    code = "too_costly"


class Unauthorized(BadInput):
    """No token, or not the right one."""

    code, http_status = "unauthorized", 401


class TooBusy(BadInput):
    """More requests than the line holds.

    Args:
        message, hint: see `DetectorError`.
        retry_after_s: when a place is likely to be free.
    """

    code, http_status = "too_busy", 429

    def __init__(self, message: str, hint: str = "", retry_after_s: float = 1.0) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class NotReady(ToolFailed):
    """No worker has passed its self-test."""

    code, http_status = "not_ready", 503


def error_body(error: DetectorError) -> bytes:
    """The shape, as JSON."""
    return json.dumps({"error": {"code": error.code, "message": error.message, "hint": error.hint}}).encode()


def refusal(error: DetectorError) -> JSONResponse:
    """An error as a response."""
    headers = {}
    if isinstance(error, TooBusy):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, NotReady):
        headers["Retry-After"] = "2"
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(json.loads(error_body(error)), error.http_status, headers)


def foreign(status: int, said: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error of the router, for example 404, in the same shape."""
    code = HTTPStatus(status).phrase.lower().replace(" ", "_")
    return JSONResponse({"error": {"code": code, "message": said, "hint": HINTS.get(status, "")}}, status, headers)
