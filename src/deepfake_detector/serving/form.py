"""A multipart form, byte by byte -> whether it is one file in the right field, within its limit."""

from __future__ import annotations

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from deepfake_detector.errors import BadInput, InputTooLarge

MIB = 2**20
# The name becomes part of a temporary file's, and file systems stop at 255.
MAX_NAME_BYTES = 200


@dataclass(frozen=True)
class Upload:
    """What one route takes: a file in `field`, of at most `max_bytes`."""

    field: str
    max_bytes: int


class UploadRejected(BadInput):
    """A request that is not one file in the right field."""

    code = "bad_upload"


class NotAForm(UploadRejected):
    """A body of another type than a multipart form."""

    code, http_status = "unsupported_media_type", 415


def too_large(upload: Upload) -> InputTooLarge:
    """The answer to a file over its limit."""
    return InputTooLarge(
        f"the {upload.field} is larger than {upload.max_bytes // MIB} MiB, the limit of this service",
        "send a smaller file, or judge it with `deepfake predict`",
    )


@dataclass
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: bytes = b""
    value: bytes = b""


class FormCheck:
    """A streaming look at a multipart form: exactly one part, in the right field, with a file name.

    Raises:
        UploadRejected: the form is broken or is not that.
        InputTooLarge: the file is over the limit.
    """

    def __init__(self, content_type: str, upload: Upload) -> None:
        self.upload = upload
        self._how = f"send one file: curl -F {upload.field}=@FILE"
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            declared = content_type or "of no declared type"
            raise NotAForm(f"the body is {declared}, not multipart/form-data with a boundary", self._how)
        self._part = _Part()
        self._parts = 0
        self._bytes = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise UploadRejected(f"the multipart form is broken: {error}", self._how) from error

    def finish(self) -> None:
        """Look back at the whole."""
        if self._parts == 0:
            raise UploadRejected(f"the form has no field {self.upload.field!r}", self._how)
        if not self._ended:
            raise UploadRejected("the multipart form ends in the middle", self._how)

    def _begin(self) -> None:
        self._part = _Part()
        self._parts += 1
        if self._parts > 1:
            raise UploadRejected("the form has more than one part", self._how)

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._part.name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.value += data[start:end]

    def _header_end(self) -> None:
        self._part.headers[self._part.name.lower()] = self._part.value
        self._part.name = self._part.value = b""

    def _headers_finished(self) -> None:
        kind, options = parse_options_header(self._part.headers.get(b"content-disposition", b""))
        name, file_name = options.get(b"name", b"").decode("utf-8", "replace"), options.get(b"filename")
        if kind != b"form-data" or name != self.upload.field:
            raise UploadRejected(f"the form has a field {name!r}, wanted {self.upload.field!r}", self._how)
        if not file_name:
            raise UploadRejected(f"field {name!r} holds text, not a file; addresses are not fetched", self._how)
        if len(file_name) > MAX_NAME_BYTES or b"\0" in file_name:
            raise UploadRejected(
                f"the file's name is longer than {MAX_NAME_BYTES} bytes", "send it under a shorter one"
            )

    def _data(self, _data: bytes, start: int, end: int) -> None:
        self._bytes += end - start
        if self._bytes > self.upload.max_bytes:
            raise too_large(self.upload)

    def _end(self) -> None:
        self._ended = True
