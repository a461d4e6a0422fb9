"""HTTP requests -> answers: POST /predict_image, /predict_video, /predict_images; GET /about, /docs, /ui, /metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from deepfake_detector.errors import DetectorError, ToolFailed
from deepfake_detector.media.limits import ImageLimits, VideoLimits
from deepfake_detector.serving.dispatcher import ClientDisconnected, Dispatcher
from deepfake_detector.serving.errors import BadParameter, error_response, http_error_response
from deepfake_detector.serving.messages import Job, JobResult, MediaKind
from deepfake_detector.serving.middleware import LOG_FIELDS
from deepfake_detector.serving.openapi import BATCH_FILES, openapi_document
from deepfake_detector.serving.upload import MIB, RequestBody, UploadSpec

PAGE, DOCS = (Path(__file__).with_name(name) for name in ("page", "docs"))
CLIENT_CLOSED_REQUEST = 499  # nginx's status: nobody reads the response


@dataclass(frozen=True)
class PredictionRoute:
    """What one route accepts, and how many slots of the queue a request takes."""

    kind: MediaKind
    upload: UploadSpec
    slots: int


PREDICTION_ROUTES: Mapping[str, PredictionRoute] = MappingProxyType(
    {
        "/predict_image": PredictionRoute("image", UploadSpec("image", ImageLimits().max_bytes), 1),
        "/predict_video": PredictionRoute("video", UploadSpec("video", VideoLimits().max_bytes), 4),
        "/predict_images": PredictionRoute(
            "image", UploadSpec("images", ImageLimits().max_bytes, BATCH_FILES, 100 * MIB), BATCH_FILES
        ),
    }
)
METRIC_ROUTES = frozenset({*PREDICTION_ROUTES, "/about", "/docs/", "/openapi.json", "/metrics", "/ui/", "/"})

logger = logging.getLogger("deepfake")


class PredictionParameters(BaseModel):
    """Query parameters of a prediction."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    explain: bool = False
    prior: float | None = Field(None, gt=0, lt=1)


def create_app(swagger_files: Path) -> Starlette:
    """Create the application; it needs a Dispatcher in `app.state.dispatcher` before its first request.

    Args:
        swagger_files: folder with the files of Swagger UI.
    """
    routes = [
        *(Route(path, _predict, methods=["POST"]) for path in PREDICTION_ROUTES),
        Route("/about", _about),
        Route("/metrics", _metrics),
        Route("/openapi.json", lambda _: JSONResponse(openapi_document())),
        Mount("/docs/static", StaticFiles(directory=swagger_files)),
        Mount("/docs", StaticFiles(directory=DOCS, html=True)),
        Route("/", lambda _: RedirectResponse("/ui/")),
        Mount("/ui", StaticFiles(directory=PAGE, html=True)),
    ]
    handlers = {HTTPException: _router_error, DetectorError: _known_error, Exception: _unexpected_error}
    return Starlette(routes=routes, exception_handlers=handlers)


async def _predict(request: Request) -> Response:
    dispatcher: Dispatcher = request.app.state.dispatcher
    route = PREDICTION_ROUTES[request.url.path]
    body = RequestBody(request)
    try:
        dispatcher.check_ready()
        parameters = _parameters(request)
        with dispatcher.admission.admit(route.slots):
            form = await body.read_form(route.upload)
            job = Job(kind=route.kind, explain=parameters.explain, prior=parameters.prior)
            futures = dispatcher.submit(job, form.files)
            results = await dispatcher.wait_for(
                _results(dispatcher, job, futures, request, route.slots), body.disconnected()
            )
    except ClientDisconnected:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    except DetectorError as error:
        await body.drain()
        request.scope[LOG_FIELDS]["error_code"] = error.code
        return error_response(error)
    if route.upload.max_files > 1:
        batch = b'{"answers":[' + b",".join(result.body for result in results) + b"]}"
        return Response(batch, media_type="application/json")
    return Response(results[0].body, results[0].report.status, media_type="application/json")


async def _results(
    dispatcher: Dispatcher, job: Job, futures: Sequence[Future[JobResult]], request: Request, slots: int
) -> list[JobResult]:
    """Wait for the results of all files of a request, in order, and add them to its access log line."""
    log_fields = request.scope[LOG_FIELDS]
    slots_per_file = max(slots // len(futures), 1)
    waiting = (dispatcher.result(job, future, log_fields["request_id"], slots_per_file) for future in futures)
    results = await asyncio.gather(*waiting)
    log_fields["verdict"] = " ".join(result.report.verdict or result.report.error_code for result in results)
    log_fields["faces"] = sum(result.report.faces for result in results)
    return results


def _parameters(request: Request) -> PredictionParameters:
    try:
        return PredictionParameters.model_validate(dict(request.query_params))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name, value = ".".join(map(str, first["loc"])), str(first["input"])[:40]
        hint = (
            "parameters: explain=true adds crops and heatmaps; prior=0.001 is the share of fakes at the file's source"
        )
        raise BadParameter(f"query parameter {name} = {value!r}: {first['msg']}", hint) from None


def _about(request: Request) -> Response:
    return JSONResponse(request.app.state.dispatcher.about.model_dump(mode="json"))


def _metrics(request: Request) -> Response:
    metrics = request.app.state.dispatcher.metrics
    return Response(metrics.render(), media_type=metrics.content_type)


def _router_error(_: Request, error: Any) -> Response:
    return http_error_response(error.status_code, str(error.detail), error.headers)


def _known_error(_: Request, error: Any) -> Response:
    return error_response(error)


def _unexpected_error(request: Request, error: Exception) -> Response:
    request_id = request.scope[LOG_FIELDS]["request_id"]
    logger.error("unexpected error in the service", exc_info=error, extra={"request_id": request_id})
    return error_response(ToolFailed(f"{type(error).__name__} in the service", "report it with the request id"))
