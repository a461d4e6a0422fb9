"""A manifest -> one `CheckResult` per expectation, and Great Expectations' Data Docs as web pages."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import great_expectations as gx
import numpy as np
import pandas as pd
from great_expectations.checkpoint.checkpoint import Checkpoint
from great_expectations.core.expectation_suite import ExpectationSuite
from great_expectations.core.expectation_validation_result import ExpectationValidationResult
from great_expectations.core.validation_definition import ValidationDefinition
from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.expectations.expectation import Expectation
from numpy.typing import NDArray

from deepfake_detector.config import Validate
from deepfake_detector.errors import CheckCrashed
from deepfake_detector.validation.check_tables import class_table, file_table
from deepfake_detector.validation.data_docs import make_self_contained
from deepfake_detector.validation.label_consistency import label_consistency_table
from deepfake_detector.validation.leak_probes import LeakProbe
from deepfake_detector.validation.results import CheckResult
from deepfake_detector.validation.suite import (
    class_expectations,
    column_expectations,
    file_expectations,
    split_expectations,
)

MAX_FILES_LISTED = 20


def check_manifest(
    manifest: pd.DataFrame,
    settings: Validate,
    data_docs: Path,
    near_duplicates: NDArray[np.int64] | None = None,
    csv_labels: pd.Series | None = None,
    probes: Sequence[LeakProbe] = (),
) -> tuple[CheckResult, ...]:
    """Run every check and write the pages.

    Args:
        manifest: as `build_manifest` returns it.
        settings: the section `validate` of params.yaml.
        data_docs: folder of the pages; pages of an earlier run are deleted.
        near_duplicates: as `find_near_duplicates` returns them; none by default.
        csv_labels: as `labels_from_csv` returns them; none by default.
        probes: shown on the front page.

    Returns:
        One result per check, passed or not. If the columns are wrong, only the result of that check.

    Raises:
        CheckCrashed: an expectation raised an exception, which says nothing about the data.
    """
    shutil.rmtree(data_docs, ignore_errors=True)  # pages are named by time: those of earlier runs would pile up
    context = _context(data_docs)
    checks = _run_suite(context, "columns", manifest, column_expectations())
    if checks[0].passed:
        pairs = np.empty((0, 2), np.int64) if near_duplicates is None else near_duplicates
        labels = pd.Series(np.nan, index=manifest.index) if csv_labels is None else csv_labels
        checks += _run_suite(context, "files", file_table(manifest, pairs, labels), file_expectations(settings))
        checks += _run_suite(context, "classes", class_table(manifest), class_expectations(settings))
        checks += _run_suite(context, "splits", label_consistency_table(manifest), split_expectations())
    context.build_data_docs()  # once: as an action of each checkpoint it takes most of the stage's time
    make_self_contained(data_docs, checks, probes)
    return checks


def _context(data_docs: Path) -> EphemeralDataContext:
    """Great Expectations without a project folder: everything is in memory except the pages."""
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    site = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(data_docs)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        data_docs_sites={"pages": site},
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    return gx.get_context(project_config=config, mode="ephemeral")


def _run_suite(
    context: EphemeralDataContext, name: str, table: pd.DataFrame, expectations: list[Expectation]
) -> tuple[CheckResult, ...]:
    """Validate one table by one checkpoint; results are in the order of the expectations."""
    asset = context.data_sources.add_pandas(name).add_dataframe_asset(name)
    suite = context.suites.add(ExpectationSuite(name=name, expectations=expectations))
    batch = asset.add_batch_definition_whole_dataframe("whole")
    definition = context.validation_definitions.add(ValidationDefinition(name=name, data=batch, suite=suite))
    checkpoint = Checkpoint(
        name=name,
        validation_definitions=[definition],
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": ["path"],
            "return_unexpected_index_query": False,  # it would put every row number on the page
        },
    )
    (run,) = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": table}).run_results.values()
    results = {result.name: result for result in map(_check_result, run.results)}
    return tuple(results[(expectation.meta or {})["name"]] for expectation in expectations)


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
        rows_checked=_rows_checked(details),
        rows_failed=details.get("unexpected_count") or 0,
        files=tuple(files[:MAX_FILES_LISTED]),
        files_total=len(files),
    )


def _rows_checked(details: Mapping[str, Any]) -> int:
    return (details.get("element_count") or 0) - (details.get("missing_count") or 0)


def _observed(details: Mapping[str, Any]) -> str:
    """A sentence for people."""
    if "observed_value" in details:
        mismatch = details.get("details", {}).get("mismatched")
        return str(mismatch) if mismatch else f"{len(details['observed_value'])} columns, as expected"
    checked = _rows_checked(details)
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
