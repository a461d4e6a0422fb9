"""Trained network and held-out crops -> calibrated predictions of the served graph, the contract, the sealed bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logsumexp

from deepfake_detector.config import Evaluate, Settings
from deepfake_detector.evaluation.corruption_grid_scores import GridScores
from deepfake_detector.evaluation.kind_metrics import measure_kinds
from deepfake_detector.evaluation.metrics import CalibrationComparison, classification_metrics, compare_calibration
from deepfake_detector.evaluation.model_card import model_card
from deepfake_detector.evaluation.random_corruption_crops import corrupt_split
from deepfake_detector.evaluation.reference_profile import reference_profile
from deepfake_detector.evaluation.results import EvaluationResults
from deepfake_detector.evaluation.video_scores import VideoScores, calibrate_videos, measured_coverage, video_coverage
from deepfake_detector.inference.engine import Engine
from deepfake_detector.model.bundle import FORMAT_VERSION, Bundle, Contract, Thresholds, probabilities, write_bundle
from deepfake_detector.model.bundle_contract import VideoCalibration
from deepfake_detector.model.calibration import (
    PlattScaling,
    VectorScaling,
    fit_branch_weights,
    fit_platt_scaling,
    fit_vector_scaling,
    source_weights,
)
from deepfake_detector.model.export import (
    branch_logits,
    export_onnx,
    load_trained,
    weights_sha256,
    with_branch_weights,
    with_vector_scaling,
)
from deepfake_detector.model.network import classifier_layers
from deepfake_detector.model.operating_points import ErrorRates, fit_thresholds, keep_starting_thresholds
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.shards import HeldOutSplit, Shards

REFERENCE_CROPS = 8
# Corrupted draws of the validation pictures, beside the clean ones: random corruption leaves a third unchanged, so with
# a single draw most of the calibration crops would be clean.
CALIBRATION_DRAWS = 3
_UNCALIBRATED = Thresholds(clear=0.5, flag=0.5, strict=0.5)
_NO_VIDEOS = VideoCalibration(thresholds=_UNCALIBRATED, flag_false_positive_rate=0.01, strict_false_positive_rate=0.001)
Floats = NDArray[np.float64]
CalibratedOn = Literal["clean", "corruptions"]


@dataclass(frozen=True, eq=False)
class SplitScores:
    """A held-out split and the graph's logits, of the clean crops and after random corruption of the pictures."""

    crops: HeldOutSplit
    kinds: Floats  # (n, k), a logit per kind of fake
    corrupted_kinds: Floats  # (n, k)
    maps: NDArray[np.float32]  # (n, h, w) of the clean crops

    def of_sources(self, names: Collection[str], inside: bool) -> SplitScores:
        """The crops inside, or outside, these sources."""
        rows = np.flatnonzero([(source in names) is inside for source in self.crops.sources])
        return SplitScores(
            self.crops.select(rows), self.kinds[rows], self.corrupted_kinds[rows], self.maps[rows]
        )  # fmt: skip

    @property
    def logits(self) -> Floats:
        """(n,) of being a fake of any kind."""
        return _fake_logits(self.kinds)

    @property
    def corrupted_logits(self) -> Floats:
        """(n,) of the corrupted pictures."""
        return _fake_logits(self.corrupted_kinds)


