"""Predictions and scores of whole test pictures -> everything that the stage `evaluate` measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from deepfake_detector.config import Evaluate, Settings
from deepfake_detector.evaluation.corruption_grid import CLEAN, RECOMPRESSED
from deepfake_detector.evaluation.corruption_grid_crops import GridCropSpec, crop_grid
from deepfake_detector.evaluation.corruption_grid_scores import (
    GridScores,
    conditions_per_picture,
    sample_pictures,
    scorable_pictures,
    score_grid,
)
from deepfake_detector.evaluation.faithfulness import Faithfulness, heatmap_faithfulness
from deepfake_detector.evaluation.labelled_videos import VideoResults, answer_videos
from deepfake_detector.evaluation.metrics import classification_metrics, threshold_metrics
from deepfake_detector.evaluation.predictions import Predictions
from deepfake_detector.evaluation.reproduction_command import reproduction_command
from deepfake_detector.evaluation.results import EvaluationResults, compare_with_targets
from deepfake_detector.evaluation.robustness_metrics import measure_conditions, measure_grid
from deepfake_detector.evaluation.shortcut_probes import (
    ShortcutProbe,
    probe_crops,
    probe_false_positive_rates,
    probe_recompression,
)
from deepfake_detector.evaluation.slices import compression_bin, face_size_bin, measure_slices
from deepfake_detector.evaluation.source_metrics import measure_left_out, measure_sources
from deepfake_detector.model.bundle import write_bundle
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.shards import HeldOutSplit
from deepfake_detector.stats import Floats, Labels
from deepfake_detector.validation.manifest import read_manifest

# Sizes of a quick evaluation (`evaluate.quick`), where the settings are not smaller already.
QUICK_BOOTSTRAP, QUICK_GRID_IMAGES, QUICK_EXPLAIN_IMAGES, QUICK_VIDEOS = 100, 10, 4, 100


def evaluation_settings(settings: Settings) -> Settings:
    """The settings themselves or, if `evaluate.quick` is set, those with small samples."""
    options = settings.evaluate
    if not options.quick:
        return settings
    grid_images = min(options.grid_images or QUICK_GRID_IMAGES, QUICK_GRID_IMAGES)  # 0: all pictures
    small = replace(
        options,
        bootstrap=min(options.bootstrap, QUICK_BOOTSTRAP),
        grid_images=grid_images,
        explain_images=min(options.explain_images, QUICK_EXPLAIN_IMAGES),
        simulated_videos=min(options.simulated_videos, QUICK_VIDEOS),
    )
    return replace(settings, evaluate=small)


def score_pictures(workspace: Workspace, settings: Settings, predictions: Predictions) -> GridScores:
    """Score every clean test picture end to end, and `evaluate.grid_images` of each source under all conditions."""
    contract, options = predictions.contract, settings.evaluate
    index = pd.read_parquet(workspace.shards / "index.parquet")
    pictures = scorable_pictures(read_manifest(workspace.manifest), index)
    sampled = sample_pictures(pictures, options.grid_images, options.seed)
    spec = GridCropSpec(contract.side_px, contract.min_face_px, contract.crop_scale, options.seed)
    conditions = conditions_per_picture(pictures, sampled)
    crops = crop_grid(workspace.raw, settings.download.max_unpacked_bytes, spec, conditions)
    progress = tqdm(crops, total=len(conditions), desc="evaluate", unit="picture", mininterval=1)
    scores, properties = score_grid(progress, predictions.score)
    return GridScores(scores, properties, sampled)


def score_videos(
    workspace: Workspace, settings: Settings, predictions: Predictions, scratch: Path
) -> VideoResults | None:
    """Answer the labelled videos as serving will; None without any.

    Args:
        workspace: holds data/raw.
        settings: params.yaml.
        predictions: the calibrated network.
        scratch: the folder in which `predict_splits` left graph and reference outputs.
    """
    if not settings.download.videos:
        return None
    graph, reference = scratch / "detector.onnx", scratch / "reference.npz"
    bundle = write_bundle(scratch / "served", graph, predictions.contract, reference, "")
    folder = scratch / "videos"
    folder.mkdir()
    return answer_videos(workspace, settings, bundle, folder)


def evaluate(
    settings: Settings, predictions: Predictions, grid_scores: GridScores, videos: VideoResults | None = None
) -> EvaluationResults:
    """Compute all metrics, probes and targets.

    Args:
        settings: params.yaml.
        predictions: the calibrated network and its logits of the crops.
        grid_scores: its scores of whole pictures.
        videos: its answers to labelled videos, if there are any.
    """
    options, contract, test = settings.evaluate, predictions.contract, predictions.test
    labels, thresholds, left_out = test.crops.labels, contract.thresholds, settings.download.left_out
    p_test, p_corrupted = predictions.p_fake(test.logits), predictions.p_fake(test.corrupted_logits)
    p_valid, valid_labels = predictions.p_fake(predictions.valid.logits), predictions.valid.crops.labels
    grid = measure_grid(grid_scores.grid, thresholds.flag, options.bootstrap, left_out=left_out)
    slices = measure_slices(p_test, labels, picture_facets(test.crops, grid_scores), thresholds.flag)
    everything = all_test_scores(predictions)
    sources, feedback = measure_sources(*everything, left_out, thresholds), settings.download.feedback_slices
    reported = [
        each for each in sources if each.name not in feedback
    ]  # whoever gives feedback changes none of their metrics
    scaling = zip(predictions.vector_scaling.weights, predictions.vector_scaling.offsets, strict=True)
    return EvaluationResults(
        parameters=predictions.parameters,
        test=classification_metrics(p_test, labels, options.bootstrap, options.calibration_bins),
        valid=classification_metrics(p_valid, valid_labels, options.bootstrap, options.calibration_bins),
        corrupted=classification_metrics(p_corrupted, labels, options.bootstrap, options.calibration_bins),
        calibration=predictions.compare_calibration(options.calibration_bins, options.bootstrap),
        calibrated_on=predictions.calibrated_on,
        fake_share=predictions.fake_share,
        vector_scaling=dict(zip(contract.kinds, scaling, strict=True)),
        at_thresholds=threshold_metrics(p_test, labels, thresholds),
        at_thresholds_corrupted=threshold_metrics(p_corrupted, labels, thresholds),
        slices=tuple(slices),
        sources=tuple(sources),
        left_out=measure_left_out(*_of_other_sources(everything, feedback), left_out - feedback, reported),
        videos=videos,
        end_to_end=measure_conditions(
            grid_scores.scores[grid_scores.scores["condition"] == CLEAN.name], thresholds.flag, left_out
        ),
        grid=grid,
        probes=(
            *_probes(options, predictions, grid_scores, p_test),
            *probe_false_positive_rates(reported, options.max_false_positive_rate),
        ),
        faithfulness=_faithfulness(options, predictions),
        targets=tuple(compare_with_targets(sources, grid, settings.download.fake_kinds, predictions.parameters)),
        terms={source.name: source.terms for source in settings.download.sources if source.terms},
        reencode=settings.prepare.reencode,
        reproduction=reproduction_command(settings, contract.data_sha256),
        quick=options.quick,
        feedback=settings.download.feedback,
        drift_report=options.drift_report,
    )  # fmt: skip


def picture_facets(split: HeldOutSplit, grid_scores: GridScores) -> dict[str, Sequence[str]]:
    """Property -> (n,) its value for the picture of each crop."""
    properties = grid_scores.pictures.set_index("path").loc[split.paths]
    return {
        "source": split.sources,
        "face size": [face_size_bin(px) for px in properties["face_px"]],
        "compression": [compression_bin(quality) for quality in properties["jpeg_quality"]],
    }


def all_test_scores(predictions: Predictions) -> tuple[Floats, Labels, list[str]]:
    """p_fake (n,), labels (n,) and sources (n,) of all test crops, those of left-out sources last."""
    parts = (predictions.test, predictions.left_out)
    p_fake = np.concatenate([predictions.p_fake(part.logits) for part in parts])
    labels = np.concatenate([part.crops.labels for part in parts])
    return p_fake, labels, [source for part in parts for source in part.crops.sources]


def _of_other_sources(
    scores: tuple[Floats, Labels, list[str]], sources: frozenset[str]
) -> tuple[Floats, Labels, list[str]]:
    """What `all_test_scores` returned, without the pictures of some sources."""
    p_fake, labels, names = scores
    kept = np.array([name not in sources for name in names], dtype=bool)
    return p_fake[kept], labels[kept], [name for name in names if name not in sources]


def _probes(
    options: Evaluate, predictions: Predictions, grid_scores: GridScores, p_test: NDArray[np.float64]
) -> list[ShortcutProbe]:
    clean, recompressed = grid_scores.under(CLEAN.name), grid_scores.under(RECOMPRESSED.name)
    recompressed = recompressed[recompressed["source"].isin(set(predictions.test.crops.sources))]
    both = recompressed.index[recompressed["p_fake"].notna() & clean.loc[recompressed.index, "p_fake"].notna()]
    before, after = (table.loc[both, "p_fake"].to_numpy(np.float64) for table in (clean, recompressed))
    labels = clean.loc[both, "label"].to_numpy(np.int64)
    crops = predictions.test.crops
    rows = np.flatnonzero([path in grid_scores.sampled for path in crops.paths])
    recompression = probe_recompression(before, after, labels, options.max_recompression_gain)
    return [recompression, *probe_crops(crops.select(rows), p_test[rows], predictions.score, options)]


def _faithfulness(options: Evaluate, predictions: Predictions) -> Faithfulness | None:
    test = predictions.test
    rows = np.random.default_rng(options.seed).permutation(len(test.logits))[: options.explain_images]
    return heatmap_faithfulness(test.crops.crops[rows], test.maps[rows], predictions.score, options.seed)
