"""Measured figures -> the goals of this project, met or missed, by how far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from deepfake_detector.evidence.estimate import Estimate
from deepfake_detector.evidence.robustness import ALL, Grid
from deepfake_detector.evidence.slices import Slice

# Of sources whose fakes are wholly generated, and of sources of face swaps, which no small detector tells apart well.
ACCURACY, AUC, SWAP_AUC, GRID_ACCURACY, ECE, FALSE_ALARMS, PARAMETERS = 0.95, 0.99, 0.75, 0.88, 0.03, 0.05, 1_500_000


@dataclass(frozen=True)
class Goal:
    """One wish and what came of it."""

    name: str
    wanted: str
    found: str
    met: bool


def judge_goals(slices: Sequence[Slice], grid: Grid, fake_kinds: Mapping[str, str], parameters: int) -> list[Goal]:
    """Compare what was measured with what was wished for.

    Args:
        slices: of the test pictures; those by source are asked.
        grid: the robustness grid.
        fake_kinds: source -> synthetic or swap.
        parameters: of the network.
    """
    sources = [each for each in slices if each.facet == "source"]
    goals = [goal for each in sources for goal in _of_a_source(each, grid, fake_kinds.get(each.name, "synthetic"))]
    alarms = [each.false_alarms.value for each in sources if each.false_alarms]
    if alarms:
        middle = sum(alarms) / len(alarms)
        goals.append(Goal("false alarms at `flag`, mean of the sources", f"at most {FALSE_ALARMS:.0%}",
                          f"{middle:.1%}", middle <= FALSE_ALARMS))  # fmt: skip
    small = parameters < PARAMETERS
    return [*goals, Goal("parameters", f"under {PARAMETERS:,}", f"{parameters:,}", small)]


def _of_a_source(each: Slice, grid: Grid, kind: str) -> list[Goal]:
    if kind == "swap":
        return [_goal(f"{each.name}: AUC", each.auc, SWAP_AUC, "at least")] if each.auc else []
    mean = grid.means.get(each.name, grid.means[ALL])
    found: list[tuple[str, Estimate | None, float, Literal["at least", "at most"]]] = [
        ("accuracy", each.accuracy, ACCURACY, "at least"),
        ("AUC", each.auc, AUC, "at least"),
        ("mean accuracy over the robustness grid", mean.accuracy, GRID_ACCURACY, "at least"),
        ("calibration error (ECE)", each.ece, ECE, "at most"),
    ]
    return [_goal(f"{each.name}: {name}", value, limit, way) for name, value, limit, way in found if value]


def _goal(name: str, found: Estimate, limit: float, way: Literal["at least", "at most"]) -> Goal:
    met = found.value >= limit if way == "at least" else found.value <= limit
    return Goal(name, f"{way} {limit:g}", str(found), met)
