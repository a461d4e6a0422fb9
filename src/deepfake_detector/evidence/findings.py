"""Everything that an evaluation found out about one model; card, page, tables and metrics file are written from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deepfake_detector.evidence.band import Band
from deepfake_detector.evidence.calibrated import Calibrated
from deepfake_detector.evidence.explanation import Explanation
from deepfake_detector.evidence.goals import Goal
from deepfake_detector.evidence.metrics import Figures
from deepfake_detector.evidence.probes import Probe
from deepfake_detector.evidence.robustness import ALL, Grid, Outcome
from deepfake_detector.evidence.slices import Slice


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
