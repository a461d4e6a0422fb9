"""Errors of the HTTP service -> an HTTP status and one JSON shape: {"error": {"code", "message", "hint"}}.

BadInput
|-- BadUpload              422: the form does not hold the expected files in the expected field
|   `-- UnsupportedMediaType   415: the body is not a multipart form
|-- ExternalReference      415: the upload refers to other files or hosts instead of holding pictures
|-- BadParameter           422: a parameter is unknown or invalid
|-- TooSlow                408: the upload stalled
|-- TooCostly              422: the file needs more time or memory than one file may use
|-- HostNotAllowed         400: the request names a host that the service does not answer for
|-- CrossSiteRequest       403: a page of another site sent the request
|-- Unauthorized           401: the bearer token is missing or wrong
|-- JobsOff                404: the service has no Redis, and so no jobs
|-- JobNotFound            404: no job has this id: it was never there, is expired, or was deleted
|-- FeedbackOff            404: the service takes no feedback
|-- UnknownRequest         404: the service has logged no answer with this request id
|-- AmbiguousRequest       422: the request had several files, and feedback does not say which is meant
|-- OtherPicture           422: the picture sent with feedback is none of those of the request
|-- UnkeptPicture          415: the file sent with feedback is no picture that is kept
`-- TooBusy                429: the queue is full
    `-- RateLimited            429: the client has sent as much feedback as it may within an hour
ToolFailed
|-- NotReady               503: no worker process is ready
|   `-- QueueUnavailable       503: Redis, which holds the jobs, does not answer
|-- JobLost                500: the workers that had a job ended without an answer
|-- OutOfResources         503: the service has too many open files or connections, or no memory
`-- StorageFull            507: the disk with the uploads is full
"""

from __future__ import annotations

import errno
import json
import math
from http import HTTPStatus

from starlette.responses import JSONResponse

from deepfake_detector.errors import BadInput, DetectorError, ToolFailed

ROUTES = (
    "POST /predict_image, /predict_video, /predict_images, /jobs and /feedback; "
    "GET /about, /docs, /ui, /livez, /readyz and /metrics"
)
HINTS = {
    400: "send an HTTP/1.1 request",
    404: f"the routes are {ROUTES}",
    405: "use POST for predictions and GET for every other route",
}
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


class BadUpload(BadInput):
    """The form does not hold the expected files in the expected field."""

    code = "bad_upload"


class UnsupportedMediaType(BadUpload):
    """The body is not a multipart form."""

    code, http_status = "unsupported_media_type", 415


class ExternalReference(BadInput):
    """The upload is a playlist, script or drawing that refers to other files or hosts."""

    code, http_status = "points_elsewhere", 415


class BadParameter(BadInput):
    """A parameter, in the query or the form, is unknown or has an invalid value."""

    code = "bad_question"


class TooSlow(BadInput):
    """The upload stalled or took too long."""

    code, http_status = "too_slow", 408


class TooCostly(BadInput):
    """The file needs more time or memory than one file may use."""

    code = "too_costly"


class HostNotAllowed(BadInput):
    """The request names a host that the service does not answer for."""

    code, http_status = "host_not_allowed", 400


class CrossSiteRequest(BadInput):
    """A browser sent the request for a page of another site."""

    code, http_status = "cross_site_request", 403


class Unauthorized(BadInput):
    """The bearer token is missing or wrong."""

    code, http_status = "unauthorized", 401


class JobsOff(BadInput):
    """The service has no Redis, and so no jobs."""

    code, http_status = "jobs_off", 404


class JobNotFound(BadInput):
    """No job has this id."""

    code, http_status = "job_not_found", 404


class TooBusy(BadInput):
    """The queue has too few free slots for the request.

    Args:
        message, hint: see `DetectorError`.
        retry_after_s: estimated seconds until enough slots are free.
    """

    code, http_status = "too_busy", 429

    def __init__(self, message: str, hint: str = "", retry_after_s: float = 1.0) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class FeedbackOff(BadInput):
    """The service takes no feedback."""

    code, http_status = "feedback_off", 404


class UnknownRequest(BadInput):
    """No answer with this request id was logged."""

    code, http_status = "unknown_request", 404


class AmbiguousRequest(BadInput):
    """The request had several files."""

    code = "ambiguous_request"


class OtherPicture(BadInput):
    """The picture is none of those of the request."""

    code = "other_picture"


class UnkeptPicture(BadInput):
    """The file is no picture that is kept."""

    code, http_status = "unkept_picture", 415


class RateLimited(TooBusy):
    """The client has sent as much feedback as it may within an hour."""

    code = "rate_limited"


class NotReady(ToolFailed):
    """No worker process has passed its self-test."""

    code, http_status = "not_ready", 503
    retry_after_s = 2.0  # a worker loads the model in about 2 s


class QueueUnavailable(NotReady):
    """Redis, which holds the jobs, does not answer."""

    code = "queue_unavailable"
    retry_after_s = 5.0


class JobLost(ToolFailed):
    """The workers that had a job ended without an answer."""

    code = "job_lost"


class OutOfResources(ToolFailed):
    """The service, or its machine, has no file descriptor, connection or memory left for the request."""

    code, http_status = "out_of_resources", 503
    retry_after_s = 5.0  # the requests that hold them end within seconds


class StorageFull(ToolFailed):
    """The disk that holds the uploads is full."""

    code, http_status = "storage_full", 507
    retry_after_s = 30.0  # uploads are deleted as they are answered; a disk filled by others takes longer


def resource_error(error: OSError) -> ToolFailed | None:
    """Return the error of the service for one of the system that the request did not cause; None for any other."""
    if error.errno in _FULL_DISK:
        return StorageFull("the disk that holds uploads is full", "retry later; the operator has to free some space")
    if error.errno in _OUT_OF_RESOURCES:
        return OutOfResources("the service has no file descriptor or memory left", "retry later")
    return None


def error_body(error: DetectorError) -> bytes:
    """Encode an error as JSON bytes."""
    return json.dumps({"error": {"code": error.code, "message": error.message, "hint": error.hint}}).encode()


def error_response(error: DetectorError) -> JSONResponse:
    """Return an error as a response, with Retry-After or WWW-Authenticate where they apply."""
    headers = {}
    if isinstance(error, TooBusy | NotReady | OutOfResources | StorageFull):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(json.loads(error_body(error)), error.http_status, headers)


def http_error_response(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an error of the router, for example 404, in the same JSON shape."""
    code = HTTPStatus(status).phrase.lower().replace(" ", "_")
    content = {"error": {"code": code, "message": message, "hint": HINTS.get(status, "")}}
    return JSONResponse(content, status, headers)
