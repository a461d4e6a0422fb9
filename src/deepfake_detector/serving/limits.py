"""HTTP requests -> only such uploads as the service may read: one file, in one field, within its limit of bytes.

BentoML has no limit of its own on bodies, fetches addresses that are sent in place of files, and answers 500 to
multipart bodies it cannot parse. So an upload is read and checked here, and handed on only when it is whole.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from types import MappingProxyType
from typing import IO, TYPE_CHECKING

from starlette.datastructures import Headers

from deepfake_detector.errors import BadInput
from deepfake_detector.media.image import ImageLimits
from deepfake_detector.media.video_limits import VideoLimits
from deepfake_detector.serving.error_shape import refusal
from deepfake_detector.serving.form import FormCheck, Upload, UploadRejected, too_large

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ENVELOPE_BYTES = 64 * 1024  # what the multipart form may add to its file
IN_MEMORY_BYTES = 2**20  # larger bodies are spooled to disk
CHUNK_BYTES = 2**20


UPLOADS: Mapping[str, Upload] = MappingProxyType(
    {
        "/predict_image": Upload("image", ImageLimits().max_bytes),
        "/predict_video": Upload("video", VideoLimits().max_bytes),
    }
)


class TooBusy(BadInput):
    """More uploads at once than the service holds."""

    code, http_status = "too_busy", 503


class UploadGate:
    """ASGI middleware that lets good uploads through and answers all others itself.

    Args:
        app: the next application.
        uploads: path -> what it takes; other paths are passed on untouched.
        at_once: uploads held at the same time; each may take its limit on disk and in memory.
    """

    def __init__(self, app: ASGIApp, uploads: Mapping[str, Upload] = UPLOADS, at_once: int = 8) -> None:
        self.app = app
        self.uploads = uploads
        self.at_once = at_once
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass on."""
        upload = self.uploads.get(scope.get("path", "").rstrip("/")) if scope["type"] == "http" else None
        if upload is None or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        self._held += 1
        try:
            with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as body:
                try:
                    if self._held > self.at_once:
                        raise TooBusy(f"{self.at_once} uploads are being worked on already", "try again in a moment")
                    await _take(Headers(scope=scope), receive, upload, body)
                except BadInput as error:
                    await refusal(error)(scope, receive, send)
                    return
                await self.app(scope, _replay(body, receive), send)
        finally:
            self._held -= 1


async def _take(headers: Headers, receive: Receive, upload: Upload, body: IO[bytes]) -> None:
    """Read a body into `body`, checking on the way; raises BadInput."""
    check = FormCheck(headers.get("content-type", ""), upload)
    limit = upload.max_bytes + ENVELOPE_BYTES
    if int(headers.get("content-length") or 0) > limit:
        raise too_large(upload)
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise UploadRejected("the connection ended before the file did", "send it again")
        chunk = message.get("body", b"")
        size, more = size + len(chunk), message.get("more_body", False)
        if size > limit:
            raise too_large(upload)
        check.feed(chunk)
        body.write(chunk)
    check.finish()
    body.seek(0)


def _replay(body: IO[bytes], receive: Receive) -> Receive:
    """A receive function that gives the body again, and then whatever comes after it (a disconnect)."""
    done = False

    async def again() -> Message:
        nonlocal done
        if done:
            return await receive()
        chunk = body.read(CHUNK_BYTES)
        done = len(chunk) < CHUNK_BYTES
        return {"type": "http.request", "body": chunk, "more_body": not done}

    return again
