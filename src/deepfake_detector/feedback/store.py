"""Labels from clients and decisions of reviewers <-> one folder: two append-only JSON-lines files and kept pictures.

    feedback.jsonl     one `FeedbackReport` per line, written by the service
    decisions.jsonl    one `ReviewDecision` per line, written by `deepfake feedback accept` and `reject`
    pictures/          EXPIRY-ID.SUFFIX: the name says until when (seconds since 1970) the file is kept

The service imports this module: it loads nothing but pydantic. Several services may share a folder on one machine: a
line is appended under a lock. Files are readable by their owner alone.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deepfake_detector.errors import BadInput, ToolFailed

Label = Literal["real", "fake"]
MAX_NOTE = 500  # characters
DAY_S = 24 * 3600
SUFFIXES = {  # media types of pictures that are kept: those that a data archive may hold
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/bmp": ".bmp",
    "image/tiff": ".tif",
}
_PICTURE_NAME = re.compile(r"(?P<expires>\d{1,12})-(?P<id>[0-9a-f]{32})\.[a-z]{3,4}")
_REPORTS, _DECISIONS, _PICTURES = "feedback.jsonl", "decisions.jsonl", "pictures"
_Line = TypeVar("_Line", bound=BaseModel)


class _StoredLine(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KeptPicture(_StoredLine):
    """A picture that was sent again to be kept.

    Attributes:
        sha256: of the file.
        bytes: its size.
        file: its name below pictures/; it begins with the expiry.
    """

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=1)
    file: str = Field(pattern=f"^{_PICTURE_NAME.pattern}$")

    @property
    def expires_s(self) -> int:
        """When it is deleted, seconds since 1970."""
        return int(self.file.partition("-")[0])


class FeedbackReport(_StoredLine):
    """One label that one client gave to one answer of the service.

    Attributes:
        feedback_id: 32 hexadecimal digits, drawn by the service.
        time: of its receipt, ISO 8601 in UTC.
        request_id: of the answer, as the prediction log has it.
        reporter: name of the key that the client sent; "token" for the single token.
        label: what the client says the picture or video is.
        note: the client's reason: printable, on one line, at most MAX_NOTE characters.
        kind, verdict, p_fake, model_sha256: of the answer, copied from the prediction log, whose lines are deleted.
        picture: None unless the client sent it again to be kept.
    """

    feedback_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    time: str
    request_id: str
    reporter: str
    label: Label
    note: str = ""
    kind: str = ""
    verdict: str = ""
    p_fake: float | None = None
    model_sha256: str = ""
    picture: KeptPicture | None = None


class ReviewDecision(_StoredLine):
    """What a person decided about one case; see `review.py`.

    Attributes:
        case: SHA-256 of the picture, or "request:" and the id.
        action: accept | reject.
        label: of an accepted case.
        time: ISO 8601 in UTC.
        by: account and machine of the reviewer.
        why: a reason; may be empty.
        seen: ids of the reports that the reviewer decided about.
    """

    case: str
    action: Literal["accept", "reject"]
    label: Label | None = None
    time: str
    by: str
    why: str = ""
    seen: tuple[str, ...] = ()


class FeedbackStore:
    """One folder of feedback.

    Args:
        folder: is created with its first report, for its owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def append(self, report: FeedbackReport, picture: bytes | None = None) -> None:
        """Store a report, and the picture that it names; both or neither.

        Raises:
            OSError: for example a full disk.
        """
        self._create_folders()
        if report.picture is None or picture is None:
            self._append_line(_REPORTS, report)
            return
        path = self.picture_path(report.picture)
        try:
            _write_new_file(path, picture)
            self._append_line(_REPORTS, report)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def append_decision(self, decision: ReviewDecision) -> None:
        """Store a decision.

        Raises:
            OSError: for example a full disk.
        """
        self._append_line(_DECISIONS, decision)

    def reports(self) -> list[FeedbackReport]:
        """All reports, in the order of their receipt.

        Raises:
            BadInput: there is no such folder.
            ToolFailed: a line is damaged.
        """
        if not self.folder.is_dir():
            raise BadInput(
                f"no feedback at {self.folder}",
                "--folder names the folder of DEEPFAKE_SERVE_FEEDBACK; the service creates it with its first report",
            )
        return list(self._lines(_REPORTS, FeedbackReport))

    def decisions(self) -> list[ReviewDecision]:
        """All decisions, oldest first.

        Raises:
            ToolFailed: a line is damaged.
        """
        return list(self._lines(_DECISIONS, ReviewDecision))

    def picture_path(self, picture: KeptPicture) -> Path:
        """Where the file of a kept picture lies, or lay until it expired."""
        return self.folder / _PICTURES / picture.file

    def delete_expired(self, now_s: float | None = None) -> int:
        """Delete the pictures whose time is over; also those of reports that could not be stored.

        Args:
            now_s: seconds since 1970; None: now.

        Returns:
            The number of deleted files.
        """
        now_s, deleted = time.time() if now_s is None else now_s, 0
        for path in self._pictures():
            match = _PICTURE_NAME.fullmatch(path.name)
            if match is not None and int(match["expires"]) <= now_s:
                path.unlink(missing_ok=True)
                deleted += 1
        return deleted

    def used_bytes(self) -> int:
        """Size of all files in the folder."""
        sizes = 0
        for path in (self.folder / _REPORTS, self.folder / _DECISIONS, *self._pictures()):
            with suppress(FileNotFoundError):
                sizes += path.stat().st_size
        return sizes

    def _pictures(self) -> list[Path]:
        folder = self.folder / _PICTURES
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def _create_folders(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / _PICTURES).mkdir(mode=0o700, exist_ok=True)

    def _append_line(self, name: str, line: BaseModel) -> None:
        """Append a whole line or nothing: what a full disk took of it is cut off again."""
        data = line.model_dump_json().encode() + b"\n"
        with _locked(self.folder / name) as descriptor:
            size = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, data)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise

    def _lines(self, name: str, kind: type[_Line]) -> Iterator[_Line]:
        path = self.folder / name
        if not path.is_file():
            return
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield kind.model_validate_json(line)
                except ValidationError as error:
                    what = f"line {number} of {path} is no {kind.__name__}: {error.errors()[0]['msg']}"
                    raise ToolFailed(what, "move the line to another file; the others stay valid") from error


def picture_file(feedback_id: str, mime: str, days: float, now_s: float | None = None) -> str:
    """The file name of a picture that is kept for so many days.

    Args:
        feedback_id: of its report.
        mime: media type, one of SUFFIXES.
        days: how long it is kept.
        now_s: seconds since 1970; None: now.
    """
    expires_s = (time.time() if now_s is None else now_s) + days * DAY_S
    return f"{int(expires_s)}-{feedback_id}{SUFFIXES[mime]}"


def one_line(text: str) -> str:
    """Printable text on one line: other characters become spaces, which stand alone; at most MAX_NOTE characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_NOTE]


def utc_now() -> str:
    """The time in UTC, ISO 8601 with seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """A descriptor that appends to a file, which no other process that asks for the lock writes meanwhile."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _write_new_file(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
