"""Answers of checks and probes -> a decision: go on, or stop and name the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deepfake_detector.config import Severity
from deepfake_detector.errors import DataRejected
from deepfake_detector.validation.leak_probes import Probe

Verdict = Literal["passed", "warned", "stopped"]


@dataclass(frozen=True)
class Check:
    """The answer to one question about the data.

    Attributes:
        severity: `stop` ends the road, `warn` is written down.
        reason: why the question is asked.
        observed: what was found, in words.
        files: the first offending files (or split/class), sorted; also of a check that passed because it lets a
            share of them pass.
        files_total: how many there are.
    """

    name: str
    severity: Severity
    passed: bool
    reason: str
    observed: str
    files: tuple[str, ...] = ()
    files_total: int = 0


Answer = Check | Probe


def verdict_of(answer: Answer) -> Verdict:
    """What an answer means for the road."""
    if answer.passed:
        return "passed"
    return "stopped" if answer.severity == "stop" else "warned"


def refuse_if_stopped(checks: Sequence[Check], probes: Sequence[Probe] = ()) -> None:
    """Do nothing if everything of severity `stop` passed.

    Raises:
        DataRejected: names each failed check and probe, its reason, what was found and the files.
    """
    failed = [_told(check) for check in checks if verdict_of(check) == "stopped"]
    failed += [f"probe {probe.name}: {probe.reason}" for probe in probes if verdict_of(probe) == "stopped"]
    if failed:
        raise DataRejected(
            "the data is refused:\n  " + "\n  ".join(failed),
            "mend or remove what is named, or let prepare do it (prepare.reencode, prepare.drop, "
            "prepare.drop_duplicates) and set validate.severity to warn; reports/validate.json and "
            "reports/data_docs/index.html say more",
        )


def _told(check: Check) -> str:
    more = check.files_total - len(check.files)
    names = [*check.files, f"and {more} more"] if more > 0 else check.files
    return f"{check.name}: found {check.observed}; {check.reason}" + "".join(f"\n      {name}" for name in names)


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
