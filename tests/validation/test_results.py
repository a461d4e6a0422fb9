"""The table on the terminal: a line per answer, with its verdict, and one line that counts them."""

from __future__ import annotations

import io

from rich.console import Console

from deepfake_detector.validation.leak_probes import Probe
from deepfake_detector.validation.results import Check, print_summary, verdict_of

CHECKS = [
    Check("readable", "stop", True, "why", "0 of 36 break it"),
    Check("sharpness", "warn", False, "why", "2 of 36 break it", ("a.jpg",), 2),
    Check("labels", "stop", False, "why", "1 of 36 break it, for example [2]"),
]
PROBES = [
    Probe("metadata", 0.512, 0.48, 0.54, 0.6, "stop", True, "calm", 72),
    Probe("thumbnail", 0.934, 0.92, 0.95, 0.85, "warn", False, "a thumbnail alone tells", 72),
    Probe("border", None, None, None, 0.6, "warn", True, "not measured: too few", 8),
]


def printed(width: int = 120) -> list[str]:
    stream = io.StringIO()
    print_summary(CHECKS, PROBES, Console(file=stream, width=width))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_verdicts() -> None:
    assert [verdict_of(answer) for answer in [*CHECKS, *PROBES]] == [
        "passed", "warned", "stopped", "passed", "warned", "passed",
    ]  # fmt: skip


def test_each_answer_has_a_line_and_the_last_line_counts() -> None:
    lines = printed()
    assert len(lines) == 8
    assert lines[3].split(maxsplit=2) == ["stopped", "labels", "1 of 36 break it, for example [2]"]  # no markup
    assert "probe metadata" in lines[4]
    assert "AUC 0.512" in lines[4]
    assert "a thumbnail alone tells" in lines[5]
    assert "not measured: too few" in lines[6]
    assert lines[-1] == "3 passed, 2 warned, 1 stopped"


def test_a_narrow_terminal_cuts_nothing_off() -> None:
    text = "".join(part for line in printed(48) for part in line.split())
    assert "1of36breakit,forexample[2]" in text
