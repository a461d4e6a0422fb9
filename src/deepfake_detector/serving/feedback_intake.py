"""A label for an answer that this service logged -> a stored report; rate per client and retention are enforced."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deepfake_detector.feedback.store import (
    MAX_NOTE,
    FeedbackReport,
    FeedbackStore,
    KeptPicture,
    Label,
    one_line,
    picture_file,
    utc_now,
)
from deepfake_detector.serving.errors import (
    AmbiguousRequest,
    OtherPicture,
    RateLimited,
    StorageFull,
    UnknownRequest,
)
from deepfake_detector.serving.options import ServingOptions

HOUR_S = 3600.0
MAX_SCORE_DIFFERENCE = 0.05  # of one picture on processors with other arithmetic; equal bytes on one differ by nothing
MIB = 2**20

logger = logging.getLogger("deepfake")


class FeedbackFields(BaseModel):
    """What a client sends, besides the picture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_id: str = Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")
    label: Label
    note: str = Field("", max_length=MAX_NOTE)
    keep: bool = False


class FeedbackReceipt(BaseModel):
    """The answer: what was stored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    feedback_id: str
    request_id: str
    reporter: str
    label: Label
    picture_expires_s: int | None  # when the kept picture is deleted, seconds since 1970; null: none is kept


class LoggedAnswer(BaseModel):
    """What feedback needs of one line of the prediction log."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    request_id: str
    kind: str
    verdict: str
    p_fake: float | None
    file_bytes: int
    model_sha256: str


@dataclass(frozen=True)
class ReturnedPicture:
    """A picture that was sent again: its bytes, what they are, and the score that a worker gave them."""

    data: bytes
    mime: str
    sha256: str
    p_fake: float | None
    model_sha256: str


class RateLimiter:
    """At most so many requests per client in any hour; in memory, so a restart forgets them. For one event loop."""

    def __init__(self, per_hour: int) -> None:
        self.per_hour = per_hour
        self._times: dict[str, deque[float]] = {}

    def take(self, client: str, now_s: float | None = None) -> None:
        """Count one request of a client.

        Raises:
            RateLimited: it is one too many; it says when the next is accepted.
        """
        now_s = time.monotonic() if now_s is None else now_s
        times = self._times.setdefault(client, deque())
        while times and times[0] <= now_s - HOUR_S:
            times.popleft()
        if len(times) >= self.per_hour:
            message = f"the client {client!r} sent {self.per_hour} reports within an hour, the limit of this service"
            raise RateLimited(message, "retry after the seconds in Retry-After", times[0] + HOUR_S - now_s)
        times.append(now_s)


