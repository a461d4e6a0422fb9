"""Answers of checks and probes -> a decision: go on, or stop and name the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from deepfake_detector.data.probes import Probe
from deepfake_detector.errors import DataRejected
from deepfake_detector.settings import Severity

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
