from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.errors import InputTooLarge
from deepfake_detector.inference.detector import ScoringLimits
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.serving import worker_process
from deepfake_detector.serving.errors import TooCostly
from deepfake_detector.serving.long_video import long_video_limits
from deepfake_detector.serving.messages import Job
from deepfake_detector.serving.worker_process import WorkerProcess
from tests.serving.job_services import write_long_clip

LONG = Job(kind="video", long=True, max_bytes=2**20 * 500)
USUAL = ScoringLimits()


@pytest.fixture(scope="module")
def half_an_hour(red_portrait: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_long_clip(tmp_path_factory.mktemp("long") / "long.mp4", red_portrait, 1800)


def test_a_short_video_has_the_limits_of_the_other_route(clip: Path) -> None:
    limits = long_video_limits(clip, LONG, USUAL)
    assert (limits.frames, limits.max_faces) == (USUAL.frames, USUAL.max_faces)
    assert limits.video.max_duration_s == USUAL.video.max_duration_s
    assert limits.video.max_bytes == LONG.max_bytes


def test_a_long_video_gets_frames_at_the_rate_of_ten_minutes(half_an_hour: Path) -> None:
    limits = long_video_limits(half_an_hour, LONG, USUAL)
    assert limits.frames == 3 * USUAL.frames
    assert limits.video.max_duration_s == 4 * 3600


def test_a_video_over_the_limit_on_bytes_is_refused(half_an_hour: Path) -> None:
    with pytest.raises(InputTooLarge):
        long_video_limits(half_an_hour, LONG.model_copy(update={"max_bytes": 1000}), USUAL)


@pytest.mark.slow
def test_a_worker_reports_its_progress_and_then_analyses_other_files_as_usual(
    tiny_bundle: Bundle, half_an_hour: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, reported = WorkerProcess(tiny_bundle.path, tmp_path), list[float | None]()
    try:
        with half_an_hour.open("rb") as video:
            result = process.run(LONG, video, reported.append)
        assert result.report.status == 200
        assert b"only the first" not in result.body
        progress = [each for each in reported if each is not None]
        assert progress == sorted(progress) != []
        assert max(progress) < 1
        with half_an_hour.open("rb") as video:
            usual = process.run(Job(kind="video"), video, reported.append)
        assert b"only the first 600 of 1800 s were analysed" in usual.body
        assert [each for each in reported if each is not None] == progress
        monkeypatch.setattr(worker_process, "LONG_CPU_S", 0.0)
        with half_an_hour.open("rb") as video, pytest.raises(TooCostly, match="processor time"):
            process.run(LONG, video)
    finally:
        process.kill()
