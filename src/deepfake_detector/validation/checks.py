"""A manifest -> one `CheckResult` per expectation, and Data Docs, by the checkpoint of the context in gx/."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import great_expectations as gx
import numpy as np
import pandas as pd
from great_expectations.data_context.data_context.file_data_context import FileDataContext
from numpy.typing import NDArray

from deepfake_detector.config import Validate
from deepfake_detector.errors import ToolFailed
from deepfake_detector.io import write_json
from deepfake_detector.paths import Workspace
from deepfake_detector.validation.check_results import checkpoint_results, suite_results
from deepfake_detector.validation.check_tables import class_table, file_table
from deepfake_detector.validation.image_record import MANIFEST_COLUMNS
from deepfake_detector.validation.label_consistency import label_consistency_table
from deepfake_detector.validation.leak_probes import LeakProbe
from deepfake_detector.validation.manifest import write_manifest
from deepfake_detector.validation.results import CheckResult
from deepfake_detector.validation.suite import write_suites

CHECKPOINT = "data_checks"
PROBES_FILE = "probes.json"


def rejected_manifest(workspace: Workspace) -> Path:
    """Where the manifest lies until the checks have passed: no later stage reads it there."""
    return workspace.manifest.with_name("manifest_rejected.parquet")


def check_manifest(
    manifest: pd.DataFrame,
    settings: Validate,
    workspace: Workspace,
    near_duplicates: NDArray[np.int64] | None = None,
    csv_labels: pd.Series | None = None,
    probes: Sequence[LeakProbe] = (),
    left_out: Collection[str] = (),
) -> tuple[CheckResult, ...]:
    """Write the suites and the tables that the context in gx/ names, and run its checkpoint.

    Everything that the checkpoint reads stays on disk, so that it gives the same results and pages when somebody
    opens the context and runs it again: gx/expectations, the manifest (see `rejected_manifest`), and in
    reports/validate the derived tables and the leak probes.

    Args:
        manifest: as `build_manifest` returns it.
        settings: the section `validate` of params.yaml.
        workspace: the checkout; holds gx/.
        near_duplicates: as `find_near_duplicates` returns them; none by default.
        csv_labels: as `labels_from_csv` returns them; none by default.
        probes: shown on the front page.
        left_out: sources with `use: test`: balance and encoding are judged on the others.

    Returns:
        One result per check, passed or not. If the columns are wrong, only the result of that check.

    Raises:
        CheckCrashed: an expectation raised an exception, which says nothing about the data.
        ToolFailed: there is no gx/.
    """
    context = open_context(workspace)
    write_suites(settings, Path(context.root_directory))
    write_manifest(manifest, rejected_manifest(workspace))
    if set(manifest.columns) != set(MANIFEST_COLUMNS):
        return _column_check(context)
    pairs = np.empty((0, 2), np.int64) if near_duplicates is None else near_duplicates
    labels = pd.Series(np.nan, index=manifest.index) if csv_labels is None else csv_labels
    folder = workspace.figures("validate")
    for name, table in _derived_tables(manifest, pairs, labels, left_out).items():
        write_manifest(table, folder / f"{name}.parquet")
    write_json(folder / PROBES_FILE, {"probes": [asdict(probe) for probe in probes]})
    return checkpoint_results(context.checkpoints.get(CHECKPOINT).run())


def accept_manifest(workspace: Workspace) -> None:
    """Put the checked manifest where later stages read it."""
    rejected_manifest(workspace).replace(workspace.manifest)


def delete_earlier_run(workspace: Workspace) -> None:
    """Delete manifest, report, tables and pages: a data set that is rejected must not have those of the one before."""
    for file in (workspace.manifest, rejected_manifest(workspace), workspace.report("validate")):
        file.unlink(missing_ok=True)
    for folder in (workspace.figures("validate"), workspace.data_docs):
        shutil.rmtree(folder, ignore_errors=True)


def open_context(workspace: Workspace) -> FileDataContext:
    """The file context in gx/.

    Raises:
        ToolFailed: this folder has none.
    """
    folder = workspace.root / "gx"
    if not (folder / "great_expectations.yml").is_file():
        raise ToolFailed(f"no Great Expectations context in {folder}", "`git restore gx` brings it back")
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    return gx.get_context(mode="file", context_root_dir=folder)


def _derived_tables(
    manifest: pd.DataFrame, near_duplicates: NDArray[np.int64], csv_labels: pd.Series, left_out: Collection[str]
) -> Mapping[str, pd.DataFrame]:
    return {
        "files": file_table(manifest, near_duplicates, csv_labels, left_out),
        "classes": class_table(manifest, left_out),
        "splits": label_consistency_table(manifest),
    }


def _column_check(context: FileDataContext) -> tuple[CheckResult, ...]:
    """Of a manifest with other columns nothing else can be checked."""
    suite = context.suites.get("manifest")
    suite.expectations = suite.expectations[:1]
    batch = context.validation_definitions.get("manifest").batch_definition.get_batch()
    return tuple(suite_results(batch.validate(suite, result_format="COMPLETE")))
