"""Labelled videos and a calibrated network -> the served answer to each, and metrics per source and of all.

Videos are a medium of their own: their thresholds are those of the contract's `video`, and the code that answers about
them is the one that serves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from deepfake_detector.config import Settings
from deepfake_detector.datasets.videos import VideoEntry, read_videos, videos_zip
from deepfake_detector.errors import BadInput
from deepfake_detector.inference.detector import Detector
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.paths import Workspace
from deepfake_detector.stats import Estimate, estimate_auc, estimate_proportion, estimate_proportion_of

ALL_VIDEOS = "all"
COLUMNS = ("path", "source", "label", "verdict", "p_fake", "problem")


@dataclass(frozen=True)
class VideoMetrics:
    """Metrics of the videos of one source, or of all.

    Attributes:
        auc: of the videos with a score; None if a class is missing.
        coverage: share of all videos that is answered "fake" or "real"; one that cannot be read is not.
        selective_accuracy: accuracy of these; None if there are none.
        false_positive_rate: share of the real videos that are answered "fake"; None without any.
        true_positive_rate, false_negative_rate_at_clear: shares of the fakes that are answered "fake" and "real".
    """

    name: str
    reals: int
    fakes: int
    auc: Estimate | None
    coverage: Estimate
    selective_accuracy: Estimate | None
    false_positive_rate: Estimate | None
    true_positive_rate: Estimate | None
    false_negative_rate_at_clear: Estimate | None

    def headline(self) -> dict[str, object]:
        """For reports/evaluate.json; unknown metrics are left out."""
        return {name: value for name, value in asdict(self).items() if value is not None and name != "name"}


@dataclass(frozen=True, eq=False)
class VideoResults:
    """The answers to all labelled videos (a row each, `COLUMNS`) and their metrics, of all and per source."""

    answers: pd.DataFrame
    total: VideoMetrics
    sources: tuple[VideoMetrics, ...]

    def headline(self) -> dict[str, object]:
        """For reports/evaluate.json."""
        return self.total.headline() | {"per_source": {each.name: each.headline() for each in self.sources}}


def answer_videos(workspace: Workspace, settings: Settings, bundle: Bundle, scratch: Path) -> VideoResults | None:
    """Answer every labelled video with the code that serves; None if no source has videos.

    Args:
        workspace: holds the zips below data/raw/videos.
        settings: params.yaml; sources of kind `videos` are read.
        bundle: with the calibration that will be sealed.
        scratch: an empty folder for one video at a time.
    """
    limit = settings.download.max_unpacked_bytes
    entries = [
        entry
        for source in settings.download.videos
        for entry in read_videos(videos_zip(workspace.raw, source.name), source.name, limit)
    ]
    if not entries:
        return None
    detector = Detector(bundle)
    progress = tqdm(entries, "videos", unit="video", mininterval=1)
    return measure_videos(pd.DataFrame(_answers(detector, progress, scratch), columns=list(COLUMNS)))


def measure_videos(answers: pd.DataFrame) -> VideoResults:
    """Metrics of answers.

    Args:
        answers: a row per video with `COLUMNS`; p_fake is NaN and the verdict "inconclusive" where there is no score.
    """
    sources = tuple(_measure(str(name), rows) for name, rows in answers.groupby("source", sort=True))
    return VideoResults(answers, _measure(ALL_VIDEOS, answers), sources)


def _answers(detector: Detector, entries: Any, scratch: Path) -> Iterator[tuple[Any, ...]]:
    for entry in entries:
        file = scratch / f"video{PurePosixPath(entry.path).suffix}"
        file.write_bytes(entry.member.read())
        try:
            yield _answer(detector, entry, file)
        finally:
            file.unlink()


def _answer(detector: Detector, entry: VideoEntry, file: Path) -> tuple[Any, ...]:
    known = (entry.path, entry.source, entry.label)
    try:
        verdict = detector.predict_video(file)
    except BadInput as error:  # unreadable or too large: no answer
        return (*known, "inconclusive", float("nan"), error.message)
    return (*known, verdict.verdict, float("nan") if verdict.p_fake is None else verdict.p_fake, "")


def _measure(name: str, rows: pd.DataFrame) -> VideoMetrics:
    labels, verdicts = rows["label"].to_numpy(np.int64), rows["verdict"].to_numpy(str)
    scored = rows["p_fake"].notna().to_numpy()
    fake, real = verdicts == "fake", verdicts == "real"
    decided, truth = fake | real, labels == 1
    right = int(((fake & truth) | (real & ~truth)).sum())
    return VideoMetrics(
        name=name,
        reals=int((~truth).sum()),
        fakes=int(truth.sum()),
        auc=estimate_auc(rows["p_fake"].to_numpy(np.float64)[scored], labels[scored]),
        coverage=estimate_proportion(int(decided.sum()), len(rows)),
        selective_accuracy=estimate_proportion(right, int(decided.sum())) if decided.any() else None,
        false_positive_rate=estimate_proportion_of(fake[~truth]),
        true_positive_rate=estimate_proportion_of(fake[truth]),
        false_negative_rate_at_clear=estimate_proportion_of(real[truth]),
    )
