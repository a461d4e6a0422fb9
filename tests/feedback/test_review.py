"""Reports become cases; a person decides; what contradicts a decision opens the case again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deepfake_detector.errors import BadInput, ToolFailed
from deepfake_detector.feedback.review import Review, build_cases
from deepfake_detector.feedback.store import FeedbackStore, one_line

if TYPE_CHECKING:
    from tests.feedback.conftest import Folder


def statuses(folder: Folder) -> dict[str, str]:
    return {case.case[:12]: case.status for case in Review([folder.path]).cases}


def only(folder: Folder) -> Any:
    (case,) = Review([folder.path]).cases
    return case


def test_reports_of_one_picture_are_one_case_and_the_latest_of_a_reporter_counts(folder: Folder) -> None:
    for reporter, label in (("anna", "real"), ("ben", "fake"), ("anna", "fake")):
        folder.add(b"picture", reporter, label)  # type: ignore[arg-type]
    case = only(folder)
    assert (case.status, case.labels) == ("pending", {"fake": ["ben", "anna"]})


def test_a_report_without_a_picture_joins_the_one_picture_of_its_request(folder: Folder) -> None:
    folder.add(b"picture", "anna", "fake", request_id="r")
    folder.add(None, "ben", "real", request_id="r")
    folder.add(None, "ben", "real", request_id="other")
    assert [case.status for case in Review([folder.path]).cases] == ["conflict", "pending"]
    folder.add(b"second picture of a batch", "anna", "fake", request_id="r")
    assert sorted(len(case.reports) for case in Review([folder.path]).cases) == [1, 1, 1, 1]  # ben's joins neither


def test_a_conflict_needs_a_label_from_a_person(folder: Folder) -> None:
    folder.add(b"picture", "anna", "fake")
    folder.add(b"picture", "ben", "real")
    review = Review([folder.path])
    assert review.cases[0].status == "conflict"
    with pytest.raises(BadInput, match="disagree: fake by anna; real by ben"):
        review.accept(review.cases[0], None, "me")
    review.accept(review.cases[0], "real", "me", "a\nphotograph")
    case = only(folder)
    assert (case.status, case.label, case.supporters) == ("accepted", "real", ["ben"])
    assert case.decision.why == "a photograph"


def test_a_later_contradiction_opens_an_accepted_case_and_agreement_does_not(folder: Folder) -> None:
    folder.add(b"picture", "anna", "fake")
    review = Review([folder.path])
    review.accept(review.cases[0], None, "me")
    folder.add(b"picture", "ben", "fake")
    assert only(folder).status == "accepted"
    folder.add(b"picture", "carl", "real")
    assert (only(folder).status, only(folder).label) == ("conflict", None)


def test_a_rejected_case_stays_rejected_until_it_is_accepted(folder: Folder) -> None:
    folder.add(b"picture", "anna", "fake")
    review = Review([folder.path])
    review.reject(review.cases[0], "me")
    folder.add(b"picture", "ben", "real")
    assert only(folder).status == "rejected"
    review = Review([folder.path])
    review.accept(review.cases[0], "fake", "me")
    assert only(folder).status == "accepted"


def test_only_pictures_that_are_kept_can_be_accepted(folder: Folder) -> None:
    folder.add(None, "anna", "fake")
    folder.add(b"old", "anna", "fake", now_s=0.0)
    review = Review([folder.path])
    assert review.delete_expired() == 1
    for case in review.cases:
        with pytest.raises(BadInput, match="has no picture"):
            review.accept(case, "fake", "me")


def test_a_case_is_named_by_the_begin_of_an_id(folder: Folder) -> None:
    report = folder.add(b"picture", request_id="my-request")
    review = Review([folder.path])
    for name in (review.cases[0].case, review.cases[0].case[:8], report.feedback_id, "my-request", "my-req"):
        assert review.find(name) is review.cases[0]
    for name in ("my-r", "nothing", ""):
        with pytest.raises(BadInput, match="no single case"):
            review.find(name)


def test_folders_of_several_services_are_reviewed_together(folder: Folder, tmp_path: Path) -> None:
    folder.add(b"picture", "anna", "fake")
    other = FeedbackStore(tmp_path / "second")
    report = folder.add(b"picture", "ben", "real")
    other.append(report, b"picture")
    assert [case.status for case in Review([folder.path, other.folder]).cases] == ["conflict"]


def test_a_missing_folder_and_a_damaged_line_are_errors(folder: Folder) -> None:
    with pytest.raises(BadInput, match="no feedback at"):
        Review([folder.path])
    folder.add(None)
    with (folder.path / "feedback.jsonl").open("a") as file:
        file.write('{"feedback_id": "x"}\n')
    with pytest.raises(ToolFailed, match="line 2 of"):
        Review([folder.path])


def test_a_forged_file_name_is_refused(folder: Folder, report: Any) -> None:
    with pytest.raises(ValueError, match="pattern"):
        report(1, data=b"x").picture.__class__(sha256="a" * 64, bytes=1, file="../../etc/passwd")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a\tb\r\nc", "a b c"), ("\x1b[2Jx", "[2Jx"), ("\u202ea", "a"), ("\ud800", ""), ("y" * 600, "y" * 500)],
)
def test_notes_are_printable_and_on_one_line(text: str, expected: str) -> None:
    assert one_line(text) == expected


def test_no_reports_are_no_cases() -> None:
    assert build_cases([], []) == []
