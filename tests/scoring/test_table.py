"""The table people read."""

import io

from rich.console import Console

from deepfake_detector.scoring.table import print_table
from deepfake_detector.scoring.verdict import DRAWN_WARNING


def printed(*rows: dict) -> str:
    out = io.StringIO()
    print_table(list(rows), Console(file=out, width=100, no_color=True))
    return out.getvalue()


def answer(name: str, **changed: object) -> dict:
    return {
        "file": name,
        "verdict": "fake",
        "p_fake": 0.91234,
        "evidence": "very strong",
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
