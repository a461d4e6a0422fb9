"""The body of a request -> its files and text fields, read in bounded time and space; no file refers to others."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, Self, TypeVar

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from deepfake_detector.errors import InputTooLarge
from deepfake_detector.serving.errors import BadUpload, ExternalReference, TooBusy, TooSlow, UnsupportedMediaType

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MIB = 2**20
FORM_OVERHEAD_BYTES = 64 * 1024  # what the multipart form may add to its files
IDLE_TIMEOUT_S, UPLOAD_TIMEOUT_S = 15.0, 100.0  # without new bytes; for the whole upload
RATE_WINDOW_S, MIN_BYTES_PER_S = 10.0, 1024  # slower uploads are ended: they keep a connection from others
MAX_UNFINISHED_BYTES = 4096 * MIB  # of all uploads that are being read, on disk
MAX_TEXT_BYTES = 100  # of a text field
DRAIN_BYTES, DRAIN_TIMEOUT_S = 2 * MIB, 2.0  # how much of a rejected body is still read
HEAD_BYTES = 4096  # searched for references
_TEXT_PREFIX = b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"  # byte order marks and white space before text
_FORMATS_BY_START = {
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
_FORMATS_IN_XML = {b"<svg": "an SVG drawing", b"<mpd": "a DASH playlist", b"<smoothstreamingmedia": "a playlist"}

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


@dataclass(frozen=True)
class UploadSpec:
    """What one route accepts.

    Attributes:
        field: name of the form field with the files.
        max_bytes: of each file.
        max_files: number of files.
        max_total_bytes: of all files; 0: max_bytes * max_files.
        text_fields: names of the form fields that may hold a short text.
        timeout_s: for the whole upload.
        min_files: number of files that it must have.
        max_text_bytes: of each text field.
    """

    field: str
    max_bytes: int
    max_files: int = 1
    max_total_bytes: int = 0
    text_fields: tuple[str, ...] = ()
    timeout_s: float = UPLOAD_TIMEOUT_S
    min_files: int = 1
    max_text_bytes: int = MAX_TEXT_BYTES

    @property
    def max_body_bytes(self) -> int:
        """Size of the largest valid body."""
        return (self.max_total_bytes or self.max_bytes * self.max_files) + FORM_OVERHEAD_BYTES


class UploadStore:
    """Where uploads are written, and a bound on the bytes of those that are being read; use it from one event loop.

    Args:
        folder: of their files, which have no name there; None: the system's for temporary files.
        max_bytes: of all together.
    """

    def __init__(self, folder: Path | None = None, max_bytes: int = MAX_UNFINISHED_BYTES) -> None:
        self.folder, self.max_bytes, self.used_bytes = folder, max_bytes, 0

    @contextmanager
    def reader(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that counts the bytes of one upload for the duration of the block.

        Raises:
            TooBusy: from that function; all uploads together would have more than `max_bytes`.
        """
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if self.used_bytes + size > self.max_bytes:
                message = f"uploads of {self.used_bytes // MIB:,} MiB in all are being read, the limit of this service"
                raise TooBusy(message, "retry after the seconds in Retry-After", IDLE_TIMEOUT_S)
            self.used_bytes += size
            taken += size

        try:
            yield take
        finally:
            self.used_bytes -= taken


class _Rate:
    """Checks that bytes arrive at MIN_BYTES_PER_S at least, in each window of RATE_WINDOW_S."""

    def __init__(self) -> None:
        self._start_s, self._bytes = time.monotonic(), 0

    def count(self, size: int) -> None:
        """Count new bytes.

        Raises:
            TooSlow: a window has ended with too few.
        """
        self._bytes += size
        elapsed_s = time.monotonic() - self._start_s
        if elapsed_s < RATE_WINDOW_S:
            return
        if self._bytes < MIN_BYTES_PER_S * elapsed_s:
            raise TooSlow(
                f"{self._bytes:,} bytes of the upload arrived in {elapsed_s:.0f} seconds; at least {MIN_BYTES_PER_S:,} "
                "per second are expected",
                "send it again over a faster connection",
            )
        self._start_s, self._bytes = time.monotonic(), 0


class BodyParser(Protocol):
    """What `RequestBody` needs of a parser: see `MultipartForm`."""

    spec: UploadSpec

    def feed(self, chunk: bytes) -> None: ...  # noqa: D102
    def finish(self) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


