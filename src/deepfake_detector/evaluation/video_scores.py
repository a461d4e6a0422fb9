"""Validation pictures and a scorer -> scores (n,) of simulated videos, and the calibration for videos from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.config import Settings
from deepfake_detector.evaluation.labelled_videos import VideoMetrics, VideoResults
from deepfake_detector.evaluation.metrics import CropScorer, threshold_metrics
from deepfake_detector.evaluation.simulated_videos import simulate_videos
from deepfake_detector.evaluation.source_metrics import SourceMetrics, measure_sources
from deepfake_detector.inference.engine import Engine
from deepfake_detector.inference.track_features import FEATURES, frame_features
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.model.bundle_contract import Contract, Coverage, MediumCoverage, VideoCalibration
from deepfake_detector.model.operating_points import ErrorRates
from deepfake_detector.model.video_calibration import fit_video_calibration
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.shards import HeldOutSplit
from deepfake_detector.stats import estimate_auc

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VideoScores:
    """Scores of n simulated videos, and the calibration that gave them."""

    calibration: VideoCalibration
    p_fake: Floats  # (n,) of each by weights that were fitted without it
    labels: NDArray[np.int64]  # (n,)
    sources: list[str]  # (n,)

    def measure(self) -> list[SourceMetrics]:
        """Metrics of each source."""
        return measure_sources(self.p_fake, self.labels, self.sources, (), self.calibration.thresholds)

    def report(self) -> dict[str, Any]:
        """Its part of reports/evaluate.json."""
        measured = {
            name: asdict(value)
            for name, value in vars(threshold_metrics(self.p_fake, self.labels, self.calibration.thresholds)).items()
        }
        auc = estimate_auc(self.p_fake, self.labels)
        return {
            "videos": len(self.labels),
            "calibration": self.calibration.model_dump(),
            **({"auc": asdict(auc)} if auc else {}),
            **(measured if len(self.labels) else {}),
            "per_source": {source.name: source.headline() for source in self.measure()},
        }


def calibrate_videos(
    workspace: Workspace, settings: Settings, contract: Contract, split: HeldOutSplit, score: CropScorer
) -> VideoScores:
    """Simulate videos, score their frames and fit the calibration for videos.

    Args:
        workspace: holds archives and manifest.
        settings: params.yaml.
        contract: how faces are cropped, and the thresholds of pictures.
        split: of validation pictures.
        score: of the calibrated engine.
    """
    options = settings.evaluate
    rates = ErrorRates(
        options.video_flag_false_positive_rate,
        min(options.strict_false_positive_rate, options.video_flag_false_positive_rate),
        options.video_clear_false_negative_rate,
    )
    rows, features = list[int](), list[Floats]()
    for video in simulate_videos(workspace, settings, contract, split):
        rows.append(video.row)
        features.append(frame_features(score(video.crops).tolist(), video.sides_px))
    labels = split.labels[rows] if rows else np.zeros(0, np.int64)
    groups = [f"{split.sources[row]} {split.kinds[row]}".strip() for row in rows]
    table = np.array(features).reshape(len(rows), len(FEATURES))
    calibration, p_fake = fit_video_calibration(table, labels, groups, rates, contract.thresholds)
    return VideoScores(calibration, p_fake, labels, [split.sources[row] for row in rows])


def engine_scorer(bundle: Bundle) -> CropScorer:
    """Scores crops (n, side, side, 3) as the bundle does in serving."""
    engine = Engine(bundle)
    return lambda crops: engine.p_fake(engine.score(crops).logits)


def measured_coverage(sources: Sequence[SourceMetrics]) -> MediumCoverage:
    """Coverage per source and of all their files together, for the contract."""
    each = {source.name: _coverage(source.images, source.coverage.value, _right(source)) for source in sources}
    files = sum(source.images for source in sources)
    decided = sum(coverage.files * coverage.decided for coverage in each.values())
    right = sum(coverage.files * coverage.decided * (coverage.right or 0.0) for coverage in each.values())
    share = decided / files if files else 0.0
    return MediumCoverage(all=_coverage(files, share, right / decided if decided else None), sources=each)


def video_coverage(simulated: Sequence[SourceMetrics], labelled: VideoResults | None) -> MediumCoverage:
    """Coverage of the labelled videos; of the simulated ones where there are no labelled videos.

    Simulated videos come from sources that were trained on: they say too much of other people's videos.
    """
    if labelled is None:
        return measured_coverage(simulated)
    return MediumCoverage(
        all=_labelled_coverage(labelled.total),
        sources={metrics.name: _labelled_coverage(metrics) for metrics in labelled.sources},
    )


def _labelled_coverage(metrics: VideoMetrics) -> Coverage:
    right = metrics.selective_accuracy
    return _coverage(metrics.reals + metrics.fakes, metrics.coverage.value, None if right is None else right.value)


def _right(source: SourceMetrics) -> float | None:
    return None if source.selective_accuracy is None else source.selective_accuracy.value


def _coverage(files: int, decided: float, right: float | None) -> Coverage:
    return Coverage(files=files, decided=round(decided, 4), right=None if right is None else round(right, 4))
