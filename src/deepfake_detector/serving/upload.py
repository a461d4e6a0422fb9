"""The first bytes of an upload -> whether it is a playlist, script or drawing that names other files and hosts.

libav is told to open none of these and Pillow knows no SVG; here they are refused before any decoder sees a byte.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from deepfake_detector.errors import InputTooLarge
from deepfake_detector.serving.errors import NotAForm, PointsElsewhere, TooSlow, UploadRejected

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

HEAD_BYTES = 4096
_BLANK = b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"  # byte order marks and white space may stand before text
_STARTS = {
    b"#extm3u": "an HLS playlist",
    b"ffconcat": "a concat script",
    b"<mpd": "a DASH playlist",
    b"<smoothstreamingmedia": "a Smooth Streaming playlist",
    b"<svg": "an SVG drawing",
    b"[playlist]": "a playlist",
    b"v=0\r": "a session description (SDP)",
    b"v=0\n": "a session description (SDP)",
    b"rtsp://": "an address",
    b"http://": "an address",
    b"https://": "an address",
    b"file:": "an address",
}
_INSIDE_XML = {b"<svg": "an SVG drawing", b"<mpd": "a DASH playlist", b"<smoothstreamingmedia": "a playlist"}


def refuse_pointers(head: bytes) -> None:
    """Look at the first HEAD_BYTES of a file.

    Raises:
        PointsElsewhere: it is text that names other files.
    """
    # UTF-16 becomes readable by leaving out its zero bytes; no picture or video starts with such words.
    text = head.lstrip(_BLANK).replace(b"\0", b"").lower()
    found = next((what for start, what in _STARTS.items() if text.startswith(start)), None)
    if found is None and text.startswith((b"<?xml", b"<!--", b"<!doctype")):
        found = next((what for mark, what in _INSIDE_XML.items() if mark in text), "an XML document")
    if found is not None:
        raise PointsElsewhere(
            f"the upload is {found}; what it names is not fetched", "send the picture or the video itself"
        )


MIB = 2**20
ENVELOPE_BYTES = 64 * 1024  # what the multipart form may add to its files


@dataclass(frozen=True)
class Upload:
    """What one route takes: `most_files` files in `field`, each of at most `max_bytes`, all of `max_total_bytes`."""

    field: str
    max_bytes: int
    most_files: int = 1
    max_total_bytes: int = 0  # 0: as many as the files may have

    @property
    def body_bytes(self) -> int:
        """The largest body that can be right."""
        return (self.max_total_bytes or self.max_bytes * self.most_files) + ENVELOPE_BYTES


@dataclass
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: bytes = b""
    value: bytes = b""


class Form:
    """The files that have come so far. They have no name on disk: they are gone when closed, or with this process.

    Args:
        content_type: of the request.
        upload: what is wanted.

    Raises:
        UploadRejected, InputTooLarge: the form is broken, is not what is wanted, or is too large.
    """

    def __init__(self, content_type: str, upload: Upload) -> None:
        self.upload = upload
        self.files: list[IO[bytes]] = []
        self._how = f"send a file: curl -F {upload.field}=@FILE"
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            declared = content_type or "of no declared type"
            raise NotAForm(f"the body is {declared}, not multipart/form-data with a boundary", self._how)
        self._part, self._bytes, self._ended = _Part(), 0, False
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise NotAForm(f"the form's boundary cannot be used: {error}", self._how) from error

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise UploadRejected(f"the multipart form is broken: {error}", self._how) from error

    def finish(self) -> None:
        """Look back at the whole, and refuse files that point elsewhere."""
        if not self.files:
            raise UploadRejected(f"the form has no field {self.upload.field!r}", self._how)
        if not self._ended:
            raise UploadRejected("the multipart form ends in the middle", self._how)
        for file in self.files:
            file.flush()
            file.seek(0)
            refuse_pointers(file.read(HEAD_BYTES))

    def close(self) -> None:
        """Forget the files."""
        for file in self.files:
            file.close()

    def _part_begin(self) -> None:
        self._part, self._bytes = _Part(), 0
        if len(self.files) == self.upload.most_files:
            raise UploadRejected(f"the form has more than {self.upload.most_files} part(s)", self._how)

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._part.name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.value += data[start:end]

    def _header_end(self) -> None:
        self._part.headers[self._part.name.lower()] = self._part.value
        self._part.name = self._part.value = b""

    def _headers_finished(self) -> None:
        kind, options = parse_options_header(self._part.headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if kind != b"form-data" or name != self.upload.field:
            raise UploadRejected(f"the form has a field {name[:40]!r}, wanted {self.upload.field!r}", self._how)
        if not options.get(b"filename"):
            raise UploadRejected(f"field {name!r} holds text, not a file; addresses are not fetched", self._how)
        self.files.append(tempfile.TemporaryFile())  # noqa: SIM115  (closed by whoever the form is handed to)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._bytes += end - start
        if self._bytes > self.upload.max_bytes:
            raise too_large(self.upload)
        self.files[-1].write(memoryview(data)[start:end])

    def _end(self) -> None:
        self._ended = True


def too_large(upload: Upload) -> InputTooLarge:
    """The answer to a body over its limit."""
    most = f"{upload.max_bytes // MIB} MiB" + (
        f" a file, {upload.body_bytes // MIB} MiB in all" * (upload.most_files > 1)
    )
    return InputTooLarge(
        f"the {upload.field} is larger than {most}, the limit of this service",
        "send a smaller file, or judge it with `deepfake predict`",
    )


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
