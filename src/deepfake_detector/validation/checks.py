"""A manifest -> answers with reasons and the files they are about, and Great Expectations' Data Docs as pages."""

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
from deepfake_detector.validation.data_docs import keep_at_home
from deepfake_detector.validation.label_consistency import split_table
from deepfake_detector.validation.leak_probes import Probe
from deepfake_detector.validation.results import Check
from deepfake_detector.validation.suite import about_classes, about_columns, about_files, about_splits

FILES_NAMED = 20


def check_manifest(
    manifest: pd.DataFrame,
    settings: Validate,
    data_docs: Path,
    lookalikes: NDArray[np.int64] | None = None,
    listed: pd.Series | None = None,
    probes: Sequence[Probe] = (),
) -> tuple[Check, ...]:
    """Ask every question and write the pages.

    Args:
        manifest: as `build_manifest` gives it.
        settings: the section `validate` of params.yaml.
        data_docs: folder of the pages; what an earlier run left there is removed.
        lookalikes: as `find_lookalikes` gives them; none if left out.
        listed: as `listed_labels` gives them; none if left out.
        probes: for the front page.

    Returns:
        One answer per question, whether it passed or not.

    Raises:
        CheckCrashed: an expectation raised, so it says nothing about the data.
    """
    shutil.rmtree(data_docs, ignore_errors=True)  # its pages are named by time: they would pile up
    context = _context(data_docs)
    checks = _run(context, "columns", manifest, about_columns())
    # Nothing else can be asked of a table of another shape.
    if checks[0].passed:
        pairs = np.empty((0, 2), np.int64) if lookalikes is None else lookalikes
        witnesses = pd.Series(np.nan, index=manifest.index) if listed is None else listed
        checks += _run(context, "files", file_table(manifest, pairs, witnesses), about_files(settings))
        checks += _run(context, "classes", class_table(manifest), about_classes(settings))
        checks += _run(context, "splits", split_table(manifest), about_splits())
    context.build_data_docs()  # once: as an action of each checkpoint it takes most of the stage's time
    keep_at_home(data_docs, checks, probes)
    return checks


def _context(data_docs: Path) -> EphemeralDataContext:
    """Great Expectations without a project folder: everything in memory except the pages."""
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


def _run(
    context: EphemeralDataContext, name: str, table: pd.DataFrame, expectations: list[Expectation]
) -> tuple[Check, ...]:
    """One table through one checkpoint."""
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
            "return_unexpected_index_query": False,  # a line of code with every row number, on the page
        },
    )
    (run,) = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": table}).run_results.values()
    answers = {answer.name: answer for answer in map(_answer, run.results)}
    return tuple(answers[(asked.meta or {})["name"]] for asked in expectations)  # in the order they were asked


def _answer(result: ExpectationValidationResult) -> Check:
    told = (result.expectation_config and result.expectation_config.meta) or {}
    crash = next(_crashes(result.exception_info), None)
    if crash is not None:
        raise CheckCrashed(
            f"the check {told['name']!r} broke before it had an answer: {crash}",
            "the data was not judged; this is a bug in the check or in Great Expectations",
        )
    found = result.result
    files = sorted({str(row["path"]) for row in found.get("unexpected_index_list") or ()})
    return Check(
        name=told["name"],
        severity=told["severity"],
        passed=bool(result.success),
        reason=told["reason"],
        observed=_observed(found),
        files=tuple(files[:FILES_NAMED]),
        files_total=len(files),
    )


def _observed(found: Mapping[str, Any]) -> str:
    if "observed_value" in found:
        wrong = found.get("details", {}).get("mismatched")
        return str(wrong) if wrong else f"{len(found['observed_value'])} columns, as expected"
    values: Sequence[Any] = found.get("partial_unexpected_list") or ()
    asked = found.get("element_count", 0) - (found.get("missing_count") or 0)
    if asked == 0:
        return "nothing to compare"
    count = f"{found.get('unexpected_count', 0)} of {asked} break it"
    return f"{count}, for example {_in_words(values[0])}" if values else count


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    if isinstance(value, tuple):
        return " against ".join(str(part) for part in value)
    return repr(round(value, 3) if isinstance(value, float) else value)


def _crashes(info: Mapping[str, Any] | None) -> Iterator[str]:
    """Messages of exceptions; Great Expectations puts one into the mapping itself, or one per metric below it."""
    for part in (info or {}, *(value for value in (info or {}).values() if isinstance(value, Mapping))):
        if part.get("raised_exception"):
            yield str(part.get("exception_message"))
