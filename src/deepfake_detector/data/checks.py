"""A manifest -> answers with reasons and the files they are about, and Great Expectations' Data Docs as pages."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.checkpoint.actions import UpdateDataDocsAction
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
from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween
from great_expectations.expectations.core.expect_column_values_to_be_in_set import ExpectColumnValuesToBeInSet
from great_expectations.expectations.core.expect_column_values_to_be_unique import ExpectColumnValuesToBeUnique
from great_expectations.expectations.core.expect_table_columns_to_match_set import ExpectTableColumnsToMatchSet
from great_expectations.expectations.expectation import Expectation

from deepfake_detector.data.answers import Check, Severity
from deepfake_detector.data.archives import LABELS, SPLITS
from deepfake_detector.data.manifest import COLUMNS
from deepfake_detector.data.pages import keep_at_home
from deepfake_detector.data.tables import class_table, file_table
from deepfake_detector.errors import CheckCrashed
from deepfake_detector.settings import Validate

FILES_NAMED = 20
_GX_SEVERITY: dict[Severity, str] = {"stop": "critical", "warn": "warning"}


def check_manifest(manifest: pd.DataFrame, settings: Validate, data_docs: Path) -> tuple[Check, ...]:
    """Ask every question and write the pages.

    Args:
        manifest: as `build_manifest` gives it.
        settings: the section `validate` of params.yaml.
        data_docs: folder of the pages; what an earlier run left there is removed.

    Returns:
        One answer per question, whether it passed or not.

    Raises:
        CheckCrashed: an expectation raised, so it says nothing about the data.
    """
    shutil.rmtree(data_docs, ignore_errors=True)  # its pages are named by time: they would pile up
    context = _context(data_docs)
    checks = _run(context, "columns", manifest, _about_columns())
    # Nothing else can be asked of a table of another shape.
    if checks[0].passed:
        checks += _run(context, "files", file_table(manifest), _about_files(settings))
        checks += _run(context, "classes", class_table(manifest), _about_classes(settings))
    keep_at_home(data_docs, checks)
    return checks


def _about_columns() -> list[Expectation]:
    return [
        ExpectTableColumnsToMatchSet(
            column_set=list(COLUMNS),
            exact_match=True,
            **_told("columns", "stop", "every later stage reads these columns"),
        )
    ]


def _about_files(settings: Validate) -> list[Expectation]:
    return [
        ExpectColumnValuesToBeUnique(column="path", **_told("unique paths", "stop", "a path names one picture")),
        ExpectColumnValuesToBeInSet(
            column="error",
            value_set=[""],
            mostly=1 - settings.max_unreadable_share,
            **_told("readable", "stop", "a picture that no decoder reads trains nothing and hides a broken copy"),
        ),
        ExpectColumnValuesToBeInSet(
            column="label", value_set=sorted(LABELS.values()), **_told("labels", "stop", "1 is fake, 0 is real")
        ),
        ExpectColumnValuesToBeInSet(
            column="split", value_set=list(SPLITS), **_told("splits", "stop", "pictures outside a split are never used")
        ),
        ExpectColumnValuesToBeBetween(
            column="side_px",
            min_value=settings.min_side_px,
            **_told("large enough", "stop", "a smaller picture cannot hold a face that is large enough to judge"),
        ),
        ExpectColumnValuesToBeBetween(
            column="splits",
            max_value=1,
            **_told("no copy across splits", "stop", "a test picture seen in training makes every figure too good"),
        ),
        ExpectColumnValuesToBeBetween(
            column="copies",
            max_value=1,
            **_told("no copy within a split", "warn", "copies count double without knowing more"),
        ),
    ]


def _about_classes(settings: Validate) -> list[Expectation]:
    return [
        ExpectColumnValuesToBeBetween(
            column="images",
            min_value=settings.min_images_per_class,
            **_told("enough pictures", "stop", "with fewer pictures of a class in a split no figure means anything"),
        ),
        ExpectColumnValuesToBeBetween(
            column="imbalance",
            max_value=settings.max_class_imbalance,
            **_told("even classes", "stop", "accuracy is quoted bare, so real and fake must be near even"),
        ),
    ]


def _told(name: str, severity: Severity, reason: str) -> dict[str, Any]:
    """What Great Expectations and its pages are told about a question."""
    meta = {"name": name, "severity": severity, "reason": reason}
    return {"severity": _GX_SEVERITY[severity], "notes": f"**{name}** ({severity}): {reason}", "meta": meta}


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
        actions=[UpdateDataDocsAction(name="pages", site_names=["pages"])],
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["path"]},
    )
    (run,) = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": table}).run_results.values()
    return tuple(_answer(result) for result in run.results)


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
    count = f"{found.get('unexpected_count', 0)} of {found.get('element_count', 0)} break it"
    return f"{count}, for example {values[0]!r}" if values else count


def _crashes(info: Mapping[str, Any] | None) -> Iterator[str]:
    """Messages of exceptions; Great Expectations puts one into the mapping itself, or one per metric below it."""
    for part in (info or {}, *(value for value in (info or {}).values() if isinstance(value, Mapping))):
        if part.get("raised_exception"):
            yield str(part.get("exception_message"))
