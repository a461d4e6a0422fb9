"""Validation settings -> what is asked about a manifest: expectations, each with a name, a severity and a reason."""

from __future__ import annotations

from typing import Any

from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween
from great_expectations.expectations.core.expect_column_values_to_be_in_set import ExpectColumnValuesToBeInSet
from great_expectations.expectations.core.expect_column_values_to_be_unique import ExpectColumnValuesToBeUnique
from great_expectations.expectations.core.expect_table_columns_to_match_set import ExpectTableColumnsToMatchSet
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity
from great_expectations.expectations.row_conditions import Column

from deepfake_detector.config import Severity, Validate
from deepfake_detector.datasets.archive import LABELS, SPLITS
from deepfake_detector.validation.custom_expectations import (
    ExpectColumnFacesToBeFound,
    ExpectColumnPairLabelsToAgree,
    ExpectColumnValuesToNameNoPartner,
    ExpectMulticolumnValuesToBeAlikeInBothClasses,
)
from deepfake_detector.validation.manifest import COLUMNS

GX_SEVERITY: dict[Severity, FailureSeverity] = {"stop": FailureSeverity.CRITICAL, "warn": FailureSeverity.WARNING}
_PLAIN_MODES = ("RGB", "L", "YCbCr")
_ENCODINGS = {
    "format": "file formats alike",
    "mode": "colour modes alike",
    "quantization": "quantization tables alike",
    "subsampling": "chroma subsampling alike",
}


def about_columns() -> list[Expectation]:
    """What must hold before anything else can be asked."""
    told = _told("columns", "stop", "every later stage reads these columns")
    return [ExpectTableColumnsToMatchSet(column_set=list(COLUMNS), exact_match=True, **told)]


def about_files(settings: Validate) -> list[Expectation]:
    """About the table of files, see `file_table`."""
    return [
        *_about_each_file(settings),
        *_about_looks(settings),
        *_about_partners(settings),
        *_about_encodings(settings),
    ]


def about_classes(settings: Validate) -> list[Expectation]:
    """About the table of splits and classes, see `class_table`."""
    few = "with fewer pictures of a class in a split no figure means anything"
    even = "accuracy is quoted bare, so real and fake must be near even"
    lone = "a source that brings mostly one class teaches the source instead of the face"
    together, each = Column("source") == "", Column("source") != ""
    limit = settings.max_class_imbalance
    return [
        ExpectColumnValuesToBeBetween(
            column="images",
            min_value=settings.min_images_per_class,
            row_condition=together,
            **_told("enough pictures", "stop", few),
        ),
        ExpectColumnValuesToBeBetween(
            column="imbalance",
            max_value=limit,
            row_condition=together,
            **_told("even classes", "stop", even),
        ),
        ExpectColumnValuesToBeBetween(
            column="imbalance",
            max_value=limit,
            row_condition=each,
            **_told("even classes in each source", "warn", lone),
        ),
    ]


def about_splits() -> list[Expectation]:
    """About the table of splits, see `split_table`."""
    reason = (
        "a rule learnt on the other splits calls the fakes of this one real, surely more often than by chance: "
        "somebody exchanged real and fake here"
    )
    told = _told("labels point the same way", "stop", reason)
    return [ExpectColumnValuesToBeBetween(column="auc_high", min_value=0.5, **told)]


