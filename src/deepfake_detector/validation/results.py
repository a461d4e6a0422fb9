"""Results of checks and leak probes -> the pipeline goes on, or `DataRejected` with the files; a table for people."""

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
from deepfake_detector.validation.leak_probes import LeakProbe

Status = Literal["passed", "warned", "stopped", "not measured"]
_COLOURS: dict[Status, str] = {"passed": "green", "warned": "yellow", "stopped": "red", "not measured": "bright_black"}

# Of params.yaml, by the name of the check: what decides it, or turns it into a warning.
_SETTINGS = {
    "enough pictures": "validate.min_images_per_class, download.held_out_share",
    "balanced classes": "validate.max_class_imbalance",
    "readable": "validate.max_unreadable_share",
    "large enough": "validate.min_side_px",
    "brightness": "validate.brightness, validate.severity.brightness",
    "contrast": "validate.min_contrast, validate.severity.contrast",
    "sharpness": "validate.min_sharpness, validate.severity.sharpness",
    "faces found": "validate.max_faceless_share, validate.severity.faceless",
    "no duplicate across splits": "prepare.drop_duplicates with validate.severity.duplicates_across_splits",
    "no duplicate within a split": "validate.severity.duplicates_within_split",
    "no near-duplicate across splits": "prepare.drop_duplicates with validate.severity.near_duplicates_across_splits",
    "one label per picture": "prepare.drop",
    "groups within one split": "the columns group and split of the CSV file",
    "labels agree with CSV": "the label_str of the CSV file",
    "same file formats": "prepare.matched_copies or prepare.reencode, with validate.severity.encoding",
    "same colour modes": "prepare.matched_copies or prepare.reencode, with validate.severity.encoding",
    "same quantization tables": "prepare.matched_copies or prepare.reencode, with validate.severity.encoding",
    "same chroma subsampling": "prepare.matched_copies or prepare.reencode, with validate.severity.encoding",
}


@dataclass(frozen=True)
class CheckResult:
    """The result of one check.

    Attributes:
        severity: what a failure does: `stop` ends the pipeline, `warn` is reported.
        reason: why the check matters.
        observed: what was found, for people.
        rows_checked, rows_failed: counts behind `observed`; 0 for a check of the table as a whole.
        files: the first failing files (or split/class), sorted; a check that tolerates a share of them may pass.
        files_total: how many there are.
        measured: False if there was nothing to compare; such a check passes.
    """

    name: str
    severity: Severity
    passed: bool
    reason: str
    observed: str
    rows_checked: int = 0
    rows_failed: int = 0
    files: tuple[str, ...] = ()
    files_total: int = 0
    measured: bool = True

    @property
    def listed_files(self) -> tuple[str, ...]:
        """The files, and how many more there are."""
        more = self.files_total - len(self.files)
        return (*self.files, f"and {more} more") if more > 0 else self.files


Result = CheckResult | LeakProbe


def status_of(result: Result) -> Status:
    """What a result does to the pipeline."""
    if not result.passed:
        return "stopped" if result.severity == "stop" else "warned"
    measured = result.measured if isinstance(result, CheckResult) else result.auc is not None
    return "passed" if measured else "not measured"


def result_name(result: Result) -> str:
    """Name for people."""
    return result.name if isinstance(result, CheckResult) else f"probe {result.name}"


def raise_if_stopped(checks: Sequence[CheckResult], probes: Sequence[LeakProbe] = ()) -> None:
    """Do nothing if everything of severity `stop` passed.

    Raises:
        DataRejected: names each failed check and probe, its reason, what was found and the files.
    """
    failed = [_failure(check) for check in checks if status_of(check) == "stopped"]
    failed += [
        f"{result_name(probe)}: {probe.reason} (see validate.severity.{probe.name.split()[0]})"
        for probe in probes
        if status_of(probe) == "stopped"
    ]
    if failed:
        raise DataRejected(
            "the data failed validation:\n  " + "\n  ".join(failed),
            "correct or remove the files above, or let prepare do it (prepare.reencode, prepare.drop, "
            "prepare.drop_duplicates) and set validate.severity to warn; details are in reports/validate.json and "
            "reports/data_docs/index.html",
        )


def print_summary(checks: Sequence[CheckResult], probes: Sequence[LeakProbe], console: Console | None = None) -> None:
    """Print a line per check and probe, and how many passed, warned and stopped.

    Args:
        checks: all of them.
        probes: all of them.
        console: the terminal by default.
    """
    console = console or Console()
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("check", overflow="fold")
    table.add_column("result", overflow="fold")
    results: list[Result] = [*checks, *probes]
    for result in results:
        status = status_of(result)
        table.add_row(f"[{_COLOURS[status]}]{status}[/]", escape(result_name(result)), escape(_observed(result)))
    console.print(table)
    counts = Counter(status_of(result) for result in results)
    console.print(", ".join(f"{counts[status]} {status}" for status in _COLOURS))


def _failure(check: CheckResult) -> str:
    files = "".join(f"\n      {name}" for name in check.listed_files)
    setting = f" (see {_SETTINGS[check.name]})" if check.name in _SETTINGS else ""
    return f"{check.name}: {check.observed}; {check.reason}{setting}{files}"


def _observed(result: Result) -> str:
    if isinstance(result, CheckResult):
        return result.observed
    return f"AUC {result.auc:.3f}" if result.auc is not None and result.passed else result.reason
