"""What `evaluate` finds out from the crops: logits of the served graph -> calibration, figures, contract."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logsumexp

from deepfake_detector.config import Settings
from deepfake_detector.evaluation.card import model_card
from deepfake_detector.evaluation.degraded_crops import sent_whole
from deepfake_detector.evaluation.metrics import Calibrated, compare, measure
from deepfake_detector.evaluation.results import Findings
from deepfake_detector.inference.engine import Engine
from deepfake_detector.model.bundle import FORMAT_VERSION, Bundle, Contract, Thresholds, write_bundle
from deepfake_detector.model.calibration import Balance, fit_balance, fit_scale, fit_thresholds, probabilities
from deepfake_detector.model.export import export_graph, load_trained, rescaled, weights_sha256
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.shards import Held, Shards

REFERENCE_CROPS = 8
# Of the validation pictures, beside those as they are: a third of what is sent stays untouched, so that a calibration
# on one draw would still be one for untouched pictures.
CALIBRATION_DRAWS = 3
_UNCALIBRATED = Thresholds(clear=0.5, flag=0.5, strict=0.5)
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scored:
    """A held-out split and what the graph says of it: as it is, and of its pictures as websites would leave them."""

    crops: Held
    kinds: Floats  # (n, k), logits of the kinds of fakes
    sent_kinds: Floats  # (n, k)
    maps: NDArray[np.float32]  # (n, h, w) of the crops as they are

    @property
    def logits(self) -> Floats:
        """(n,) of being a fake of any kind."""
        return _any_fake(self.kinds)

    @property
    def sent_logits(self) -> Floats:
        """The same of the pictures as websites and phones would leave them."""
        return _any_fake(self.sent_kinds)


@dataclass(frozen=True, eq=False)
class Judgement:
    """A calibrated network and its answers to both held-out splits."""

    contract: Contract
    engine: Engine = field(repr=False)
    valid: Scored
    test: Scored
    balance: Balance  # of the kinds, and the scale's offset: part of the graph
    temperature: float  # part of the contract
    calibrated_on: Literal["clean", "traffic"]
    fake_share: float  # of the crops it was calibrated on
    history: pd.DataFrame
    parameters: int
    git_commit: str  # of the training's code; "" where a training of old did not write it down

    def p(self, logits: Floats) -> Floats:
        """Calibrated probabilities (n,) of logits (n,)."""
        return probabilities(logits, self.contract.temperature)

    def before(self, kinds: Floats) -> Floats:
        """Probabilities (n,) as the network itself would say them, of logits (n, k) of the graph."""
        return probabilities(_any_fake(self.balance.undone(kinds)), 1.0)

    def score(self, crops: NDArray[np.uint8]) -> Floats:
        """Calibrated probabilities (n,) of crops (n, side, side, 3)."""
        return self.p(self.engine.score(crops).logits.astype(np.float64))

    def compared(self, bins: int, resamples: int) -> tuple[Calibrated, ...]:
        """Errors of the probabilities before and after calibration, of every set there is."""
        sets = (("validation", self.valid), ("test", self.test))
        return tuple(
            compare(
                f"{name}, {how}", self.before(kinds), self.p(_any_fake(kinds)), scored.crops.labels, bins, resamples
            )
            for name, scored in sets
            for how, kinds in (("as it is", scored.kinds), ("as traffic leaves it", scored.sent_kinds))
        )

    def report(self) -> dict[str, Any]:
        """Its part of reports/evaluate.json."""
        thresholds = self.contract.thresholds.model_dump()
        balance = {
            f"{what}_{kind}": value
            for what, values in (("weight", self.balance.weights), ("offset", self.balance.offsets))
            for kind, value in zip(self.contract.kinds, values, strict=True)
        }
        calibration = {"temperature": self.temperature, "fake_share": self.fake_share} | balance | thresholds
        return {
            "test_digest": self.test.crops.sha256,
            "calibration": calibration | {"on": self.calibrated_on},
            "weights_sha256": self.contract.weights_sha256,
        }


def judge(workspace: Workspace, settings: Settings, shards: Shards, scratch: Path) -> Judgement:
    """Score both held-out splits with the graph that will serve, and calibrate on the validation split alone.

    Args:
        workspace: holds the trained model and the reports of earlier stages.
        settings: params.yaml.
        shards: the crops.
        scratch: a folder for the graph and its reference outputs; `seal` takes them from there.
    """
    how = settings.evaluate
    trained = json.loads(workspace.report("train").read_text(encoding="utf-8"))
    model, valid = load_trained(workspace.trained / "model.keras"), shards.arrays("valid")
    draft = _contract(settings, shards, model, trained)
    on = _calibrated_on(how.calibrate_on, trained["params"]["augment"])
    sent, *more = sent_whole(workspace, settings, valid, CALIBRATION_DRAWS if on == "traffic" else 1)
    engine = _engine(model, valid, draft, scratch, how.mirrored)
    raw = _scored(engine, valid, sent)
    worn = [raw.sent_kinds, *(engine.score(crops).kinds.astype(np.float64) for crops in more)]
    seen = np.concatenate([raw.kinds, *(worn if on == "traffic" else [])])
    classes = np.resize(_classes(valid, draft.kinds), len(seen))
    labels = (classes > 0).astype(np.int64)
    balance = fit_balance(seen, classes)
    scale = fit_scale(_any_fake(balance.of(seen)), labels)
    balance = Balance(balance.weights, tuple(offset + scale.offset for offset in balance.offsets))
    engine = _engine(rescaled(model, balance.weights, balance.offsets), valid, draft, scratch, how.mirrored)
    held = shards.arrays("test")
    test = _scored(engine, held, sent_whole(workspace, settings, held)[0])
    p_test = probabilities(test.logits, scale.temperature)
    figures = measure(p_test, test.crops.labels, how.bootstrap, how.calibration_bins)
    found = {
        "temperature": scale.temperature,
        "thresholds": fit_thresholds(probabilities(_any_fake(balance.of(seen)), scale.temperature), labels, how),
        "test_images": figures.images,
        "test_metrics": figures.flat(),
    }
    return Judgement(
        contract=draft.model_copy(update=found),
        engine=engine,
        valid=replace(raw, kinds=balance.of(raw.kinds), sent_kinds=balance.of(raw.sent_kinds)),
        test=test,
        balance=balance,
        temperature=scale.temperature,
        calibrated_on=on,
        fake_share=float(labels.mean()),
        history=pd.read_csv(workspace.figures("train") / "history.csv"),
        parameters=model.count_params(),
        git_commit=trained.get("git_commit", ""),
    )


def seal(workspace: Workspace, judgement: Judgement, found: Findings, scratch: Path) -> Bundle:
    """Put graph, contract and card together into models/bundle."""
    shutil.rmtree(scratch / "draft")
    card = model_card(judgement.contract, found)
    return write_bundle(
        workspace.bundle, scratch / "detector.onnx", judgement.contract, scratch / "reference.npz", card
    )


def _engine(model: keras.Model, valid: Held, draft: Contract, scratch: Path, mirrored: bool) -> Engine:
    """The engine of this network's graph, which it leaves in `scratch` with the reference outputs."""
    graph, reference = scratch / "detector.onnx", scratch / "reference.npz"
    export_graph(model, valid.crops[:REFERENCE_CROPS], graph, reference, mirrored)
    return Engine(write_bundle(scratch / "draft", graph, draft, reference, ""))


