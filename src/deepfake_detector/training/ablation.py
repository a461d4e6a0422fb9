"""Settings and shards -> trainings that add one part of the recipe at a time, and the change in AUC of each part.

All trainings have the same pictures, epochs and seed. Scores are logits of the Keras network, so that calibration,
thresholds and inference precision do not affect the comparison; an AUC needs none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.config import Settings
from deepfake_detector.io import atomic_write
from deepfake_detector.media.corruptions import corrupt_crops
from deepfake_detector.model.export import load_trained, save_trained
from deepfake_detector.model.network import with_logit_map
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.shards import HeldOutSplit, Shards
from deepfake_detector.stats import Estimate, auc_difference, estimate_auc
from deepfake_detector.training.plan import plan_training, run_context, training_key

Scores = NDArray[np.float64]
VIEWS = ("clean", "corrupted")  # the test crops as they are, and after random corruptions


@dataclass(frozen=True)
class AblationStep:
    """One part of the recipe, and the settings of params.yaml's `train` that add it."""

    name: str
    adds: Mapping[str, Any]
    mirrored: bool = False


_BASELINE = {
    "network": "original", "augment": "shift", "self_blend": 0.0, "ema_momentum": 0.0, "cutmix": 0.0,
    "sampling": "uniform", "start_from": "", "frozen_blocks": 0,
}  # fmt: skip
STEPS = (
    AblationStep("`original`, the CNN of the original README", _BASELINE),
    AblationStep("+ logit map instead of dense layers", {"network": "plain"}),
    AblationStep("+ high-pass residual front end", {"network": "residual"}),
    AblationStep("+ corruptions as augmentation", {"augment": "corruptions"}),
    AblationStep("+ exponential moving average of the weights", {"ema_momentum": 0.998}),
    AblationStep("+ self-blended images", {"self_blend": 0.25}),
    AblationStep("+ CutMix patches, each cell with its own label", {"cutmix": 0.25}),
    AblationStep("+ balanced sampling: half real, sources by weight, pairs together", {"sampling": "balanced"}),
    AblationStep("+ EfficientNet-Lite0 beside the residual network", {"network": "fused", "frozen_blocks": 8}),
    AblationStep("+ average over the mirror image (not in the recipe)", {}, mirrored=True),
)


def run_ablation(workspace: Workspace, settings: Settings, shards: Shards) -> dict[str, Any]:
    """Train every step and score it on the test split.

    Returns:
        The content of reports/ablate.json: per step its settings, and per view and source the AUC with its interval and
        the difference to the step before (paired bootstrap).
    """
    test, train, rows = shards.arrays("test"), settings.train, list[dict[str, Any]]()
    views = (test.crops, corrupt_crops(test.crops, settings.evaluate.seed))
    before: dict[str, Scores] | None = None
    for number, step in enumerate(STEPS, start=1):
        train = replace(train, **step.adds)
        print(f"\nstep {number} of {len(STEPS)}: {step.name}", flush=True)
        scores = _step_scores(workspace, replace(settings, train=train), shards, step.mirrored, views)
        aucs = {view: _auc_per_source(test, scores[view], None if before is None else before[view]) for view in VIEWS}
        rows.append({"step": step.name, "train": asdict(train), "mirrored": step.mirrored, "auc": aucs})
        before = scores
    return {"epochs": train.epochs, "train_images": shards.crops["train"], "test_digest": test.sha256, "steps": rows}


def ablation_page(report: Mapping[str, Any]) -> str:
    """The page docs/ablations.md of a report."""
    sources = list(report["steps"][0]["auc"][VIEWS[0]])
    lines = [
        "# Ablations: the effect of each part of the recipe",
        "",
        f"Written by `python -m pipelines.ablate --epochs {report['epochs']}`: {len(report['steps'])} steps, each with "
        f"all parts above it, trained for {report['epochs']} epochs on {report['train_images']} crops with one seed, "
        f"scored on the test split (digest `{report['test_digest'][:12]}`). AUC with its 95 % interval (DeLong); in "
        "brackets the difference to the line above on the same pictures, with the 95 % interval of a paired bootstrap. "
        "Parts that did not help stay in the table. With one seed per step, an interval far from zero can still be due "
        "to the random initialisation. Parts that reduce overfitting (corruptions, self-blended images, CutMix) look "
        "worse in a short training than in a long one: [experiments.md](experiments.md).",
    ]
    for view in VIEWS:
        lines += [
            "",
            f"## Test pictures, {view}",
            "",
            f"| step | {' | '.join(sources)} |",
            "|---" * (1 + len(sources)) + "|",
        ]
        lines += [f"| {row['step']} | {' | '.join(_cell(row['auc'][view][name]) for name in sources)} |"
                  for row in report["steps"]]  # fmt: skip
    return "\n".join(lines) + "\n"


def _step_scores(
    workspace: Workspace, settings: Settings, shards: Shards, mirrored: bool, views: tuple[NDArray[np.uint8], ...]
) -> dict[str, Scores]:
    """Logits (n,) of the test crops in each view, read from the step's file if an earlier call finished it."""
    name = training_key(workspace, settings, shards, "ablate", asdict(settings.train))
    path = workspace.ablation / f"{name}{'-mirrored' if mirrored else ''}.npz"
    if path.is_file():
        with np.load(path) as file:
            return {view: file[view] for view in VIEWS}
    model = with_logit_map(_train_step(workspace, settings, shards, name), mirrored)
    scores = {view: model.predict(crops, verbose=0)["logits"].astype(np.float64)
              for view, crops in zip(VIEWS, views, strict=True)}  # fmt: skip
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **scores)
    return scores


def _train_step(workspace: Workspace, settings: Settings, shards: Shards, name: str) -> Any:
    """The network of a step; the mirrored step reads that of the step before."""
    path = workspace.ablation / f"{name}.keras"
    if path.is_file():
        return load_trained(path)
    plan = plan_training(workspace, settings, shards)
    with run_context(workspace, settings, shards, "ablate") as run:
        model = plan.fit(run).model
        run.checkpoint.clear()
    save_trained(model, path)
    return model


def _auc_per_source(test: HeldOutSplit, scores: Scores, before: Scores | None) -> dict[str, Any]:
    """Source -> AUC with its interval, images, and gain over the step before; a source of one class is left out."""
    found: dict[str, Any] = {}
    for source in sorted(set(test.sources)):
        mask = np.array([name == source for name in test.sources])
        area = estimate_auc(scores[mask], test.labels[mask])
        if area is None:
            continue
        gain = None if before is None else auc_difference(scores[mask], before[mask], test.labels[mask])
        found[source] = vars(area) | {"images": int(mask.sum()), "gain": None if gain is None else asdict(gain)}
    return found


def _cell(figure: Mapping[str, Any]) -> str:
    area = str(Estimate(figure["value"], figure["low"], figure["high"]))
    gain = figure["gain"]
    return area if gain is None else f"{area} ({gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}])"
