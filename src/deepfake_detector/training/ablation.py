"""Settings and shards -> trainings that add one part of the recipe after the other, and what each part changes.

Every training has the same pictures, epochs and seed. Scores are those of the Keras network itself, so that no later
step (calibration, thresholds, bf16) blurs the comparison; an AUC needs none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.config import Settings
from deepfake_detector.media.augmentation import sent
from deepfake_detector.model.network import with_logit_map
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.shards import Held, Shards
from deepfake_detector.stats import Estimate, auc, auc_difference
from deepfake_detector.training.plan import course, follow, same_training

Scores = NDArray[np.float64]
WAYS = ("as they are", "as traffic leaves them")


@dataclass(frozen=True)
class Step:
    """One part of the recipe, and the settings of params.yaml's `train` that add it."""

    name: str
    adds: Mapping[str, Any]
    mirrored: bool = False


_BARE = {"network": "original", "augment": "shift", "blend": 0.0, "ema_momentum": 0.0, "patchwork": 0.0}
STEPS = (
    Step("`original`, the README's CNN", _BARE),
    Step("+ logit map in place of the dense layers", {"network": "plain"}),
    Step("+ residual front end", {"network": "residual"}),
    Step("+ augmentation like traffic", {"augment": "traffic"}),
    Step("+ averaged weights", {"ema_momentum": 0.998}),
    Step("+ self-blended swaps", {"blend": 0.25}),
    Step("+ pieces of other faces, each place its own truth", {"patchwork": 0.25}),
    Step("+ the mirror image as a second look (not kept)", {}, mirrored=True),
)


def climb(workspace: Workspace, settings: Settings, shards: Shards) -> dict[str, Any]:
    """Train and judge every step.

    Returns:
        What reports/ablate.json holds: per step its settings, and per source and way of wear the AUC with its interval
        and the difference to the step before (paired bootstrap).
    """
    test, how, rows = shards.arrays("test"), settings.train, list[dict[str, Any]]()
    worn = sent(test.crops, settings.evaluate.seed)
    before: dict[str, Scores] | None = None
    for number, step in enumerate(STEPS, start=1):
        how = replace(how, **step.adds)
        print(f"\nstep {number} of {len(STEPS)}: {step.name}", flush=True)
        scores = _scores(workspace, replace(settings, train=how), shards, step.mirrored, (test.crops, worn))
        figures = {way: _figures(test, scores[way], None if before is None else before[way]) for way in WAYS}
        rows.append({"step": step.name, "train": asdict(how), "mirrored": step.mirrored, "auc": figures})
        before = scores
    return {"epochs": how.epochs, "train_images": shards.crops["train"], "test_digest": test.sha256, "steps": rows}


def table(report: Mapping[str, Any]) -> str:
    """The page docs/ablations.md."""
    sources = list(report["steps"][0]["auc"][WAYS[0]])
    lines = [
        "# What each part of the recipe is worth",
        "",
        f"Written by `python -m pipelines.ablate --epochs {report['epochs']}`: {len(report['steps'])} steps, each with "
        f"everything above it, trained for {report['epochs']} epochs on {report['train_images']} crops with one seed, "
        f"judged on the test split (digest `{report['test_digest'][:12]}`). AUC with its 95 % interval (DeLong); in "
        "brackets the difference to the line above on the same pictures with the 95 % interval of a paired bootstrap. "
        "What did not help stays in the table. One seed each: a difference whose interval is far from zero may be mere "
        "luck of the start. In a short training, what keeps a network from learning faces by heart (traffic, blends, "
        "pieces) looks worse than in a long one: [experiments.md](experiments.md).",
    ]
    for way in WAYS:
        lines += [
            "",
            f"## Test pictures {way}",
            "",
            f"| step | {' | '.join(sources)} |",
            "|---" * (1 + len(sources)) + "|",
        ]
        lines += [f"| {row['step']} | {' | '.join(_cell(row['auc'][way][name]) for name in sources)} |"
                  for row in report["steps"]]  # fmt: skip
    return "\n".join(lines) + "\n"


def _scores(
    workspace: Workspace, settings: Settings, shards: Shards, mirrored: bool, views: tuple[NDArray[np.uint8], ...]
) -> dict[str, Scores]:
    """Logits (n,) of the test crops in every way; of a finished step from the file it left."""
    name = same_training(workspace, settings, shards, "ablate", asdict(settings.train))
    kept = workspace.ablation / f"{name}{'-mirrored' if mirrored else ''}.npz"
    if kept.is_file():
        with np.load(kept) as file:
            return {way: file[way] for way in WAYS}
    model = _trained(workspace, settings, shards, name)
    looking = with_logit_map(model, mirrored)
    scores = {way: looking.predict(crops, verbose=0)["logits"].astype(np.float64)
              for way, crops in zip(WAYS, views, strict=True)}  # fmt: skip
    np.savez(kept, **scores)
    return scores


def _trained(workspace: Workspace, settings: Settings, shards: Shards, name: str) -> Any:
    """The network of a step; the mirrored one is the network of the step before."""
    import keras

    workspace.ablation.mkdir(parents=True, exist_ok=True)
    kept = workspace.ablation / f"{name}.keras"
    if kept.is_file():
        return keras.models.load_model(kept, compile=False, safe_mode=True)
    planned = course(settings.train, shards)
    with follow(workspace, settings, shards, "ablate") as run:
        model = planned.fit(run).model
        run.checkpoint.clear()
    model.save(kept)
    return model


def _figures(test: Held, scores: Scores, before: Scores | None) -> dict[str, Any]:
    """AUC per source; a source of one class has none."""
    found: dict[str, Any] = {}
    for source in sorted(set(test.sources)):
        of_it = np.array([name == source for name in test.sources])
        area = auc(scores[of_it], test.labels[of_it])
        if area is None:
            continue
        gain = None if before is None else auc_difference(test.labels[of_it], scores[of_it], before[of_it])
        found[source] = vars(area) | {"images": int(of_it.sum()), "gain": None if gain is None else asdict(gain)}
    return found


def _cell(figure: Mapping[str, Any]) -> str:
    area = str(Estimate(figure["value"], figure["low"], figure["high"]))
    gain = figure["gain"]
    return area if gain is None else f"{area} ({gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}])"