class FeedbackIntake:
    """Stores labels for logged answers.

    Args:
        folder: see `FeedbackStore`.
        options: settings of the service.
    """

    def __init__(self, folder: Path, options: ServingOptions) -> None:
        self.store = FeedbackStore(folder)
        self.limiter = RateLimiter(options.feedback_per_hour)
        self._days, self._max_bytes = options.feedback_days, options.feedback_mib * MIB
        own = Path(options.prediction_log or "")
        named = Path(options.feedback_logs) if options.feedback_logs else own.with_name(f"{escape(own.name)}*")
        self._log_folder, self._log_pattern = named.parent, named.name
        self.turn = asyncio.Lock()  # for whoever holds a picture in memory
        self._search, self._stopped = threading.Lock(), threading.Event()

    def start(self) -> None:
        """Delete expired pictures now and every hour."""
        threading.Thread(target=self._delete_expired, name="feedback-retention", daemon=True).start()

    def stop(self) -> None:
        """End that."""
        self._stopped.set()

    def logged_answers(self, request_id: str) -> list[LoggedAnswer]:
        """The lines of the prediction log with an id; a batch has one per image.

        Args:
            request_id: 1 to 64 of A-Z a-z 0-9 . _ : -

        Raises:
            UnknownRequest: there is none.
        """
        wanted = f'"request_id": "{request_id}"'.encode()
        found: list[LoggedAnswer] = []
        with self._search:  # one log at a time is in memory
            for path in sorted(self._log_folder.glob(self._log_pattern)):
                found += _matching_lines(path, wanted, request_id)
        if not found:
            raise UnknownRequest(
                f"this service has logged no answer with the request id {request_id!r}",
                "send the X-Request-ID of an answer; the newest are logged, and each replica may have its own log",
            )
        return found

    def store_report(
        self, request_id: str, label: Label, note: str, reporter: str, picture: ReturnedPicture | None
    ) -> FeedbackReport:
        """Check a report against the log, and append it.

        Raises:
            UnknownRequest: see `logged_answers`.
            AmbiguousRequest: the request had several files, and no picture tells which is meant.
            OtherPicture: the picture is none of the request's.
            StorageFull: the folder has reached its limit.
            OSError: the disk is full or broken.
        """
        answers = self.logged_answers(request_id)
        answer = _answer_of(answers, picture)
        size = 0 if picture is None else len(picture.data)
        if self.store.used_bytes() + size > self._max_bytes:
            message = f"feedback takes up the {self._max_bytes // MIB} MiB that the operator allows"
            raise StorageFull(message, "retry later; the operator has to review and delete some")
        feedback_id = uuid.uuid4().hex
        report = FeedbackReport(
            feedback_id=feedback_id,
            time=utc_now(),
            request_id=request_id,
            reporter=reporter,
            label=label,
            note=one_line(note),
            picture=None if picture is None else self._kept(feedback_id, picture),
            **answer.model_dump(include={"kind", "verdict", "p_fake", "model_sha256"}),
        )
        self.store.append(report, None if picture is None else picture.data)
        return report

    def _kept(self, feedback_id: str, picture: ReturnedPicture) -> KeptPicture:
        name = picture_file(feedback_id, picture.mime, self._days)
        return KeptPicture(sha256=picture.sha256, bytes=len(picture.data), file=name)

    def _delete_expired(self) -> None:
        while True:
            try:
                deleted = self.store.delete_expired()
            except OSError as error:
                logger.warning("expired pictures cannot be deleted", extra={"error": str(error)})
            else:
                if deleted:
                    logger.info("expired pictures deleted", extra={"pictures": deleted})
            if self._stopped.wait(HOUR_S):
                return


def _matching_lines(path: Path, wanted: bytes, request_id: str) -> Iterable[LoggedAnswer]:
    try:
        data = path.read_bytes()  # at most 20 MiB; searched in 5 ms
    except FileNotFoundError:  # rotated away meanwhile
        return
    position = data.find(wanted)
    while position >= 0:
        start, end = data.rfind(b"\n", 0, position) + 1, data.find(b"\n", position)
        end = len(data) if end < 0 else end
        answer = _parse(data[start:end])
        if answer is not None and answer.request_id == request_id:
            yield answer
        position = data.find(wanted, end)


def _parse(line: bytes) -> LoggedAnswer | None:
    try:
        content: dict[str, Any] = json.loads(line)
        return LoggedAnswer.model_validate(content)
    except (ValueError, ValidationError):  # a line that a full disk cut
        return None


def _answer_of(answers: Sequence[LoggedAnswer], picture: ReturnedPicture | None) -> LoggedAnswer:
    if picture is not None:
        matching = [answer for answer in answers if _is_of(answer, picture)]
        if not matching:
            raise OtherPicture(
                "the picture is none of those of this request: its size or its score differs",
                "send the same file again",
            )
        return matching[0]
    if len(answers) > 1:
        raise AmbiguousRequest(
            f"the request had {len(answers)} files", "send the picture that is meant again, with keep=true"
        )
    return answers[0]


def _is_of(answer: LoggedAnswer, picture: ReturnedPicture) -> bool:
    if answer.kind != "image" or answer.file_bytes != len(picture.data):
        return False
    if answer.model_sha256 != picture.model_sha256:  # another model scored it then
        return True
    if answer.p_fake is None or picture.p_fake is None:
        return answer.p_fake is picture.p_fake
    return abs(answer.p_fake - picture.p_fake) <= MAX_SCORE_DIFFERENCE