Parser = TypeVar("Parser", bound=BodyParser)


class RequestBody:
    """The body of one request.

    Args:
        request: a request whose body has not been read.
        store: shared by all requests.
    """

    def __init__(self, request: Request, store: UploadStore | None = None) -> None:
        self._store = store or UploadStore()
        self._receive: Receive = request.receive
        self._content_type = request.headers.get("content-type", "")
        length = request.headers.get("content-length", "")
        self._declared_bytes = int(length) if length.isdecimal() else 0  # a chunked body declares none and is counted
        self._complete = False

    async def read_form(self, spec: UploadSpec) -> MultipartForm:
        """Read the body as a form.

        Raises:
            BadUpload, InputTooLarge: see `MultipartForm`.
            ExternalReference: see `reject_external_references`.
            TooSlow: the upload stalls, is too slow or takes too long.
            TooBusy: see `UploadStore`.
        """
        return await self.read_into(MultipartForm(self._content_type, spec, self._store.folder))

    async def read_into(self, form: Parser) -> Parser:
        """Have a parser read the body; the errors are those of `read_form`, and the parser's own."""
        spec = form.spec
        try:
            if self._declared_bytes > spec.max_body_bytes:
                raise too_large_error(spec)
            async with asyncio.timeout(spec.timeout_s):
                with self._store.reader() as take:
                    await self._feed(form, take)
            form.finish()
        except TimeoutError:
            form.close()
            raise TooSlow(f"the upload took more than {spec.timeout_s:.0f} seconds", "send a smaller file") from None
        except BaseException:
            form.close()
            raise
        return form

    async def drain(self) -> None:
        """Read the rest if it is short: a client that is still sending would not see the error response."""
        size = 0
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                while not self._complete and max(size, self._declared_bytes) <= DRAIN_BYTES:
                    size += len(await self._next_chunk(IDLE_TIMEOUT_S))
        except (BadUpload, TooSlow, TimeoutError):
            return

    async def disconnected(self) -> None:
        """Wait, once the body is complete, until the client disconnects."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _feed(self, form: BodyParser, take: Callable[[int], None]) -> None:
        size, rate = 0, _Rate()
        while not self._complete:
            chunk = await self._next_chunk(IDLE_TIMEOUT_S)
            size += len(chunk)
            if size > form.spec.max_body_bytes:
                raise too_large_error(form.spec)
            take(len(chunk))
            if not self._complete:
                rate.count(len(chunk))
            form.feed(chunk)

    async def _next_chunk(self, timeout_s: float) -> bytes:
        try:
            async with asyncio.timeout(timeout_s):
                message = await self._receive()
        except TimeoutError:
            raise TooSlow(f"no bytes of the upload arrived for {timeout_s:.0f} seconds", "send it again") from None
        self._complete = not message.get("more_body", False)
        if message["type"] == "http.disconnect":
            raise BadUpload("the connection ended before the file did", "send it again")
        chunk: bytes = message.get("body", b"")
        return chunk


@dataclass
class _PartHeaders:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: bytes = b""  # of the header that is being read
    value: bytes = b""


class MultipartForm:
    """The fields received so far. `files` have no name on disk: they vanish when closed or with this process.

    Args:
        content_type: of the request.
        spec: what the route accepts.
        folder: of the files; None: the system's for temporary files.

    Raises:
        BadUpload, InputTooLarge: the form is malformed, does not match the spec, or is too large.
    """

    def __init__(self, content_type: str, spec: UploadSpec, folder: Path | None = None) -> None:
        self.spec, self._folder = spec, folder
        self.files: list[IO[bytes]] = []
        self.texts: dict[str, bytes] = {}
        self._hint = f"send a file: curl -F {spec.field}=@FILE"
        media_type, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if media_type != b"multipart/form-data" or not boundary:
            declared = content_type or "of no declared type"
            raise UnsupportedMediaType(f"the body is {declared}, not multipart/form-data with a boundary", self._hint)
        self._part, self._part_bytes, self._text_name, self._ended = _PartHeaders(), 0, "", False
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_end": self._on_end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise UnsupportedMediaType(f"the form's boundary is invalid: {error}", self._hint) from error

    def feed(self, chunk: bytes) -> None:
        """Parse the next bytes."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise BadUpload(f"the multipart form is malformed: {error}", self._hint) from error

    def finish(self) -> None:
        """Check that the form is complete, and reject files that refer to other files."""
        if len(self.files) < self.spec.min_files:
            raise BadUpload(f"the form has no field {self.spec.field!r}", self._hint)
        if not self._ended:
            raise BadUpload("the multipart form is incomplete", self._hint)
        for file in self.files:
            file.flush()
            file.seek(0)
            reject_external_references(file.read(HEAD_BYTES))

    def close(self) -> None:
        """Close, and so delete, the files."""
        for file in self.files:
            with suppress(OSError):  # a full disk: what is buffered cannot be written, and nobody needs it
                file.close()

    def __enter__(self) -> Self:
        """Use the form in a `with` block, which closes the files that nobody else has to close."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files unless they were passed on; see `release`."""
        self.close()

    def release(self) -> list[IO[bytes]]:
        """Pass the files on: whoever takes them closes them."""
        files, self.files = self.files, []
        return files

    def _on_part_begin(self) -> None:
        self._part, self._part_bytes, self._text_name = _PartHeaders(), 0, ""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._part.name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.value += data[start:end]

    def _on_header_end(self) -> None:
        self._part.headers[self._part.name.lower()] = self._part.value
        self._part.name = self._part.value = b""

    def _on_headers_finished(self) -> None:
        disposition, options = parse_options_header(self._part.headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if disposition == b"form-data" and name in self.spec.text_fields and b"filename" not in options:
            self._begin_text(name)
            return
        if disposition != b"form-data" or name != self.spec.field:
            raise BadUpload(f"the form has a field {name[:40]!r}, expected {self.spec.field!r}", self._hint)
        if not options.get(b"filename"):
            raise BadUpload(f"field {name!r} holds text, not a file; addresses are not fetched", self._hint)
        if len(self.files) == self.spec.max_files:
            raise BadUpload(f"the form has more than {self.spec.max_files} file(s)", self._hint)
        self.files.append(tempfile.TemporaryFile(dir=self._folder))  # noqa: SIM115  (whoever gets the form closes it)

    def _begin_text(self, name: str) -> None:
        if name in self.texts:
            raise BadUpload(f"the form has two fields {name!r}", "send one")
        self._text_name, self.texts[name] = name, b""

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._part_bytes += end - start
        if self._text_name:
            self._add_text(data[start:end])
            return
        if self._part_bytes > self.spec.max_bytes:
            raise too_large_error(self.spec)
        self.files[-1].write(memoryview(data)[start:end])

    def _add_text(self, data: bytes) -> None:
        if self._part_bytes > self.spec.max_text_bytes:
            message = f"field {self._text_name!r} holds more than {self.spec.max_text_bytes} bytes"
            raise BadUpload(message, self._hint)
        self.texts[self._text_name] += data

    def _on_end(self) -> None:
        self._ended = True


def reject_external_references(head: bytes) -> None:
    """Reject formats that refer to other files and hosts, before a decoder reads them.

    libav is configured to open none of them and Pillow reads no SVG; this is the first of two barriers.

    Args:
        head: the first HEAD_BYTES of a file.

    Raises:
        ExternalReference: the file is a playlist, script, drawing or address.
    """
    # UTF-16 becomes readable without its zero bytes; no picture or video starts with these words.
    text = head.lstrip(_TEXT_PREFIX).replace(b"\0", b"").lower()
    found = next((name for start, name in _FORMATS_BY_START.items() if text.startswith(start)), None)
    if found is None and text.startswith((b"<?xml", b"<!--", b"<!doctype")):
        found = next((name for tag, name in _FORMATS_IN_XML.items() if tag in text), "an XML document")
    if found is not None:
        message = f"the upload is {found}; files that it refers to are not fetched"
        raise ExternalReference(message, "send the picture or the video itself")


def too_large_error(spec: UploadSpec) -> InputTooLarge:
    """Return the error for a file or body over its limit."""
    limit = f"{spec.max_bytes // MIB} MiB"
    if spec.max_files > 1:
        limit += f" per file, {spec.max_body_bytes // MIB} MiB in total"
    return InputTooLarge(
        f"the {spec.field} is larger than {limit}, the limit of this service",
        "send a smaller file: a smaller version of the picture, or the part of the video with the face",
    )
