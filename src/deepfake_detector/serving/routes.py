"""HTTP requests -> answers: POST /predict_image, /predict_video, /predict_images; GET /about, /docs, /ui, /metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
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
from deepfake_detector.media.image import ImageLimits
from deepfake_detector.media.video_limits import VideoLimits
from deepfake_detector.serving.dispatcher import ClientGone, Desk
from deepfake_detector.serving.errors import BadQuestion, foreign, refusal
from deepfake_detector.serving.messages import Done, Job, Kind
from deepfake_detector.serving.middleware import NOTES
from deepfake_detector.serving.openapi import description
from deepfake_detector.serving.upload import MIB, Body, Upload

PAGE, DOCS = (Path(__file__).with_name(name) for name in ("page", "docs"))
BATCH = 16  # pictures in one request
UPLOADS: Mapping[str, tuple[Kind, Upload, int]] = MappingProxyType(
    {  # path -> kind, what it takes, places in the line per file
        "/predict_image": ("image", Upload("image", ImageLimits().max_bytes), 1),
        "/predict_video": ("video", Upload("video", VideoLimits().max_bytes), 4),
        "/predict_images": ("image", Upload("images", ImageLimits().max_bytes, BATCH, 100 * MIB), BATCH),
    }
)
COUNTED = frozenset({*UPLOADS, "/about", "/docs/", "/openapi.json", "/metrics", "/ui/", "/"})

logger = logging.getLogger("deepfake")


class Question(BaseModel):
    """What may stand behind the question mark."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    explain: bool = False
    prior: float | None = Field(None, gt=0, lt=1)


def application(static: Path) -> Starlette:
    """The application; it answers once `state.desk` is a Desk.

    Args:
        static: folder with Swagger UI's files.
    """
    routes = [
        *(Route(path, _predict, methods=["POST"]) for path in UPLOADS),
        Route("/about", _about),
        Route("/metrics", _metrics),
        Route("/openapi.json", lambda _: JSONResponse(description())),
        Mount("/docs/static", StaticFiles(directory=static)),
        Mount("/docs", StaticFiles(directory=DOCS, html=True)),
        Route("/", lambda _: RedirectResponse("/ui/")),
        Mount("/ui", StaticFiles(directory=PAGE, html=True)),
    ]
    handlers = {HTTPException: _router_error, DetectorError: _known_error, Exception: _unknown_error}
    return Starlette(routes=routes, exception_handlers=handlers)


async def _predict(request: Request) -> Response:
    desk: Desk = request.app.state.desk
    kind, upload, places = UPLOADS[request.url.path]
    body = Body(request)
    try:
        with ExitStack() as held:
            desk.check_ready()
            question = _question(request)
            held.enter_context(desk.line.hold(places))
            form = await body.form(upload)
            job = Job(kind=kind, explain=question.explain, prior=question.prior)
            orders = desk.order(job, form.files)
            answers = await desk.patiently(_all(desk, job, orders, request, places), body.hung_up())
    except ClientGone:
        return Response(status_code=499)
    except DetectorError as error:
        await body.drain()
        request.scope[NOTES]["code"] = error.code
        return refusal(error)
    if upload.most_files > 1:
        whole = b'{"answers":[' + b",".join(done.body for done in answers) + b"]}"
        return Response(whole, media_type="application/json")
    return Response(answers[0].body, answers[0].report.status, media_type="application/json")


async def _all(desk: Desk, job: Job, orders: Sequence[Future[Done]], request: Request, places: int) -> list[Done]:
    notes = request.scope[NOTES]
    share = max(places // len(orders), 1)
    answers = await asyncio.gather(*(desk.judge(job, order, notes["request_id"], share) for order in orders))
    reports = [done.report for done in answers]
    notes["verdict"] = " ".join(report.verdict or report.code for report in reports)
    notes["faces"] = sum(report.faces for report in reports)
    return answers


def _question(request: Request) -> Question:
    try:
        return Question.model_validate(dict(request.query_params))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name, given = ".".join(map(str, first["loc"])), str(first["input"])[:40]
        hint = "explain=true adds pictures, prior=0.001 the share of fakes where the file comes from"
        raise BadQuestion(f"parameter {name} = {given!r}: {first['msg']}", hint) from None


def _about(request: Request) -> Response:
    return JSONResponse(request.app.state.desk.about.model_dump(mode="json"))


def _metrics(request: Request) -> Response:
    metrics = request.app.state.desk.metrics
    return Response(metrics.render(), media_type=metrics.content_type)


def _router_error(_: Request, error: Any) -> Response:
    return foreign(error.status_code, str(error.detail), error.headers)


def _known_error(_: Request, error: Any) -> Response:
    return refusal(error)


def _unknown_error(request: Request, error: Exception) -> Response:
    logger.error("the service failed", exc_info=error, extra={"request_id": request.scope[NOTES]["request_id"]})
    return refusal(ToolFailed(f"{type(error).__name__} in the service", "report it with the request's id"))
