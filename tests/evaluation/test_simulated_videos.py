"""Videos are simulated from the pictures of a split, scored frame by frame, and calibrated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from deepfake_detector.config import Settings, read_settings
from deepfake_detector.datasets.archive import Archive
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.evaluation import simulated_videos
from deepfake_detector.evaluation.labelled_videos import VideoMetrics, VideoResults
from deepfake_detector.evaluation.simulated_videos import VideoSpec, simulate_video, simulate_videos, spread_rows
from deepfake_detector.evaluation.source_metrics import measure_sources
from deepfake_detector.evaluation.video_scores import calibrate_videos, measured_coverage, video_coverage
from deepfake_detector.inference.track_features import frame_features
from deepfake_detector.media.face_detector import FaceDetector
from deepfake_detector.media.image import decode_image
from deepfake_detector.media.simulated_video import simulate_frames
from deepfake_detector.model.bundle_contract import Contract, Thresholds
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.shards import HeldOutSplit
from deepfake_detector.stats import Estimate
from deepfake_detector.validation import manifest as manifests
from deepfake_detector.validation.manifest import build_manifest, write_manifest
from tests.conftest import tiny_contract

SETTINGS = read_settings(Path(__file__).parents[2] / "params.yaml")
SPEC = VideoSpec(side_px=64, min_face_px=48, crop_scale=0.5, seed=1)
PICTURES = 6  # of each class


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Drawn pictures in an archive, and their manifest."""
    workspace = Workspace(tmp_path_factory.mktemp("checkout"))
    workspace.raw.mkdir(parents=True)
    names = [f"x/valid/{label}/{i}.jpg" for label in ("real", "fake") for i in range(PICTURES)]
    pictures = {name: draw_sample(1, "valid", name.split("/")[2], int(name[-5])) for name in names}
    write_zip(workspace.raw / "faces.zip", pictures.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifests, "process_map", map)
        write_manifest(build_manifest(workspace.raw, {"faces": "synthetic"}, 2**30), workspace.manifest)
    return workspace


@pytest.fixture(scope="module")
def split(workspace: Workspace) -> HeldOutSplit:
    with Archive(workspace.raw, 2**30) as archive:
        entries = archive.entries
    n = len(entries)
    labels = np.array([entry.label for entry in entries])
    return HeldOutSplit(
        np.zeros((n, 64, 64, 3), np.uint8), labels, [entry.path for entry in entries], ["faces"] * n,
        np.zeros((n, 5, 2), np.float32), ["synthetic" if label else "" for label in labels],
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_videos, "process_map", map)


def with_videos(count: int, seed: int = 1) -> Settings:
    return replace(SETTINGS, evaluate=replace(SETTINGS.evaluate, simulated_videos=count, seed=seed))


@pytest.fixture
def contract() -> Contract:
    return tiny_contract()


def test_frames_show_the_face_at_one_size_with_small_movements(portrait: NDArray[np.uint8]) -> None:
    (face,) = FaceDetector().find(portrait)
    for seed in range(4):
        frames = simulate_frames(portrait, face, np.random.default_rng(seed))
        assert len({frame.shape for frame in frames}) == 1
        assert len(frames) == 12
        height_px, width_px = frames[0].shape[:2]
        assert height_px % 2 == width_px % 2 == 0
        assert height_px <= portrait.shape[0]  # never enlarged
        assert width_px <= portrait.shape[1]
        sides_px = [FaceDetector().find(frame)[0].side_px for frame in frames]
        assert max(sides_px) / min(sides_px) < 1.25
        assert not np.array_equal(frames[0], frames[1])
        again = simulate_frames(portrait, face, np.random.default_rng(seed))
        assert all(map(np.array_equal, frames, again))


def test_a_large_picture_gives_frames_of_the_same_sizes(portrait: NDArray[np.uint8]) -> None:
    """Of a picture six times as large, no frame has more detail than of the small one: nothing is skipped."""
    large = np.repeat(np.repeat(portrait, 6, axis=0), 6, axis=1)
    (small_face,), (large_face,) = FaceDetector().find(portrait), FaceDetector().find(large)
    small = simulate_frames(portrait, small_face, np.random.default_rng(3))[0]
    shrunk = simulate_frames(large, large_face, np.random.default_rng(3))[0]
    assert max(abs(a - b) for a, b in zip(small.shape, shrunk.shape, strict=True)) <= 60
    detail = [float(np.abs(np.diff(frame.astype(float), axis=1)).mean()) for frame in (small, shrunk)]
    assert detail[1] == pytest.approx(detail[0], rel=0.5)


