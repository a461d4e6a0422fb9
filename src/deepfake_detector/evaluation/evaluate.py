"""A calibrated network and the test pictures -> everything that `evaluate` finds out about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from deepfake_detector.config import Evaluate, Settings
from deepfake_detector.evaluation.corruption_evaluation import Road, choose, pictures_to_judge, score_road, walk, wishes
from deepfake_detector.evaluation.corruption_grid import CLEAN, RESAVED
from deepfake_detector.evaluation.faithfulness import Explanation
from deepfake_detector.evaluation.honesty_probes import (
    Probe,
    check_explanation,
    probe_crops,
    probe_false_alarms,
    probe_resaving,
)
from deepfake_detector.evaluation.metrics import measure, measure_band
from deepfake_detector.evaluation.predictions import Judgement
from deepfake_detector.evaluation.reproduce import exp_run
from deepfake_detector.evaluation.results import Findings, judge_goals
from deepfake_detector.evaluation.robustness import Outcome, measure_grid, measure_outcomes
from deepfake_detector.evaluation.slices import compression, face_size, measure_slices
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.shards import Held
from deepfake_detector.validation.manifest import read_manifest


@dataclass(frozen=True, eq=False)
class Gone:
    """What came of sending the test pictures down the serving road."""

    scored: pd.DataFrame  # a row per picture and condition
    facts: pd.DataFrame  # a row per picture
    chosen: frozenset[str]  # paths of those that were degraded

    @property
    def graded(self) -> pd.DataFrame:
        """Rows of the robustness grid: the chosen pictures in all conditions but a probe's."""
        return self.scored[self.scored["path"].isin(self.chosen) & (self.scored["condition"] != RESAVED.name)]

    def of(self, condition: str) -> pd.DataFrame:
        """Rows of one condition, by path."""
        return self.scored[self.scored["condition"] == condition].set_index("path")


def send(workspace: Workspace, settings: Settings, judgement: Judgement) -> Gone:
    """Walk every test picture as it is, and `evaluate.grid_images` of each source in all conditions."""
    contract, how = judgement.contract, settings.evaluate
    index = pd.read_parquet(workspace.shards / "index.parquet")
    pictures = pictures_to_judge(read_manifest(workspace.manifest), index)
    chosen = choose(pictures, how.grid_images, how.seed)
    road = Road(contract.side_px, contract.min_face_px, contract.crop_scale, how.seed)
    wanted = wishes(pictures, chosen)
    walked = walk(workspace.raw, settings.download.max_unpacked_bytes, road, wanted)
    progress = tqdm(walked, total=len(wanted), desc="evaluate", unit="picture", mininterval=1)
    scored, facts = score_road(progress, judgement.score)
    return Gone(scored, facts, chosen)


def find_out(settings: Settings, judgement: Judgement, gone: Gone) -> Findings:
    """Measure everything there is to measure.

    Args:
        settings: params.yaml.
        judgement: the calibrated network and its answers to crops.
        gone: its answers to whole pictures.
    """
    how, contract, held = settings.evaluate, judgement.contract, judgement.test.crops
    p_test, p_sent = judgement.p(judgement.test.logits), judgement.p(judgement.test.sent_logits)
    grid = measure_grid(gone.graded, contract.thresholds.flag, how.bootstrap)
    slices = measure_slices(p_test, held.labels, facets(held, gone), contract.thresholds.flag)
    kinds, parameters = settings.download.fake_kinds, judgement.parameters
    return Findings(
        parameters=parameters,
        test=measure(p_test, held.labels, how.bootstrap, how.calibration_bins),
        valid=measure(judgement.p(judgement.valid.logits), judgement.valid.crops.labels, how.bootstrap,
                      how.calibration_bins),
        sent=measure(p_sent, held.labels, how.bootstrap, how.calibration_bins),
        calibrated=judgement.compared(how.calibration_bins, how.bootstrap),
        calibrated_on=judgement.calibrated_on,
        fake_share=judgement.fake_share,
        balance={
            kind: (weight, offset)
            for kind, weight, offset in zip(
                contract.kinds, judgement.balance.weights, judgement.balance.offsets, strict=True
            )
        },
        band=measure_band(p_test, held.labels, contract.thresholds),
        sent_band=measure_band(p_sent, held.labels, contract.thresholds),
        slices=tuple(slices),
        served=_served(gone, contract.thresholds.flag),
        grid=grid,
        probes=(*_probes(how, judgement, gone, p_test), *probe_false_alarms(slices, how.max_false_alarms)),
        explanation=_explanation(how, judgement),
        goals=tuple(judge_goals(slices, grid, kinds, parameters)),
        terms={source.name: source.terms for source in settings.download.sources if source.terms},
        reencode=settings.prepare.reencode,
        again=exp_run(settings, contract.data_sha256, judgement.git_commit),
    )  # fmt: skip


def some_of(held: Held, rows: NDArray[np.int64]) -> Held:
    """Rows of a split."""
    return Held(
        crops=held.crops[rows],
        labels=held.labels[rows],
        paths=[held.paths[i] for i in rows],
        sources=[held.sources[i] for i in rows],
        landmarks_px=held.landmarks_px[rows],
        kinds=[held.kinds[i] for i in rows],
    )


def _served(gone: Gone, flag: float) -> tuple[Outcome, ...]:
    return measure_outcomes(gone.scored[gone.scored["condition"] == CLEAN.name], flag)


def facets(held: Held, gone: Gone) -> dict[str, Sequence[str]]:
    """What kinds of pictures there are -> (n,) the kind of each crop's picture."""
    facts = gone.facts.set_index("path").loc[held.paths]
    return {
        "source": held.sources,
        "face size": [face_size(px) for px in facts["face_px"]],
        "compression": [compression(quality) for quality in facts["jpeg_quality"]],
    }


def _probes(how: Evaluate, judgement: Judgement, gone: Gone, p_test: NDArray[np.float64]) -> list[Probe]:
    clean, resaved = gone.of(CLEAN.name), gone.of(RESAVED.name)
    both = resaved.index[resaved["p_fake"].notna() & clean.loc[resaved.index, "p_fake"].notna()]
    before, after = (table.loc[both, "p_fake"].to_numpy(np.float64) for table in (clean, resaved))
    labels = clean.loc[both, "label"].to_numpy(np.int64)
    held = judgement.test.crops
    rows = np.flatnonzero([path in gone.chosen for path in held.paths])
    saved = probe_resaving(before, after, labels, how.max_resaving_gain)
    return [saved, *probe_crops(some_of(held, rows), p_test[rows], judgement.score, how)]


def _explanation(how: Evaluate, judgement: Judgement) -> Explanation | None:
    test = judgement.test
    rows = np.random.default_rng(how.seed).permutation(len(test.logits))[: how.explain_images]
    return check_explanation(test.crops.crops[rows], test.maps[rows], judgement.score, how.seed)
