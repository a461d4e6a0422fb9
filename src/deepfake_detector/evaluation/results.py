"""Measured figures -> the goals of this project, met or missed, by how far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from deepfake_detector.evaluation.faithfulness import Explanation
from deepfake_detector.evaluation.honesty_probes import Probe
from deepfake_detector.evaluation.metrics import Band, Calibrated, Figures
from deepfake_detector.evaluation.robustness import ALL, Grid, Outcome
from deepfake_detector.evaluation.slices import Slice
from deepfake_detector.stats import Estimate

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


@dataclass(frozen=True, eq=False)
class Findings:
    """What was measured, on test pictures unless named otherwise.

    Attributes:
        parameters: of the network.
        test, valid: of the crops as they are.
        sent: of the test crops as websites and phones would leave them.
        calibrated_on: clean or traffic: the validation crops that set temperature and thresholds.
        fake_share: of those crops.
        balance: kind of fake -> what the calibration multiplies its logit by, and adds to it; part of the graph.
        band, sent_band: what the thresholds do to `test` and `sent`.
        served: all test pictures sent whole down the serving road, per source and for all.
        grid: some of them degraded in many ways.
        explanation: None where maps have one cell.
        terms: source -> its terms of use, where they are known.
        reencode: JPEG quality that every picture was saved with before it was cut; 0: none.
        again: the commands that make the same model again.
    """

    parameters: int
    test: Figures
    valid: Figures
    sent: Figures
    calibrated: tuple[Calibrated, ...]
    calibrated_on: str
    fake_share: float
    balance: Mapping[str, tuple[float, float]]
    band: Band
    sent_band: Band
    slices: tuple[Slice, ...]
    served: tuple[Outcome, ...]
    grid: Grid
    probes: tuple[Probe, ...]
    explanation: Explanation | None
    goals: tuple[Goal, ...]
    terms: Mapping[str, str]
    reencode: int
    again: str

    @property
    def alarms(self) -> list[Probe]:
        """Probes that raised one."""
        return [probe for probe in self.probes if probe.alarm]

    def of_facet(self, facet: str) -> list[Slice]:
        """Slices by what they have in common."""
        return [each for each in self.slices if each.facet == facet]

    def headline(self) -> dict[str, Any]:
        """The numbers of the metrics file; the long tables lie beside the figures."""
        served = next(outcome for outcome in self.served if outcome.source == ALL)
        return {
            "test": self.test.as_dict(),
            "valid": self.valid.as_dict(),
            "sent": self.sent.as_dict(),
            "answered": asdict(self.band),
            "answered_sent": asdict(self.sent_band),
            "per_source": {each.name: each.headline() for each in self.of_facet("source")},
            "served": {"images": served.images, "coverage": vars(served.coverage), "accuracy": vars(served.accuracy)},
            "grid": {name: asdict(mean) for name, mean in self.grid.means.items()},
            "explanation": self.explanation.headline() if self.explanation else {"crops": 0},
            "probes": {"asked": len(self.probes), "alarms": len(self.alarms)},
            "goals": {"set": len(self.goals), "met": sum(goal.met for goal in self.goals)},
        }
