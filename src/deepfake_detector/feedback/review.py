"""Reports and decisions of one or more stores -> one case per picture, with its status; a decision -> the store.

Nothing of a case is used before a person accepted it. Of each reporter the latest label counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from deepfake_detector.errors import BadInput
from deepfake_detector.feedback.store import (
    FeedbackReport,
    FeedbackStore,
    KeptPicture,
    Label,
    ReviewDecision,
    one_line,
    utc_now,
)

Status = Literal["pending", "conflict", "accepted", "rejected"]
REQUEST = "request:"  # a case without a picture begins with this
MIN_PREFIX = 6  # characters that name a case


@dataclass(frozen=True)
class Case:
    """All that was reported about one picture, or about one request whose picture was not kept.

    Attributes:
        case: SHA-256 of the picture, or REQUEST and the request id.
        reports: the latest of each reporter, in the order of their receipt.
        decision: the latest; None if there is none.
    """

    case: str
    reports: tuple[FeedbackReport, ...]
    decision: ReviewDecision | None = None

    @property
    def labels(self) -> dict[Label, list[str]]:
        """Label -> the reporters that gave it."""
        given: dict[Label, list[str]] = {}
        for report in self.reports:
            given.setdefault(report.label, []).append(report.reporter)
        return given

    @property
    def status(self) -> Status:
        """What a person has to do, or did.

        A label that came after the decision and contradicts it makes the case a conflict again.
        """
        if self.decision is None:
            return "conflict" if len(self.labels) > 1 else "pending"
        if self.decision.action == "reject":
            return "rejected"
        seen = self.decision.seen
        objections = [r for r in self.reports if r.feedback_id not in seen and r.label != self.decision.label]
        return "conflict" if objections else "accepted"

    @property
    def label(self) -> Label | None:
        """The accepted label; None unless the case is accepted."""
        return self.decision.label if self.decision is not None and self.status == "accepted" else None

    @property
    def pictures(self) -> list[KeptPicture]:
        """The copies that were kept, the one that is kept for longest first."""
        kept = [report.picture for report in self.reports if report.picture is not None]
        return sorted(kept, key=lambda picture: -picture.expires_s)

    @property
    def supporters(self) -> list[str]:
        """The reporters whose label is the accepted one; all of them while none is accepted."""
        return [r.reporter for r in self.reports if self.label in (None, r.label)]

    @property
    def counts_for(self) -> str:
        """The reporter whose share of an export it takes: the first supporter, else whose report came first."""
        return (self.supporters or [self.reports[0].reporter])[0]


def build_cases(reports: Iterable[FeedbackReport], decisions: Iterable[ReviewDecision]) -> list[Case]:
    """Group reports into cases, in the order of their first report.

    A report without a picture belongs to the picture that somebody else kept of the same request, if it is one.

    Args:
        reports: in the order of their receipt.
        decisions: likewise.
    """
    reports, latest = list(reports), {decision.case: decision for decision in decisions}
    pictures = _pictures_of_requests(reports)
    cases: dict[str, dict[str, FeedbackReport]] = {}
    for report in reports:
        of_case = cases.setdefault(_case_of(report, pictures), {})
        of_case.pop(report.reporter, None)  # so that the later one also stands later
        of_case[report.reporter] = report
    return [Case(name, tuple(by_reporter.values()), latest.get(name)) for name, by_reporter in cases.items()]


def _pictures_of_requests(reports: Sequence[FeedbackReport]) -> dict[str, set[str]]:
    pictures: dict[str, set[str]] = {}
    for report in reports:
        if report.picture is not None:
            pictures.setdefault(report.request_id, set()).add(report.picture.sha256)
    return pictures


def _case_of(report: FeedbackReport, pictures: Mapping[str, set[str]]) -> str:
    if report.picture is not None:
        return report.picture.sha256
    of_request = pictures.get(report.request_id, set())
    return next(iter(of_request)) if len(of_request) == 1 else f"{REQUEST}{report.request_id}"


class Review:
    """The cases of one or more folders of feedback: each service may have its own.

    Args:
        folders: see `FeedbackStore`.

    Raises:
        BadInput: a folder does not exist.
        ToolFailed: a line of a file is damaged.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.stores = [FeedbackStore(folder) for folder in folders]
        reports = [(report, store) for store in self.stores for report in store.reports()]
        reports.sort(key=lambda pair: pair[0].time)  # stable: the order of a folder stays
        self._store_of = {report.feedback_id: store for report, store in reports}
        decisions = [decision for store in self.stores for decision in store.decisions()]
        decisions.sort(key=lambda decision: decision.time)
        self.cases = build_cases((report for report, _ in reports), decisions)

    @cached_property
    def by_id(self) -> dict[str, Case]:
        """Case, feedback id or request id -> the case; a request id only where it names one case."""
        found = {case.case: case for case in self.cases}
        of_request: dict[str, set[str]] = {}
        for case in self.cases:
            for report in case.reports:
                found[report.feedback_id] = case
                of_request.setdefault(report.request_id, set()).add(case.case)
        return found | {name: found[next(iter(of))] for name, of in of_request.items() if len(of) == 1}

    def find(self, name: str) -> Case:
        """The case that an id names, or the first MIN_PREFIX or more characters of one.

        Raises:
            BadInput: none, or several.
        """
        if name in self.by_id:
            return self.by_id[name]
        begin = {case.case: case for key, case in self.by_id.items() if key.startswith(name)}
        if len(name) >= MIN_PREFIX and len(begin) == 1:
            return next(iter(begin.values()))
        problem = f"{len(begin)} cases begin with" if len(name) >= MIN_PREFIX else f"give {MIN_PREFIX} characters of"
        raise BadInput(f"no single case is called {name!r}: {problem} {name!r}", "`deepfake feedback list` shows them")

    def picture_file(self, case: Case) -> Path | None:
        """The file of a case's picture; None if none was kept, or it has expired."""
        for report in case.reports:
            if report.picture in case.pictures[:1] and report.picture is not None:
                path = self._store_of[report.feedback_id].picture_path(report.picture)
                return path if path.is_file() else None
        return None

    def accept(self, case: Case, label: Label | None, by: str, why: str = "") -> ReviewDecision:
        """Store that a case is accepted.

        Args:
            case: one of `cases`.
            label: what it is; None: what the reporters say, if they agree.
            by: the reviewer.
            why: a reason; may be empty.

        Raises:
            BadInput: no picture of it is kept, or the reporters disagree and there is no label.
        """
        if self.picture_file(case) is None:
            raise BadInput(
                f"case {case.case} has no picture: it was never kept, or has expired",
                "only pictures become data; the client can send it again with keep=true",
            )
        if label is None and len(case.labels) > 1:
            given = "; ".join(f"{label} by {', '.join(by)}" for label, by in sorted(case.labels.items()))
            raise BadInput(f"the reporters of case {case.case} disagree: {given}", "say what it is: --label real|fake")
        return self._decide(case, "accept", label or next(iter(case.labels)), by, why)

    def reject(self, case: Case, by: str, why: str = "") -> ReviewDecision:
        """Store that a case is rejected; the parameters are those of `accept`."""
        return self._decide(case, "reject", None, by, why)

    def delete_expired(self) -> int:
        """Delete the pictures whose time is over; returns how many."""
        return sum(store.delete_expired() for store in self.stores)

    def _decide(
        self, case: Case, action: Literal["accept", "reject"], label: Label | None, by: str, why: str
    ) -> ReviewDecision:
        seen = tuple(report.feedback_id for report in case.reports)
        decision = ReviewDecision(
            case=case.case, action=action, label=label, time=utc_now(), by=by, why=one_line(why), seen=seen
        )
        self._store_of[case.reports[0].feedback_id].append_decision(decision)
        return decision
