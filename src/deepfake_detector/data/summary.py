"""Answers of checks and probes -> a short table on the terminal, and one line that counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deepfake_detector.data.answers import Answer, Check, verdict_of
from deepfake_detector.data.probes import Probe

_COLOURS = {"passed": "green", "warned": "yellow", "stopped": "red"}


def print_summary(checks: Sequence[Check], probes: Sequence[Probe], console: Console | None = None) -> None:
    """Print a line per check and probe, and how many passed, warned and stopped.

    Args:
        checks: every answer, passed or not.
        probes: the same.
        console: where to; the terminal by default.
    """
    console = console or Console()
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("asked", overflow="fold")
    table.add_column("found", overflow="fold")
    answers: list[Answer] = [*checks, *probes]
    for answer in answers:
        word = verdict_of(answer)
        table.add_row(f"[{_COLOURS[word]}]{word}[/]", escape(_asked(answer)), escape(_found(answer)))
    console.print(table)
    counts = Counter(verdict_of(answer) for answer in answers)
    console.print(", ".join(f"{counts[word]} {word}" for word in ("passed", "warned", "stopped")))


def _asked(answer: Answer) -> str:
    return answer.name if isinstance(answer, Check) else f"probe {answer.name}"


def _found(answer: Answer) -> str:
    if isinstance(answer, Check):
        return answer.observed
    return answer.reason if answer.auc is None or not answer.passed else f"AUC {answer.auc:.3f}"
