"""POST /jobs, GET and DELETE /jobs/ID: a long video -> a job in Redis, its state, its verdict."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deepfake_detector.serving.api_keys import TOKEN_NAME
from deepfake_detector.serving.dispatcher import Dispatcher
from deepfake_detector.serving.errors import JobsOff
from deepfake_detector.serving.jobs import JOB_UPLOAD_TIMEOUT_S, OFF_HINT, long_video_job
from deepfake_detector.serving.middleware import CLIENT, LOG_FIELDS
from deepfake_detector.serving.parameters import TEXT_FIELDS, read_job, read_parameters
from deepfake_detector.serving.route_errors import answers_errors
from deepfake_detector.serving.upload import MIB, RequestBody, UploadSpec

if TYPE_CHECKING:
    from deepfake_detector.serving.jobs_store import JobStore

JOBS_PATH = "/jobs"


@answers_errors
async def post_job(request: Request, body: RequestBody) -> Response:
    """Take a video and queue its job."""
    dispatcher, store = _dispatcher(request), _store(request)
    query, client, owner = read_parameters(request.query_params), _client(request), request.scope[CLIENT]
    await asyncio.to_thread(store.check_room, 0, client)  # what would not be accepted now is not read
    limit = store.options.job_upload_mib * MIB
    spec = UploadSpec("video", limit, text_fields=TEXT_FIELDS, timeout_s=JOB_UPLOAD_TIMEOUT_S)
    with await body.read_form(spec) as form, dispatcher.uploads.reader() as take:
        file = form.files[0]
        take(file.seek(0, 2))  # still on our disk while it is copied
        asked = read_job("video", query, form).model_dump(include=set(TEXT_FIELDS))
        job = long_video_job(store.options, asked)
        job_id = await asyncio.to_thread(store.submit, job, file, client, owner)
    request.scope[LOG_FIELDS]["job"] = job_id[:8]
    answer, _ = await asyncio.to_thread(store.describe, job_id, owner)
    return JSONResponse(answer.model_dump(mode="json"), 202, {"Location": f"{JOBS_PATH}/{job_id}"})


@answers_errors
async def get_job(request: Request, _: RequestBody) -> Response:
    """Answer with the state of a job and, once it has ended, its result."""
    store, job_id = _store(request), request.path_params["job_id"]
    answer, verdict = await asyncio.to_thread(store.describe, job_id, request.scope[CLIENT])
    if verdict is None:
        return JSONResponse(answer.model_dump(mode="json"))
    head = answer.model_dump_json(exclude={"result"}).encode()
    return Response(head[:-1] + b',"result":' + verdict + b"}", media_type="application/json")


@answers_errors
async def delete_job(request: Request, _: RequestBody) -> Response:
    """Delete a job with its video and result."""
    store, job_id = _store(request), request.path_params["job_id"]
    await asyncio.to_thread(store.delete, job_id, request.scope[CLIENT])
    return Response(status_code=204)


def _dispatcher(request: Request) -> Dispatcher:
    dispatcher: Dispatcher = request.app.state.dispatcher
    return dispatcher


def _store(request: Request) -> JobStore:
    store = _dispatcher(request).jobs
    if store is None:
        raise JobsOff("this service has no jobs", OFF_HINT)
    return store


def _client(request: Request) -> str:
    """Who has a share of the queue: a client with a key of its own, or else a network address."""
    name = request.scope[CLIENT]
    if name and name != TOKEN_NAME:
        return f"key {name}"
    return request.client.host if request.client else ""
