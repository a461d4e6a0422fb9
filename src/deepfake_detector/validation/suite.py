"""Validation settings -> Great Expectations' suites, each expectation with a name, a severity and a reason.

Here alone the checks are defined. The stage writes the suites to gx/expectations, where Great Expectations reads them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from great_expectations.core.expectation_suite import ExpectationSuite
from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween
from great_expectations.expectations.core.expect_column_values_to_be_in_set import ExpectColumnValuesToBeInSet
from great_expectations.expectations.core.expect_column_values_to_be_unique import ExpectColumnValuesToBeUnique
from great_expectations.expectations.core.expect_table_columns_to_match_set import ExpectTableColumnsToMatchSet
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity
from great_expectations.expectations.row_conditions import Column

from deepfake_detector.config import Severity, Validate
from deepfake_detector.datasets.archive import LABELS, SPLITS
from deepfake_detector.io import atomic_write
from deepfake_detector.validation.custom_expectations import (
    ExpectColumnFacesToBeFound,
    ExpectColumnPairLabelsToAgree,
    ExpectColumnValuesToNameNoMatch,
    ExpectMulticolumnValuesToHaveSameDistributionInBothClasses,
)
from deepfake_detector.validation.image_record import MANIFEST_COLUMNS

GX_SEVERITY: dict[Severity, FailureSeverity] = {"stop": FailureSeverity.CRITICAL, "warn": FailureSeverity.WARNING}
_IDS = UUID("15c2de40-d2e2-5bbe-a129-07e67198a659")  # namespace; validation_definitions/ name ids of suites
_READABLE = Column("error") == ""
_USUAL_MODES = ("RGB", "L", "YCbCr")
_ENCODINGS = {
    "format": "same file formats",
    "mode": "same colour modes",
    "quantization": "same quantization tables",
    "subsampling": "same chroma subsampling",
}


def suites(settings: Validate) -> dict[str, ExpectationSuite]:
    """All checks.

    Returns:
        `manifest`: about one row per picture, as `build_manifest` returns it; its first expectation is about the
        columns. `files`, `classes` and `splits`: about the tables of these names, see `derived_tables`.
        Ids are derived from names, so that equal settings give equal files.
    """
    expectations = {
        "manifest": [*_manifest_rows(settings), *_appearance(settings)],
        "files": [*_derived_columns(settings), *_separation_of_splits(settings), *_encoding(settings)],
        "classes": _classes(settings),
        "splits": _splits(),
    }
    return {name: _suite(name, of_table) for name, of_table in expectations.items()}


def write_suites(settings: Validate, gx_folder: Path) -> None:
    """Write each suite to `expectations/NAME.json`; a file that has this content already is not touched.

    Args:
        settings: the section `validate` of params.yaml.
        gx_folder: the folder of great_expectations.yml.
    """
    for name, suite in suites(settings).items():
        path, text = gx_folder / "expectations" / f"{name}.json", json.dumps(suite.to_json_dict(), indent=2) + "\n"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            with atomic_write(path) as temporary:
                temporary.write_text(text, encoding="utf-8")


def _suite(name: str, expectations: list[Expectation]) -> ExpectationSuite:
    suite = ExpectationSuite(name=name, id=str(uuid5(_IDS, f"suite/{name}")), expectations=expectations)
    for expectation in suite.expectations:
        expectation.id = str(uuid5(_IDS, f"expectation/{name}/{(expectation.meta or {})['name']}"))
    return suite


def _classes(settings: Validate) -> list[Expectation]:
    few = "with fewer pictures of a class in a split no figure has a useful interval"
    unbalanced = "accuracy is reported alone, so the classes must be nearly balanced"
    one_sided = "from a source with mostly one class a model learns the source instead of the face"
    one_class = (
        "its pictures can be told by their source alone: matched degradation and the leak probes over all sources show "
        "how much that helps, and its AUC is measured against the other sources"
    )
    all_sources, one_source = Column("source") == "", Column("source") != ""
    limit = settings.max_class_imbalance
    return [
        ExpectColumnValuesToBeBetween(
            column="images",
            min_value=settings.min_images_per_class,
            row_condition=all_sources,
            **_described("enough pictures", "stop", few),
        ),
        ExpectColumnValuesToBeBetween(
            column="imbalance",
            max_value=limit,
            row_condition=all_sources,
            **_described("balanced classes", "stop", unbalanced),
        ),
        ExpectColumnValuesToBeBetween(
            column="imbalance",
            max_value=limit,
            row_condition=one_source,
            **_described("balanced classes in each source", "warn", one_sided),
        ),
        ExpectColumnValuesToBeInSet(
            column="only_class",
            value_set=[""],
            row_condition=one_source,
            **_described("both classes in each source", "warn", one_class),
        ),
    ]


def _splits() -> list[Expectation]:
    reason = (
        "a rule fitted on the other splits scores the real pictures of this one above its fakes, more often than "
        "chance allows: real and fake were swapped here"
    )
    described = _described("consistent labels across splits", "stop", reason)
    return [ExpectColumnValuesToBeBetween(column="auc_high", min_value=0.5, **described)]


def _manifest_rows(settings: Validate) -> list[Expectation]:
    unreadable = "a picture that cannot be decoded trains nothing, and indicates a damaged copy"
    return [
        ExpectTableColumnsToMatchSet(
            column_set=list(MANIFEST_COLUMNS),
            exact_match=True,
            **_described("columns", "stop", "every later stage reads these columns"),
        ),
        ExpectColumnValuesToBeUnique(column="path", **_described("unique paths", "stop", "a path names one picture")),
        ExpectColumnValuesToBeInSet(
            column="error",
            value_set=[""],
            mostly=1 - settings.max_unreadable_share,
            **_described("readable", "stop", unreadable),
        ),
        ExpectColumnValuesToBeInSet(
            column="label", value_set=sorted(LABELS.values()), **_described("labels", "stop", "1 is fake, 0 is real")
        ),
        ExpectColumnValuesToBeInSet(
            column="split",
            value_set=list(SPLITS),
            **_described("splits", "stop", "pictures outside these splits are never used"),
        ),
        ExpectColumnValuesToBeInSet(
            column="mode",
            value_set=list(_USUAL_MODES),
            row_condition=_READABLE,
            **_described("usual colour modes", "warn", "converting palettes, transparency or CMYK leaves traces"),
        ),
    ]


def _derived_columns(settings: Validate) -> list[Expectation]:
    small = "a smaller picture cannot hold a face that is large enough to be scored"
    contradiction = (
        "folder and CSV file are independent: where they differ, a folder was renamed or pictures were moved"
    )
    return [
        ExpectColumnPairLabelsToAgree(
            column_A="label", column_B="csv_label", **_described("labels agree with CSV", "stop", contradiction)
        ),
        ExpectColumnValuesToBeBetween(
            column="side_px", min_value=settings.min_side_px, **_described("large enough", "stop", small)
        ),
    ]


def _appearance(settings: Validate) -> list[Expectation]:
    severity = settings.severity
    low, high = settings.brightness
    dark = "a picture that is nearly black or white shows no face"
    blurred = "such a blur removes every trace of a generator: the picture teaches that fakes are real"
    return [
        ExpectColumnValuesToBeBetween(
            column="brightness",
            min_value=low,
            max_value=high,
            row_condition=_READABLE,
            **_described("brightness", severity["brightness"], dark),
        ),
        ExpectColumnValuesToBeBetween(
            column="contrast",
            min_value=settings.min_contrast,
            row_condition=_READABLE,
            **_described("contrast", severity["contrast"], "a flat picture shows no face"),
        ),
        ExpectColumnValuesToBeBetween(
            column="sharpness",
            min_value=settings.min_sharpness,
            row_condition=_READABLE,
            **_described("sharpness", severity["sharpness"], blurred),
        ),
        ExpectColumnFacesToBeFound(
            column="faces",
            mostly=1 - settings.max_faceless_share,
            row_condition=_READABLE,
            **_described("faces found", severity["faceless"], "a picture without a detected face gives no crop"),
        ),
    ]


def _separation_of_splits(settings: Validate) -> list[Expectation]:
    severity = settings.severity
    leak = "a test picture seen in training inflates every figure"
    rules: tuple[tuple[str, str, Severity, str], ...] = (
        ("duplicate_in_other_split", "no duplicate across splits", severity["duplicates_across_splits"], leak),
        (
            "duplicate_in_split",
            "no duplicate within a split",
            severity["duplicates_within_split"],
            "duplicates count double without adding information",
        ),
        ("duplicate_with_other_label", "one label per picture", "stop", "the same bytes cannot be real and fake"),
        (
            "near_duplicate_in_other_split",
            "no near-duplicate across splits",
            severity["near_duplicates_across_splits"],
            f"{leak}, even if it was saved again",
        ),
        (
            "near_duplicate_with_other_label",
            "one label for near-duplicates",
            "warn",
            "one picture, saved twice, has two labels",
        ),
        ("group_in_other_split", "groups within one split", "stop", f"a group is one person or video; {leak}"),
    )
    return [
        ExpectColumnValuesToNameNoMatch(column=column, **_described(name, level, reason))
        for column, name, level, reason in rules
    ]


def _encoding(settings: Validate) -> list[Expectation]:
    # With balanced classes such a rule is right in 0.5 + distance / 2, and its AUC is at least that.
    distance = round(2 * (settings.max_metadata_auc - 0.5), 6)
    reason = f"this property alone would separate real from fake with an AUC above {settings.max_metadata_auc:g}"
    return [
        ExpectMulticolumnValuesToHaveSameDistributionInBothClasses(
            column_list=["class_name", "split", column],
            max_distance=distance,
            **_described(name, settings.severity["encoding"], reason),
        )
        for column, name in _ENCODINGS.items()
    ]


def _described(name: str, severity: Severity, reason: str) -> dict[str, Any]:
    """Arguments by which Great Expectations and its pages describe a check."""
    return {
        "severity": GX_SEVERITY[severity],
        "description": f"{name} [{severity}]: {reason}",  # on the pages of results
        "notes": reason,  # on the page of the suite
        "meta": {"name": name, "severity": severity, "reason": reason},
    }