def _about_each_file(settings: Validate) -> list[Expectation]:
    readable = "a picture that no decoder reads trains nothing and hides a broken copy"
    small = "a smaller picture cannot hold a face that is large enough to judge"
    listed = "folder and list are two witnesses: where they differ, a folder was renamed or pictures were moved"
    return [
        ExpectColumnValuesToBeUnique(column="path", **_told("unique paths", "stop", "a path names one picture")),
        ExpectColumnValuesToBeInSet(
            column="error",
            value_set=[""],
            mostly=1 - settings.max_unreadable_share,
            **_told("readable", "stop", readable),
        ),
        ExpectColumnValuesToBeInSet(
            column="label", value_set=sorted(LABELS.values()), **_told("labels", "stop", "1 is fake, 0 is real")
        ),
        ExpectColumnPairLabelsToAgree(column_A="label", column_B="listed", **_told("labels as listed", "stop", listed)),
        ExpectColumnValuesToBeInSet(
            column="split", value_set=list(SPLITS), **_told("splits", "stop", "pictures outside a split are never used")
        ),
        ExpectColumnValuesToBeBetween(
            column="side_px", min_value=settings.min_side_px, **_told("large enough", "stop", small)
        ),
        ExpectColumnValuesToBeInSet(
            column="mode",
            value_set=list(_PLAIN_MODES),
            **_told("plain colours", "warn", "palettes, transparency and print colours leave traces when converted"),
        ),
    ]


def _about_looks(settings: Validate) -> list[Expectation]:
    chosen = settings.severity
    low, high = settings.brightness
    dark = "a picture that is all but black or white shows no face"
    blurred = "no trace of a generator survives such a blur: it teaches that fakes are real"
    return [
        ExpectColumnValuesToBeBetween(
            column="brightness",
            min_value=low,
            max_value=high,
            **_told("brightness", chosen["brightness"], dark),
        ),
        ExpectColumnValuesToBeBetween(
            column="contrast",
            min_value=settings.min_contrast,
            **_told("contrast", chosen["contrast"], "a flat picture shows no face"),
        ),
        ExpectColumnValuesToBeBetween(
            column="sharpness",
            min_value=settings.min_sharpness,
            **_told("sharpness", chosen["sharpness"], blurred),
        ),
        ExpectColumnFacesToBeFound(
            column="faces",
            mostly=1 - settings.max_faceless_share,
            **_told("faces found", chosen["faceless"], "a picture without a findable face gives no crop to learn from"),
        ),
    ]


def _about_partners(settings: Validate) -> list[Expectation]:
    chosen = settings.severity
    leak = "a test picture seen in training makes every figure too good"
    questions: tuple[tuple[str, str, Severity, str], ...] = (
        ("copy_elsewhere", "no copy across splits", chosen["copies_across_splits"], leak),
        ("copy_beside", "no copy within a split", chosen["copies_within_split"], "copies count double for no gain"),
        ("copy_otherwise", "one label per picture", "stop", "the same bytes cannot be real and fake"),
        (
            "lookalike_elsewhere",
            "no lookalike across splits",
            chosen["near_copies_across_splits"],
            f"{leak}, even one that was saved anew",
        ),
        ("lookalike_otherwise", "lookalikes share a label", "warn", "one picture, saved twice, with two labels"),
        ("group_elsewhere", "groups on one side", "stop", f"a group is one person or video; {leak}"),
    )
    return [
        ExpectColumnValuesToNameNoPartner(column=column, **_told(name, severity, reason))
        for column, name, severity, reason in questions
    ]


def _about_encodings(settings: Validate) -> list[Expectation]:
    # Of even classes such a rule is right in 0.5 + gap / 2, and its AUC is at least that.
    gap = round(2 * (settings.max_metadata_auc - 0.5), 6)
    reason = f"this alone would tell real from fake with an AUC above {settings.max_metadata_auc:g}, without any face"
    return [
        ExpectMulticolumnValuesToBeAlikeInBothClasses(
            column_list=["kind", "split", column],
            max_gap=gap,
            **_told(name, settings.severity["encoding"], reason),
        )
        for column, name in _ENCODINGS.items()
    ]


def _told(name: str, severity: Severity, reason: str) -> dict[str, Any]:
    """What Great Expectations and its pages are told about a question."""
    return {
        "severity": GX_SEVERITY[severity],
        "description": f"{name} [{severity}]: {reason}",  # on the pages of results
        "notes": reason,  # on the page of the suite
        "meta": {"name": name, "severity": severity, "reason": reason},
    }