@dataclass(frozen=True, eq=False)
class Predictions:
    """A calibrated network and its logits of both held-out splits."""

    contract: Contract
    engine: Engine = field(repr=False)
    valid: SplitScores
    test: SplitScores  # of the sources that were trained on
    videos: VideoScores  # simulated from validation pictures
    left_out: SplitScores  # test pictures of the other sources (`use: test`); empty without any
    test_digest: str  # of both
    branch_weights: Floats  # (b, k), of the branches' logits before their mean; part of the graph
    vector_scaling: VectorScaling  # per kind, with the offset of Platt scaling: part of the graph
    temperature: float  # part of the contract
    calibrated_on: CalibratedOn
    fake_share: float  # of the crops it was calibrated on
    history: pd.DataFrame
    parameters: int

    def p_fake(self, logits: Floats) -> Floats:
        """Calibrated probabilities (n,) of logits (n,)."""
        return probabilities(logits, self.contract.temperature)

    def uncalibrated(self, kinds: Floats) -> Floats:
        """Probabilities (n,) of the network itself, of the graph's logits (n, k)."""
        return probabilities(_fake_logits(self.vector_scaling.inverse(kinds)), 1.0)

    def score(self, crops: NDArray[np.uint8]) -> Floats:
        """Calibrated probabilities (n,) of crops (n, side, side, 3)."""
        return _p_fake(self.engine, self.contract.temperature, crops)

    def compare_calibration(self, bins: int, resamples: int) -> tuple[CalibrationComparison, ...]:
        """Errors of the probabilities before and after calibration, for both splits, clean and corrupted."""
        return tuple(
            compare_calibration(
                f"{name}, {view}",
                self.uncalibrated(kinds),
                self.p_fake(_fake_logits(kinds)),
                split.crops.labels,
                bins,
                resamples,
            )
            for name, split in (("validation", self.valid), ("test", self.test))
            for view, kinds in (("clean", split.kinds), ("corrupted", split.corrupted_kinds))
        )

    def report(self) -> dict[str, Any]:
        """Its part of reports/evaluate.json."""
        scaling = {
            f"{name}_{kind}": value
            for name, values in (("weight", self.vector_scaling.weights), ("offset", self.vector_scaling.offsets))
            for kind, value in zip(self.contract.kinds, values, strict=True)
        }
        calibration = {"temperature": self.temperature, "fake_share": self.fake_share, "on": self.calibrated_on}
        kinds = measure_kinds(
            self.test.kinds, self.p_fake(self.test.logits), self.test.crops.labels, self.test.crops.kinds,
            self.contract.kinds, self.contract.thresholds.flag,
        )  # fmt: skip
        return {
            "test_digest": self.test_digest,
            **({"branch_weights": self.branch_weights.tolist()} if len(self.branch_weights) > 1 else {}),
            "calibration": calibration | scaling | self.contract.thresholds.model_dump(),
            "simulated_videos": self.videos.report(),
            **({"kinds_of_flagged_fakes": kinds.as_dict()} if kinds else {}),
            "weights_sha256": self.contract.weights_sha256,
        }


def predict_splits(workspace: Workspace, settings: Settings, shards: Shards, scratch: Path) -> Predictions:
    """Score both held-out splits with the graph that will be served, and calibrate on the validation split alone.

    Args:
        workspace: holds the trained model and the reports of earlier stages.
        settings: params.yaml.
        shards: the crops.
        scratch: a folder for the graph and its reference outputs, which `seal_bundle` takes from there.
    """
    options = settings.evaluate
    trained = json.loads(workspace.report("train").read_text(encoding="utf-8"))
    model, valid_crops = load_trained(workspace.trained / "model.keras"), shards.arrays("valid")
    draft = _draft_contract(settings, shards, model, trained)
    on = _calibrated_on(options.calibrate_on, trained["params"]["augment"])
    corrupted = corrupt_split(workspace, settings, valid_crops, CALIBRATION_DRAWS if on == "corruptions" else 1)
    images = _image_weights(settings, valid_crops)
    model, branch_weights = _with_fitted_branches(model, valid_crops, corrupted[0], draft.kinds, images)
    engine = _export_engine(model, valid_crops, draft, scratch, options.mirrored)
    valid = _score_split(engine, valid_crops, corrupted[0])
    kinds = [valid.kinds]
    if on == "corruptions":
        kinds += [valid.corrupted_kinds, *(_kinds(engine, crops) for crops in corrupted[1:])]
    scaling, temperature, thresholds, fake_share = _calibrate(
        np.concatenate(kinds), valid_crops, draft.kinds, options, trained.get("starting_calibration") or {}, images
    )
    scaled = with_vector_scaling(model, scaling.weights, scaling.offsets)
    engine = _export_engine(scaled, valid_crops, draft, scratch, options.mirrored)
    test_crops = shards.arrays("test")
    scored = _score_split(engine, test_crops, corrupt_split(workspace, settings, test_crops)[0])
    test, left_out = (scored.of_sources(settings.download.left_out, inside) for inside in (False, True))
    contract = _measured_contract(draft, test, temperature, thresholds, options)
    videos = calibrate_videos(workspace, settings, contract, valid_crops, partial(_p_fake, engine, temperature))
    return Predictions(
        contract=contract.model_copy(update={"video": videos.calibration}),
        engine=engine,
        videos=videos,
        valid=replace(
            valid, kinds=scaling.apply(valid.kinds), corrupted_kinds=scaling.apply(valid.corrupted_kinds)
        ),
        test=test,
        left_out=left_out,
        test_digest=test_crops.sha256,
        branch_weights=branch_weights,
        vector_scaling=scaling,
        temperature=temperature,
        calibrated_on=on,
        fake_share=fake_share,
        history=pd.read_csv(workspace.figures("train") / "history.csv"),
        parameters=model.count_params(),
    )  # fmt: skip