def test_each_video_has_crops_of_its_own_picture(workspace: Workspace, split: HeldOutSplit, contract: Contract) -> None:
    videos = list(simulate_videos(workspace, with_videos(4), contract, split))
    assert sorted(split.labels[[video.row for video in videos]].tolist()) == [0, 0, 1, 1]
    for video in videos:
        assert video.crops.shape[1:] == (contract.side_px, contract.side_px, 3)
        assert 4 <= len(video.crops) == len(video.sides_px) <= 12
        assert min(video.sides_px) >= contract.min_face_px
    with Archive(workspace.raw, 2**30) as archive:
        entries = {entry.path: entry for entry in archive.entries}
        entry = entries[split.paths[videos[0].row]]
        (face,) = FaceDetector().find(decode_image(archive.read(entry)))
        spec = replace(SPEC, side_px=contract.side_px)
        again = simulate_video(spec, (videos[0].row, archive.member(entry), face))
    assert np.array_equal(again.crops, videos[0].crops)
    assert list(simulate_videos(workspace, with_videos(0), contract, split)) == []


def test_rows_are_spread_evenly_over_sources_and_classes() -> None:
    labels = np.array([0] * 50 + [1] * 30 + [0] * 3)
    sources = ["a"] * 40 + ["b"] * 40 + ["c"] * 3
    split = HeldOutSplit(
        np.zeros((83, 1, 1, 3), np.uint8), labels, [str(i) for i in range(83)], sources,
        np.zeros((83, 5, 2), np.float32), [""] * 83,
    )  # fmt: skip
    rows = spread_rows(split, 20, 1)
    counts = {(sources[row], int(labels[row])): 0 for row in rows}
    for row in rows:
        counts[sources[row], int(labels[row])] += 1
    assert counts == {("a", 0): 4, ("b", 0): 3, ("c", 0): 3, ("b", 1): 10}
    assert len(set(rows)) == 20
    assert rows != spread_rows(split, 20, 2)
    assert spread_rows(split, 1000, 1) == list(range(83))


def test_the_calibration_is_fitted_on_features_that_serving_would_compute(
    workspace: Workspace, split: HeldOutSplit, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = with_videos(2 * PICTURES)

    def score(crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.clip(crops.mean(axis=(1, 2, 3)) / 255, 0.01, 0.99)

    few = calibrate_videos(workspace, settings, contract, split, score)
    assert few.calibration.videos == 0
    assert few.calibration.thresholds == contract.thresholds
    monkeypatch.setattr("deepfake_detector.model.video_calibration.MIN_VIDEOS_PER_CLASS", 4)
    fitted = calibrate_videos(workspace, settings, contract, split, score)
    assert (fitted.calibration.videos, fitted.sources) == (2 * PICTURES, ["faces"] * 2 * PICTURES)
    assert fitted.calibration.flag_false_positive_rate == settings.evaluate.video_flag_false_positive_rate
    videos = list(simulate_videos(workspace, settings, contract, split))
    means = [frame_features(score(video.crops).tolist(), video.sides_px)[0] for video in videos]
    assert few.p_fake == pytest.approx(1 / (1 + np.exp(-np.array(means))))
    report = fitted.report()
    assert (report["videos"], report["per_source"]["faces"]["images"]) == (2 * PICTURES, 2 * PICTURES)


def test_coverage_adds_up_over_sources() -> None:
    p_fake = np.array([0.1, 0.2, 0.9, 0.5, 0.95, 0.1])
    labels, sources = np.array([0, 1, 1, 0, 1, 0]), ["a", "a", "a", "a", "b", "b"]
    thresholds = Thresholds(clear=0.3, flag=0.7, strict=0.9)
    coverage = measured_coverage(measure_sources(p_fake, labels, sources, (), thresholds))
    assert coverage.sources["a"].model_dump() == {"files": 4, "decided": 0.75, "right": 0.6667}
    assert coverage.sources["b"].model_dump() == {"files": 2, "decided": 1.0, "right": 1.0}
    assert (coverage.all.files, coverage.all.decided, coverage.all.right) == (6, 0.8333, 0.8)
    assert measured_coverage([]).all.model_dump() == {"files": 0, "decided": 0.0, "right": None}


def test_labelled_videos_replace_the_simulated_ones_in_the_coverage() -> None:
    def metrics(name: str) -> VideoMetrics:
        return VideoMetrics(name, 12, 18, None, Estimate(0.2, 0.1, 0.3), Estimate(0.5, 0.1, 0.9), None, None, None)

    labelled = VideoResults(pd.DataFrame(), metrics("all"), (metrics("clips"),))
    measured = {"files": 30, "decided": 0.2, "right": 0.5}
    assert video_coverage([], labelled).model_dump() == {"all": measured, "sources": {"clips": measured}}
    assert video_coverage([], None) == measured_coverage([])