def _scored(engine: Engine, split: Held, sent: NDArray[np.uint8]) -> Scored:
    scores, after = engine.score(split.crops), engine.score(sent)
    return Scored(split, scores.kinds.astype(np.float64), after.kinds.astype(np.float64), scores.logit_map)


def _any_fake(kinds: Floats) -> Floats:
    return np.asarray(logsumexp(kinds, axis=1), np.float64)


def _classes(split: Held, kinds: Sequence[str]) -> NDArray[np.int64]:
    """(n,), 0 = real, 1.. = the kinds; where only one is told, all fakes are of it."""
    codes = [kinds.index(kind) if kind in kinds else 0 for kind in split.kinds]
    return np.where(split.labels == 0, 0, 1 + np.array(codes))


def _calibrated_on(wish: str, augment: str) -> Literal["clean", "traffic"]:
    """`as_trained` follows the training: a network that never saw JPEG or blur has no useful threshold on them."""
    if wish == "as_trained":
        return "traffic" if augment == "traffic" else "clean"
    return "traffic" if wish == "traffic" else "clean"


def _contract(settings: Settings, shards: Shards, model: keras.Model, trained: Mapping[str, Any]) -> Contract:
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
        trained_on=_trained_on(trained["source_kinds"]),
        data_sha256=trained["data_sha256"],
        train_images=shards.crops["train"],
        test_images=0,
        test_metrics={},
        run_id=trained["run_id"],
        weights_sha256=weights_sha256(model),
    )


def _trained_on(kinds: Mapping[str, str]) -> Literal["drawn sample", "photographs"]:
    """One source that is not the sample makes it a model of photographs, whatever the sources are called."""
    return "drawn sample" if set(kinds.values()) == {"sample"} else "photographs"
