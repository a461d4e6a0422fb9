"""A multipart body, chunk by chunk -> the files of one field, nameless on disk, each within its limit of bytes.

BentoML and Starlette would read the whole body first, whatever its size, and keep the client's file names.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from deepfake_detector.errors import InputTooLarge
from deepfake_detector.serving.pointers import HEAD_BYTES, refuse_pointers
from deepfake_detector.serving.refusals import NotAForm, UploadRejected

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

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
