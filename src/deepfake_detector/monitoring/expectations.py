"""A table of distances -> one check per quantity, decided by Great Expectations, and the rows that failed it.

The stream is checked like the data: by a suite whose expectations carry a name, a severity and a reason.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from deepfake_detector.model.bundle_profile import Quantity
from deepfake_detector.monitoring.measurements import ALPHA
from deepfake_detector.monitoring.reference import Category
from deepfake_detector.validation.results import CheckResult

DISTANCES = {"as it is": ("distance", "p_adjusted"), "weighted": ("weighted_distance", "weighted_p_adjusted")}
NAMES: dict[Quantity | Category, str] = {
    "p_fake": "scores",
    "largest_face_px": "face sizes",
    "brightness": "brightness",
    "contrast": "contrast",
    "sharpness": "sharpness",
    "faces": "faces per picture",
    "unscored": "share without a scored face",
}
REASONS: dict[Quantity | Category, str] = {
    "p_fake": "scores move with the share of fakes, with new generators and with everything that the model depends on",
    "largest_face_px": "small faces hold fewer traces: the measured error rates hold for the sizes of the reference",
    "brightness": "another light, camera or crop than in the reference",
    "contrast": "another light, camera or compression than in the reference",
    "sharpness": "blur and strong compression remove traces of generators, sharpening adds false ones",
    "faces": "more faces in a picture mean more chances that one of them exceeds the threshold",
    "unscored": "of these pictures the service says nothing",
}


@dataclass(frozen=True, eq=False)
class Checked:
    """Results of the suite.

    Attributes:
        checks: one per quantity and comparison, with its status for people.
        failed, failed_weighted: labels of the table's rows that failed, compared with the reference as it is, and
            with the one weighted to the stream's share of fakes.
    """

    checks: tuple[CheckResult, ...]
    failed: frozenset[int]
    failed_weighted: frozenset[int]


def check_distances(table: pd.DataFrame) -> Checked:
    """Run the suite over a table of `Measurements`; its index must be unique.

    Raises:
        CheckCrashed: an expectation raised an exception, so nothing was decided.
    """
    import great_expectations as gx
    from great_expectations.core.expectation_suite import ExpectationSuite

    from deepfake_detector.validation.check_results import suite_results

    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    batch = (
        context.data_sources.add_pandas("drift")
        .add_dataframe_asset("distances")
        .add_batch_definition_whole_dataframe("all")
    ).get_batch({"dataframe": _significant(table)})
    checks, failed = list[CheckResult](), dict[str, set[int]]()
    for comparison in DISTANCES:
        suite = ExpectationSuite(name=comparison, expectations=_expectations(comparison, table))
        result = batch.validate(suite, result_format=dict(_FORMAT))
        checks += suite_results(result)
        failed[comparison] = {
            int(row["row"]) for each in result.results for row in each.result.get("unexpected_index_list") or ()
        }
    return Checked(tuple(checks), *(frozenset(failed[comparison]) for comparison in DISTANCES))


_FORMAT = {"result_format": "COMPLETE", "unexpected_index_column_names": ["row", "path"]}


def _significant(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that are checked: a distance that chance explains is 0, one that was not measured is missing."""
    columns: dict[str, Any] = {"row": table.index, "quantity": table["quantity"].to_numpy()}
    for comparison, (distance, p_adjusted) in DISTANCES.items():
        by_chance = (table[p_adjusted] >= ALPHA).to_numpy()
        columns[comparison] = table[distance].mask(by_chance, 0.0).to_numpy()
    columns["path"] = table["window"].to_numpy()
    return pd.DataFrame(columns)


def _expectations(comparison: str, table: pd.DataFrame) -> list[Any]:
    from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween
    from great_expectations.expectations.metadata_types import FailureSeverity
    from great_expectations.expectations.row_conditions import Column

    limits: Mapping[str, float] = dict(zip(table["quantity"], table["limit"], strict=True))
    return [
        ExpectColumnValuesToBeBetween(
            column=comparison,
            max_value=limits[quantity],
            row_condition=Column("quantity") == quantity,
            severity=FailureSeverity.CRITICAL,
            meta={"name": f"{name}, {comparison}", "severity": "stop", "reason": REASONS[quantity]},
        )
        for quantity, name in NAMES.items()
        if quantity in limits
    ]
