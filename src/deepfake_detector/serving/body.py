"""A request's body as it arrives -> a form with its files, or a refusal; no more is read than can be right."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import Request

from deepfake_detector.serving.form import MIB, Form, Upload, too_large
from deepfake_detector.serving.refusals import TooSlow, UploadRejected

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

IDLE_S, UPLOAD_S = 20.0, 100.0  # an upload that stands still so long, or takes so long, is given up
DRAIN_BYTES, DRAIN_S = 2 * MIB, 2.0  # what is still read of a body that was refused


class Body:
    """The body of one request.

    Args:
        request: nothing of it has been read.
    """

    def __init__(self, request: Request) -> None:
        self._receive: Receive = request.receive
        self._type = request.headers.get("content-type", "")
        declared = request.headers.get("content-length", "")
        self._declared = int(declared) if declared.isdecimal() else 0  # chunked: it is counted
        self._whole = False

    async def form(self, upload: Upload) -> Form:
        """Read it.

        Raises:
            UploadRejected, InputTooLarge: see `Form`.
            TooSlow: it stands still.
        """
        form = Form(self._type, upload)
        try:
            if self._declared > upload.body_bytes:
                raise too_large(upload)
            async with asyncio.timeout(UPLOAD_S):
                await self._read(form)
            form.finish()
        except TimeoutError:
            form.close()
            raise TooSlow(f"the upload took more than {UPLOAD_S:.0f} seconds", "send a smaller file") from None
        except BaseException:
            form.close()
            raise
        return form

    async def _read(self, form: Form) -> None:
        size = 0
        while not self._whole:
            chunk = await self._next(IDLE_S)
            size += len(chunk)
            if size > form.upload.body_bytes:
                raise too_large(form.upload)
            form.feed(chunk)

    async def drain(self) -> None:
        """Read what is left if it is little: a client that is still sending would not see why it was refused."""
        size = 0
        try:
            while not self._whole and max(size, self._declared) <= DRAIN_BYTES:
                size += len(await self._next(DRAIN_S))
        except (UploadRejected, TooSlow):
            return

    async def hung_up(self) -> None:
        """Wait until the client goes, once the body is whole."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _next(self, idle_s: float) -> bytes:
        try:
            async with asyncio.timeout(idle_s):
                message = await self._receive()
        except TimeoutError:
            raise TooSlow(f"nothing of the upload came for {idle_s:.0f} seconds", "send it again") from None
        self._whole = not message.get("more_body", False)
        if message["type"] == "http.disconnect":
            raise UploadRejected("the connection ended before the file did", "send it again")
        chunk: bytes = message.get("body", b"")
        return chunk
