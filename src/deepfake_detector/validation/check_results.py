"""Great Expectations' result of a checkpoint -> one `CheckResult` per expectation, in the order of the suites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from great_expectations.checkpoint.checkpoint import CheckpointResult
from great_expectations.core.expectation_validation_result import (
    ExpectationSuiteValidationResult,
    ExpectationValidationResult,
)

from deepfake_detector.errors import CheckCrashed
from deepfake_detector.validation.results import CheckResult

MAX_FILES_LISTED = 20


def checkpoint_results(run: CheckpointResult) -> tuple[CheckResult, ...]:
    """Results of all suites of a checkpoint.

    Raises:
        CheckCrashed: an expectation raised an exception, which says nothing about the data.
    """
    orders = {
        definition.suite.name: [(expectation.meta or {})["name"] for expectation in definition.suite.expectations]
        for definition in run.checkpoint_config.validation_definitions
    }
    checks: list[CheckResult] = []
    for result in run.run_results.values():
        order = orders[result.suite_name]
        checks += sorted(suite_results(result), key=lambda check: order.index(check.name))
    return tuple(checks)


def suite_results(result: ExpectationSuiteValidationResult) -> list[CheckResult]:
    """Results of one suite.

    Raises:
        CheckCrashed: an expectation raised an exception.
    """
    return [_check_result(each) for each in result.results]


def rows_checked(details: Mapping[str, Any]) -> int:
    """Rows with a value, among those that the expectation is about."""
    return (details.get("element_count") or 0) - (details.get("missing_count") or 0)


def is_measured(details: Mapping[str, Any]) -> bool:
    """False if there was nothing to compare: no row, or no row with a value."""
    return "observed_value" in details or rows_checked(details) > 0


def _check_result(result: ExpectationValidationResult) -> CheckResult:
    meta = (result.expectation_config and result.expectation_config.meta) or {}
    crash = next(_exceptions(result.exception_info), None)
    if crash is not None:
        raise CheckCrashed(
            f"the check {meta['name']!r} raised an exception: {crash}",
            "the data was not checked; this is a bug in the check or in Great Expectations",
        )
    details = result.result
    files = sorted({str(row["path"]) for row in details.get("unexpected_index_list") or ()})
    return CheckResult(
        name=meta["name"],
        severity=meta["severity"],
        passed=bool(result.success),
        reason=meta["reason"],
        observed=_observed(details),
        measured=is_measured(details),
        rows_checked=rows_checked(details),
        rows_failed=details.get("unexpected_count") or 0,
        files=tuple(files[:MAX_FILES_LISTED]),
        files_total=len(files),
    )


def _observed(details: Mapping[str, Any]) -> str:
    """A sentence for people."""
    if "observed_value" in details:
        mismatch = details.get("details", {}).get("mismatched")
        return str(mismatch) if mismatch else f"{len(details['observed_value'])} columns, as expected"
    checked = rows_checked(details)
    if checked == 0:
        return "nothing to compare"
    values: Sequence[Any] = details.get("partial_unexpected_list") or ()
    count = f"{details.get('unexpected_count', 0)} of {checked} fail"
    return f"{count}, for example {_example(values[0])}" if values else count


def _example(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    if isinstance(value, tuple):
        return " against ".join(str(part) for part in value)
    return repr(round(value, 3) if isinstance(value, float) else value)


def _exceptions(info: Mapping[str, Any] | None) -> Iterator[str]:
    """Messages of exceptions; Great Expectations puts one into the mapping itself, or one per metric below it."""
    for part in (info or {}, *(value for value in (info or {}).values() if isinstance(value, Mapping))):
        if part.get("raised_exception"):
            yield str(part.get("exception_message"))
