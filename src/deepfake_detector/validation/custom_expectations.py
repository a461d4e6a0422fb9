"""Questions that Great Expectations has no word for -> expectations and metrics of its own kinds, for pandas tables."""

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

from deepfake_detector.validation.class_separation import telltales


class ExpectColumnValuesToNameNoPartner(ExpectColumnValuesToBeInSet):
    """Expect that no picture has a partner it must not have: a copy in another split, a parted group, another label.

    The column holds the partner's path, or nothing, so that the pages show both: one looks at a pair.
    """

    value_set: list[Any] | dict[Any, Any] = [""]  # noqa: RUF012 - a field, copied for each instance


class ExpectColumnFacesToBeFound(ExpectColumnValuesToBeBetween):
    """Expect that the face detector finds a face in most pictures; `mostly` says in which share of them."""

    min_value: float = 1


class ClassesAlike(MulticolumnMapMetricProvider):
    """Pictures whose value does not give their class away; columns: kind, split, value."""

    condition_metric_name = "multicolumn_values.alike_in_both_classes"
    condition_value_keys = ("max_gap",)

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, max_gap: float, **_: Any) -> pd.Series:  # noqa: N805
        kind, split, value = (column_list.iloc[:, i] for i in range(3))
        told = pd.Series(telltales(kind, value, max_gap), index=column_list.index)
        # Within each split, too: a test split with its own leak flatters every model.
        for name in split.unique():
            inside = split == name
            told[inside] |= telltales(kind[inside], value[inside], max_gap)
        return ~told


class ExpectMulticolumnValuesToBeAlikeInBothClasses(MulticolumnMapExpectation):
    """Expect that a property of files is distributed alike in both classes, over all and in every split.

    Fails if the total variation distance between the classes is above `max_gap` and none of 1,000 random labellings
    reaches it. Named are the files that give their class away: those with a value other than the most frequent one,
    of the class in which it is the more frequent.
    """

    max_gap: float
    ignore_row_if: Literal["all_values_are_missing", "any_value_is_missing", "never"] = "any_value_is_missing"

    map_metric: ClassVar[str] = "multicolumn_values.alike_in_both_classes"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "max_gap")
    args_keys: ClassVar[tuple[str, ...]] = ("column_list", "max_gap")


class ExpectColumnPairLabelsToAgree(ExpectColumnPairValuesToBeEqual):
    """Expect that the folder of a picture and the list that came with the archive give it the same label."""

    ignore_row_if: Literal["both_values_are_missing", "either_value_is_missing", "neither"] = "either_value_is_missing"
