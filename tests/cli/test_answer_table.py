"""The table people read."""

import io

import pytest
from rich.console import Console

from deepfake_detector.cli.predict import print_table
from deepfake_detector.inference.decision import DRAWN_WARNING


def printed(*rows: dict, width: int = 100) -> str:
    out = io.StringIO()
    print_table(list(rows), Console(file=out, width=width, no_color=True))
    return out.getvalue()


def answer(name: str, **changed: object) -> dict:
    return {
        "file": name,
        "verdict": "fake",
        "p_fake": 0.91234,
        "evidence": "very strong",
        "kind_of_fake": None,
        "reasons": ["why not"],
    } | changed


def test_verdict_probability_and_reason_stand_in_one_row() -> None:
    (row,) = [line for line in printed(answer("/a/b/face.jpg")).splitlines() if "face.jpg" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        "face.jpg",
        "fake",
        "0.912",
        "very strong",
        "why not",
    ]


@pytest.mark.parametrize(
    ("verdict", "swap", "shown"), [("fake", 0.83, True), ("fake", 0.55, False), ("real", 0.83, False)]
)
def test_a_fake_is_called_by_its_kind_where_that_is_clear(verdict: str, swap: float, shown: bool) -> None:
    shares = {"synthetic": 1 - swap, "swap": swap}
    assert ("swap" in printed(answer("a.jpg", verdict=verdict, kind_of_fake=shares))) == shown


def test_the_models_warning_is_said_once() -> None:
    rows = [answer(name, reasons=[DRAWN_WARNING, "why not"]) for name in ("a.jpg", "b.jpg")]
    assert " ".join(printed(*rows).split()).count(DRAWN_WARNING) == 1
    assert DRAWN_WARNING not in printed(answer("a.jpg"))


def test_no_score_is_no_number_and_markup_in_names_stays_text() -> None:
    text = printed(answer("[red]x.jpg", verdict="inconclusive", p_fake=None, evidence=None))
    assert "[red]x.jpg" in text
    assert "None" not in text


def test_an_error_says_what_to_do() -> None:
    text = printed({"file": "x.mp4", "error": {"code": "c", "message": "it is empty", "hint": "send another"}})
    assert "it is empty (send another)" in text


def test_prior_and_content_credentials_stand_beside_the_score_and_absence_is_not_told() -> None:
    credentials = {"state": "untrusted", "note": "nobody vouches"}
    told = printed(
        answer("a.jpg", posterior={"prior": 0.001, "p_fake": 0.0101}, content_credentials=credentials), width=200
    )
    assert "where 0.1 % are fakes, this is one with 1 %" in told
    assert "Content Credentials untrusted: nobody vouches" in told
    silent = printed(answer("a.jpg", posterior=None, content_credentials={"state": "absent", "note": "means nothing"}))
    assert "Credentials" not in silent
