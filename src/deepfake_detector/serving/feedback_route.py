"""POST /feedback: JSON, or a form with the picture to keep -> the stored report, or an error in the usual shape."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import IO, Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deepfake_detector.errors import InputTooLarge
from deepfake_detector.feedback.store import MAX_NOTE, SUFFIXES, FeedbackReport
from deepfake_detector.media.file_type import HEAD_BYTES, file_type
from deepfake_detector.media.limits import ImageLimits
from deepfake_detector.serving.dispatcher import Dispatcher
from deepfake_detector.serving.errors import (
    BadParameter,
    BadUpload,
    FeedbackOff,
    UnkeptPicture,
)
from deepfake_detector.serving.feedback_intake import FeedbackFields, FeedbackIntake, FeedbackReceipt, ReturnedPicture
from deepfake_detector.serving.messages import Job, JobReport
from deepfake_detector.serving.middleware import CLIENT, LOG_FIELDS
from deepfake_detector.serving.route_errors import answers_errors
from deepfake_detector.serving.upload import MultipartForm, RequestBody, UploadSpec

FEEDBACK_PATH = "/feedback"
MAX_JSON_BYTES = 4096
_FIELDS_HINT = (
    "request_id is the X-Request-ID of the answer, label is real or fake, note a reason, keep=true keeps the picture"
)
_HOW = "send JSON, or a form: curl -F request_id=ID -F label=real -F keep=true -F picture=@FILE"


FEEDBACK_UPLOAD = UploadSpec(
    "picture",
    ImageLimits().max_bytes,
    text_fields=tuple(FeedbackFields.model_fields),
    min_files=0,
    max_text_bytes=4 * MAX_NOTE,
)


class JsonBody:
    """A body that is read as JSON; it has the methods of `MultipartForm` that `RequestBody` calls."""

    spec = UploadSpec("JSON body", MAX_JSON_BYTES)

    def __init__(self) -> None:
        self.data = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self.data += chunk
        if len(self.data) > MAX_JSON_BYTES:
            raise InputTooLarge(f"the JSON body has more than {MAX_JSON_BYTES} bytes", f"a note has up to {MAX_NOTE}")

    def finish(self) -> None:
        """Nothing is left to be checked."""

    def close(self) -> None:
        """Nothing is open."""

    def fields(self) -> FeedbackFields:
        """The content, checked."""
        try:
            content = json.loads(self.data)
        except (ValueError, RecursionError):
            raise BadUpload("the body is no JSON", _HOW) from None
        if not isinstance(content, dict):
            raise BadUpload(f"the body is a JSON {type(content).__name__}, not an object", _HOW)
        return _checked(content)


@answers_errors
async def post_feedback(request: Request, body: RequestBody) -> Response:
    """Answer POST /feedback."""
    report = await _receive(request, request.app.state.dispatcher, body)
    request.scope[LOG_FIELDS]["feedback_id"] = report.feedback_id
    picture = report.picture
    receipt = FeedbackReceipt(
        **report.model_dump(include={"feedback_id", "request_id", "reporter", "label"}),
        picture_expires_s=None if picture is None else picture.expires_s,
    )
    return JSONResponse(receipt.model_dump(), 201)


async def _receive(request: Request, dispatcher: Dispatcher, body: RequestBody) -> FeedbackReport:
    intake: FeedbackIntake | None = dispatcher.feedback
    if intake is None:
        raise FeedbackOff("this service takes no feedback", "the operator can set DEEPFAKE_SERVE_FEEDBACK to a folder")
    client = request.scope[CLIENT]
    intake.limiter.take(client)  # before the body is read and the log is searched
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        fields = (await body.read_into(JsonBody())).fields()
        if fields.keep:
            raise BadParameter("keep=true, and no picture", _HOW)
        return await _store(intake, fields, client, None)
    with await body.read_form(FEEDBACK_UPLOAD) as form:
        fields = _checked(_texts(form))
        if fields.keep != bool(form.files):
            problem = "keep=true, and no picture" if fields.keep else "a picture without keep=true: nothing was stored"
            raise BadParameter(problem, _HOW)
        if not form.files:
            return await _store(intake, fields, client, None)
        async with intake.turn:  # one picture at a time is in memory
            return await _store(intake, fields, client, await _returned_picture(dispatcher, body, form))


async def _store(
    intake: FeedbackIntake, fields: FeedbackFields, client: str, picture: ReturnedPicture | None
) -> FeedbackReport:
    arguments = (fields.request_id, fields.label, fields.note, client, picture)
    return await asyncio.to_thread(intake.store_report, *arguments)


def _texts(form: MultipartForm) -> dict[str, Any]:
    texts = {name: text.decode("utf-8", "replace") for name, text in form.texts.items()}
    missing = [name for name in ("request_id", "label") if name not in texts]
    if missing:
        raise BadUpload(f"the form has no field {missing[0]!r}", _HOW)
    return texts


def _checked(given: dict[str, Any]) -> FeedbackFields:
    try:
        return FeedbackFields.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name, value = ".".join(map(str, first["loc"])), str(first["input"])[:40]
        raise BadParameter(f"field {name} = {value!r}: {first['msg']}", _FIELDS_HINT) from None


async def _returned_picture(dispatcher: Dispatcher, body: RequestBody, form: MultipartForm) -> ReturnedPicture:
    """Have a worker score the picture, so that only pictures are kept, and only those of the request."""
    data = await asyncio.to_thread(_read_from_start, form.files[0])
    found = file_type(data[:HEAD_BYTES])
    if found is None or found.mime not in SUFFIXES:
        what = "of an unknown kind" if found is None else found.name
        raise UnkeptPicture(f"the file is {what}, which is not kept", f"kept are {', '.join(sorted(SUFFIXES))}")
    report = await _score(dispatcher, body, form)
    digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
    return ReturnedPicture(data, found.mime, digest, report.p_fake, dispatcher.about.sha256)


def _read_from_start(file: IO[bytes]) -> bytes:
    file.seek(0)
    data = file.read()
    file.seek(0)
    return data


async def _score(dispatcher: Dispatcher, body: RequestBody, form: MultipartForm) -> JobReport:
    """Score the picture without a line in the prediction log, which would count it twice.

    Raises:
        UnkeptPicture: it cannot be analysed.
    """
    dispatcher.check_ready()
    with dispatcher.admission.admit(1, "image"):
        future = asyncio.wrap_future(dispatcher.submit(Job(kind="image"), form.release())[0])
        result = await dispatcher.wait_for(future, body.disconnected())
    if result.report.status != 200:
        error = json.loads(result.body)["error"]
        raise UnkeptPicture(f"the picture cannot be analysed: {error['message']}", error["hint"])
    return result.report
