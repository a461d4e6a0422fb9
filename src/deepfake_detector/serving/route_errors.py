"""Handler of a request with a body -> route whose errors are answers: JSON with code and hint, or 499."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps

from starlette.requests import Request
from starlette.responses import Response

from deepfake_detector.errors import DetectorError
from deepfake_detector.serving.dispatcher import ClientDisconnected
from deepfake_detector.serving.errors import error_response, resource_error
from deepfake_detector.serving.middleware import LOG_FIELDS
from deepfake_detector.serving.upload import RequestBody

CLIENT_CLOSED_REQUEST = 499  # nginx's code for a client that is no longer there; only the log sees it


def answers_errors(
    handler: Callable[[Request, RequestBody], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Make a route of a handler: its errors become responses, after a short rest of the body was read."""

    @wraps(handler)
    async def route(request: Request) -> Response:
        body = RequestBody(request, request.app.state.dispatcher.uploads)
        try:
            return await handler(request, body)
        except ClientDisconnected:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except (DetectorError, OSError) as error:
            known = error if isinstance(error, DetectorError) else resource_error(error)
            if known is None:
                raise
            await body.drain()
            request.scope[LOG_FIELDS]["error_code"] = known.code
            return error_response(known)

    return route
