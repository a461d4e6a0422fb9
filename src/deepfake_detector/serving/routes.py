"""HTTP requests -> answers: POST /predict_image, /predict_video, /predict_images; GET /about, /docs, /ui, ..."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from deepfake_detector.errors import DetectorError, ToolFailed
from deepfake_detector.media.limits import ImageLimits, VideoLimits
from deepfake_detector.serving.dispatcher import Dispatcher
from deepfake_detector.serving.errors import error_response, http_error_response, resource_error
from deepfake_detector.serving.feedback_route import FEEDBACK_PATH, post_feedback
from deepfake_detector.serving.jobs_route import JOBS_PATH, delete_job, get_job, post_job
from deepfake_detector.serving.messages import Job, JobResult, MediaKind
from deepfake_detector.serving.middleware import LOG_FIELDS, ROOT_PATH
from deepfake_detector.serving.openapi import BATCH_FILES, openapi_document
from deepfake_detector.serving.parameters import TEXT_FIELDS, read_job, read_parameters
from deepfake_detector.serving.route_errors import answers_errors
from deepfake_detector.serving.upload import MIB, RequestBody, UploadSpec

PAGE, DOCS = (Path(__file__).with_name(name) for name in ("page", "docs"))


@dataclass(frozen=True)
class PredictionRoute:
    """What one route accepts, and how many slots of the queue a request takes."""

    kind: MediaKind
    upload: UploadSpec
    slots: int


PREDICTION_ROUTES: Mapping[str, PredictionRoute] = MappingProxyType(
    {
        "/predict_image": PredictionRoute(
            "image", UploadSpec("image", ImageLimits().max_bytes, text_fields=TEXT_FIELDS), 1
        ),
        "/predict_video": PredictionRoute(
            "video", UploadSpec("video", VideoLimits().max_bytes, text_fields=TEXT_FIELDS), 4
        ),
        "/predict_images": PredictionRoute(
            "image", UploadSpec("images", ImageLimits().max_bytes, BATCH_FILES, 100 * MIB, TEXT_FIELDS), BATCH_FILES
        ),
    }
)
OTHER_ROUTES = (
    "/",
    "/about",
    FEEDBACK_PATH,
    JOBS_PATH,
    f"{JOBS_PATH}/",
    "/docs/",
    "/docs.json",
    "/metrics",
    "/openapi.json",
    "/schema.json",
    "/ui/",
)
METRIC_ROUTES = frozenset({*PREDICTION_ROUTES, *OTHER_ROUTES})

logger = logging.getLogger("deepfake")


def create_app(swagger_files: Path, bentoml_schema: Callable[[], dict[str, Any]]) -> Starlette:
    """Create the application; it needs a Dispatcher in `app.state.dispatcher` before its first request.

    Args:
        swagger_files: folder with the files of Swagger UI.
        bentoml_schema: returns the declared methods, from which BentoML's clients learn names and parameters.
    """
    routes = [
        *(Route(path, _predict, methods=["POST"]) for path in PREDICTION_ROUTES),
        Route(FEEDBACK_PATH, post_feedback, methods=["POST"]),
        Route(JOBS_PATH, post_job, methods=["POST"]),
        Route(f"{JOBS_PATH}/{{job_id}}", get_job, methods=["GET"]),
        Route(f"{JOBS_PATH}/{{job_id}}", delete_job, methods=["DELETE"]),
        Route("/about", _about),
        Route("/metrics", _metrics),
        *(Route(path, _healthy) for path in ("/livez", "/healthz")),
        Route("/readyz", _ready),
        *(Route(path, _openapi) for path in ("/openapi.json", "/docs.json")),  # the second is BentoML's name
        Route("/schema.json", lambda _: JSONResponse(bentoml_schema())),
        Mount("/docs/static", StaticFiles(directory=swagger_files)),
        Mount("/docs", StaticFiles(directory=DOCS, html=True)),
        Route("/", lambda _: RedirectResponse("/ui/")),
        Mount("/ui", StaticFiles(directory=PAGE, html=True)),
    ]
    handlers = {
        HTTPException: _router_error,
        DetectorError: _known_error,
        OSError: _system_error,
        Exception: _unexpected_error,
    }
    return Starlette(routes=routes, exception_handlers=handlers)


@answers_errors
async def _predict(request: Request, body: RequestBody) -> Response:
    dispatcher: Dispatcher = request.app.state.dispatcher
    route = PREDICTION_ROUTES[request.scope["path"]]
    dispatcher.check_ready()
    query = read_parameters(request.query_params)
    dispatcher.admission.check(route.slots)  # what would not be admitted now is not read
    # Slots are taken once the body is complete: a slow upload holds none that another request could use.
    with await body.read_form(route.upload) as form, dispatcher.admission.admit(route.slots, route.kind):
        job = read_job(route.kind, query, form)
        futures = dispatcher.submit(job, form.release())
        results = await dispatcher.wait_for(
            _results(dispatcher, job, futures, request, route.slots), body.disconnected()
        )
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


def _healthy(_: Request) -> Response:
    return PlainTextResponse("\n")


def _ready(request: Request) -> Response:
    request.app.state.dispatcher.check_ready()
    return PlainTextResponse("\n")


def _openapi(request: Request) -> Response:
    return JSONResponse(openapi_document(request.scope[ROOT_PATH]))


def _about(request: Request) -> Response:
    return JSONResponse(request.app.state.dispatcher.describe().model_dump(mode="json"))


def _metrics(request: Request) -> Response:
    metrics = request.app.state.dispatcher.metrics
    return Response(metrics.render(), media_type=metrics.content_type)


def _router_error(_: Request, error: Any) -> Response:
    return http_error_response(error.status_code, str(error.detail), error.headers)


def _known_error(_: Request, error: Any) -> Response:
    return error_response(error)


def _system_error(request: Request, error: Any) -> Response:
    known = resource_error(error)
    return error_response(known) if known is not None else _unexpected_error(request, error)


def _unexpected_error(request: Request, error: Exception) -> Response:
    request_id = request.scope[LOG_FIELDS]["request_id"]
    logger.error("unexpected error in the service", exc_info=error, extra={"request_id": request_id})
    return error_response(ToolFailed(f"{type(error).__name__} in the service", "report it with the request id"))
