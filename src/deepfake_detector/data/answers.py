"""Answers of the data checks -> a decision: go on, or stop and name the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from deepfake_detector.errors import DataRejected

Severity = Literal["stop", "warn"]


@dataclass(frozen=True)
class Check:
    """The answer to one question about the data.

    Attributes:
        severity: `stop` ends the road, `warn` is written down.
        reason: why the question is asked.
        observed: what was found, in words.
        files: the first offending files (or split/class), sorted.
        files_total: how many there are.
    """

    name: str
    severity: Severity
    passed: bool
    reason: str
    observed: str
    files: tuple[str, ...] = ()
    files_total: int = 0


def refuse_if_stopped(checks: Sequence[Check]) -> None:
    """Do nothing if all checks of severity `stop` passed.

    Raises:
        DataRejected: names each failed check, its reason, what was found and the files.
    """
    failed = [check for check in checks if check.severity == "stop" and not check.passed]
    if failed:
        raise DataRejected(
            "the data is refused:\n  " + "\n  ".join(_told(check) for check in failed),
            "mend or remove what is named; reports/validate.json and reports/data_docs/index.html say more",
        )


def _told(check: Check) -> str:
    more = check.files_total - len(check.files)
    names = [*check.files, f"and {more} more"] if more > 0 else check.files
    return f"{check.name}: found {check.observed}; {check.reason}" + "".join(f"\n      {name}" for name in names)