def _measured_contract(
    draft: Contract, test: SplitScores, temperature: float, thresholds: Thresholds, options: Evaluate
) -> Contract:
    """The draft with its calibration and the metrics of the test split."""
    p_test = probabilities(test.logits, temperature)
    metrics = classification_metrics(p_test, test.crops.labels, options.bootstrap, options.calibration_bins)
    measured = {"test_images": metrics.images, "test_metrics": metrics.flat()}
    return draft.model_copy(update={"temperature": temperature, "thresholds": thresholds} | measured)


def seal_bundle(
    workspace: Workspace, predictions: Predictions, results: EvaluationResults, grid_scores: GridScores, scratch: Path
) -> Bundle:
    """Write graph, contract, reference outputs, card and profile into models/bundle."""
    shutil.rmtree(scratch / "draft")
    videos = video_coverage(predictions.videos.measure(), results.videos)
    coverage = {"image": measured_coverage(results.sources), "video": videos}
    contract = predictions.contract.model_copy(update={"coverage": coverage})
    profile = reference_profile(workspace, grid_scores, contract)
    graph, reference, card = scratch / "detector.onnx", scratch / "reference.npz", model_card(contract, results)
    return write_bundle(workspace.bundle, graph, contract, reference, card, profile)


def _calibrate(
    kinds: Floats,
    valid: HeldOutSplit,
    names: Sequence[str],
    options: Evaluate,
    start: Mapping[str, float],
    weights: Floats,
) -> tuple[VectorScaling, float, Thresholds, float]:
    """Vector scaling, temperature, thresholds and share of fakes of logits (m, k), m a multiple of the split's size.

    `start` has temperature and thresholds of the bundle that the training started from, if it did; `weights` (n,) are
    those of the split's images.
    """
    weights = np.resize(weights, len(kinds))
    classes = np.resize(_classes(valid, names), len(kinds))
    labels = (classes > 0).astype(np.int64)
    scaling = fit_vector_scaling(kinds, classes, weights, len(valid.labels))
    prior = PlattScaling(start["temperature"], 0.0) if start else None
    platt = fit_platt_scaling(_fake_logits(scaling.apply(kinds)), labels, prior, len(valid.labels), weights)
    scaling = VectorScaling(scaling.weights, tuple(offset + platt.offset for offset in scaling.offsets))
    p_fake = probabilities(_fake_logits(scaling.apply(kinds)), platt.temperature)
    groups = np.resize(np.array(split_groups(valid)), len(kinds)).tolist()
    thresholds = fit_thresholds(p_fake, labels, groups, picture_rates(options), len(kinds) // len(valid.labels))
    if start:
        known = Thresholds(clear=start["clear"], flag=start["flag"], strict=start["strict"])
        thresholds = keep_starting_thresholds(thresholds, known, valid.labels)
    return scaling, platt.temperature, thresholds, float(np.average(labels, weights=weights))


def _image_weights(settings: Settings, valid: HeldOutSplit) -> Floats:
    """(n,) of the validation images: as they are, or of both classes and all sources as in a balanced batch."""
    if settings.train.sampling != "balanced":
        return np.ones(len(valid.labels))
    return source_weights(valid.sources, valid.labels, settings.download.weights)


def _with_fitted_branches(
    model: keras.Model, valid: HeldOutSplit, corrupted: NDArray[np.uint8], names: Sequence[str], images: Floats
) -> tuple[keras.Model, Floats]:
    """The network with a weight per branch and kind, fitted on clean and corrupted validation crops; the weights."""
    if len(classifier_layers(model)) == 1:
        return model, np.ones((1, len(names)))
    branches = [branch_logits(model, crops) for crops in (valid.crops, corrupted)]
    classes = np.resize(_classes(valid, names), 2 * len(valid.labels))
    weights = fit_branch_weights(np.concatenate(branches), classes, np.resize(images, len(classes)), len(valid.labels))
    return with_branch_weights(model, weights), weights


def picture_rates(options: Evaluate) -> ErrorRates:
    """Error rates that the thresholds of pictures aim at."""
    return ErrorRates(
        options.flag_false_positive_rate, options.strict_false_positive_rate, options.clear_false_negative_rate
    )


def split_groups(split: HeldOutSplit) -> list[str]:
    """(n,): the source of each picture, of fakes with their kind; each sets thresholds by itself if it is large."""
    return [f"{source} {kind}".strip() for source, kind in zip(split.sources, split.kinds, strict=True)]


def _export_engine(model: keras.Model, valid: HeldOutSplit, draft: Contract, scratch: Path, mirrored: bool) -> Engine:
    """The engine of this network's graph; graph and reference outputs stay in `scratch`."""
    graph, reference = scratch / "detector.onnx", scratch / "reference.npz"
    export_onnx(model, valid.crops[:REFERENCE_CROPS], graph, reference, mirrored)
    return Engine(write_bundle(scratch / "draft", graph, draft, reference, ""))


def _score_split(engine: Engine, split: HeldOutSplit, corrupted: NDArray[np.uint8]) -> SplitScores:
    clean = engine.score(split.crops)
    return SplitScores(split, clean.kinds.astype(np.float64), _kinds(engine, corrupted), clean.logit_map)


def _p_fake(engine: Engine, temperature: float, crops: NDArray[np.uint8]) -> Floats:
    return probabilities(engine.score(crops).logits.astype(np.float64), temperature)


def _kinds(engine: Engine, crops: NDArray[np.uint8]) -> Floats:
    return engine.score(crops).kinds.astype(np.float64)


def _fake_logits(kinds: Floats) -> Floats:
    """(n,) logits of being a fake of any kind, of logits (n, k) of the kinds."""
    return np.asarray(logsumexp(kinds, axis=1), np.float64)


def _classes(split: HeldOutSplit, kinds: Sequence[str]) -> NDArray[np.int64]:
    """(n,), 0 = real, 1.. = the kinds; with a single kind all fakes are of it."""
    codes = [kinds.index(kind) if kind in kinds else 0 for kind in split.kinds]
    return np.where(split.labels == 0, 0, 1 + np.array(codes))


def _calibrated_on(setting: str, augment: str) -> CalibratedOn:
    """`as_trained` follows the training: a network that never saw JPEG or blur has no useful threshold on them."""
    if setting == "as_trained":
        return "corruptions" if augment == "corruptions" else "clean"
    return "corruptions" if setting == "corruptions" else "clean"


def _draft_contract(settings: Settings, shards: Shards, model: keras.Model, trained: Mapping[str, Any]) -> Contract:
    return Contract(
        format_version=FORMAT_VERSION,
        network=model.name,
        side_px=shards.side_px,
        alignment="ffhq",
        crop_scale=settings.prepare.crop_scale,
        kinds=tuple(trained["kinds"]),
        min_face_px=settings.prepare.min_face_px,
        temperature=1.0,
        thresholds=_UNCALIBRATED,
        video=_NO_VIDEOS,
        trained_on=_trained_on(trained["source_kinds"]),
        data_sha256=trained["data_sha256"],
        train_images=shards.crops["train"],
        test_images=0,
        test_metrics={},
        weights_sha256=weights_sha256(model),
    )


def _trained_on(kinds: Mapping[str, str]) -> Literal["drawn sample", "photographs"]:
    """Photographs, unless the drawn sample is the only source, whatever the sources are called."""
    return "drawn sample" if set(kinds.values()) == {"sample"} else "photographs"
