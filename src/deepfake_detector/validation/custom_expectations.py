"""Expectations and metrics that Great Expectations lacks, for pandas tables."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pandas as pd
from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
from great_expectations.expectations.core.expect_column_pair_values_to_be_equal import ExpectColumnPairValuesToBeEqual
from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween
from great_expectations.expectations.core.expect_column_values_to_be_in_set import ExpectColumnValuesToBeInSet
from great_expectations.expectations.expectation import MulticolumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_condition_partial import (
    multicolumn_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_map_metric_provider import (
    MulticolumnMapMetricProvider,
)

from deepfake_detector.validation.class_separation import leaking_rows


class ExpectColumnValuesToNameNoMatch(ExpectColumnValuesToBeInSet):
    """Expect that no picture has a match that it must not have, such as a duplicate in another split.

    The column holds the path of the match, or "": the pages show both paths of a pair.
    """

    value_set: list[Any] | dict[Any, Any] = [""]  # noqa: RUF012 - a field, copied for each instance


class ExpectColumnFacesToBeFound(ExpectColumnValuesToBeBetween):
    """Expect that a face is detected in a share `mostly` of the pictures."""

    min_value: float = 1


class ExpectColumnPairLabelsToAgree(ExpectColumnPairValuesToBeEqual):
    """Expect that the folder of a picture and the archive's CSV file give it the same label."""

    ignore_row_if: Literal["both_values_are_missing", "either_value_is_missing", "neither"] = "either_value_is_missing"


class ExpectMulticolumnValuesToHaveSameDistributionInBothClasses(MulticolumnMapExpectation):
    """Expect that a property of files has the same distribution in both classes, over all splits and in each.

    Fails if the total variation distance between the classes is above `max_distance` and none of 1,000 random
    labellings reaches it. The files it names are those that reveal their class: with a value other than the most
    frequent one, of the class in which it is more frequent.
    """

    max_distance: float
    ignore_row_if: Literal["all_values_are_missing", "any_value_is_missing", "never"] = "any_value_is_missing"

    map_metric: ClassVar[str] = "multicolumn_values.same_distribution_in_both_classes"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "max_distance")
    args_keys: ClassVar[tuple[str, ...]] = ("column_list", "max_distance")


class MulticolumnSameDistribution(MulticolumnMapMetricProvider):
    """True for pictures whose value does not reveal their class; columns: class name, split, value."""

    condition_metric_name = "multicolumn_values.same_distribution_in_both_classes"
    condition_value_keys = ("max_distance",)

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, max_distance: float, **_: Any) -> pd.Series:  # noqa: N805
        class_name, split, value = (column_list.iloc[:, i] for i in range(3))
        leaking = pd.Series(leaking_rows(class_name, value, max_distance), index=column_list.index)
        # Within each split, too: a test split with a leak of its own inflates every figure.
        for name in split.unique():
            inside = split == name
            leaking[inside] |= leaking_rows(class_name[inside], value[inside], max_distance)
        return ~leaking
