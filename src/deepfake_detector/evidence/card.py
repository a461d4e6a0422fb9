"""A contract -> the model card (Markdown): what it is for, what it was measured to do, where it fails."""

from __future__ import annotations

from collections.abc import Mapping

from deepfake_detector.evidence.metrics import Slice
from deepfake_detector.model.bundle import Contract

_SCOPE = {
    "drawn sample": (
        "**Trained on drawings.** This model has only seen the portraits that this project draws by itself, through a "
        "simulated camera and a simulated generator. It proves that the road works. It knows nothing of photographs: "
        "do not judge anybody's picture with it."
    ),
    "photographs": (
        "Trained on photographs and generated faces. Where the training data are non-commercial (FFHQ and the Kaggle "
        "set are CC BY-NC-SA / CC BY-NC), so is this model."
    ),
}


def model_card(
    contract: Contract, network_parameters: int, slices: Mapping[str, Slice] | None = None, reencode: int = 0
) -> str:
    """Write the card from the numbers that were measured.

    Args:
        contract: of the bundle that the card lies in.
        network_parameters: number of weights.
        slices: source -> figures on its test pictures; told if there are several.
        reencode: JPEG quality that all pictures were saved with before they were cut; 0: they were not.
    """
    c, m = contract, contract.test_metrics
    rows = [
        f"| {name} | {m[key]:.4f} | {m[f'{key}_low']:.4f} to {m[f'{key}_high']:.4f} |"
        for name, key in (("accuracy", "accuracy"), ("precision", "precision"), ("recall", "recall"), ("F1", "f1"))
    ]
    data = "\n".join(f"- `{source}`: archive SHA-256 `{digest}`" for source, digest in c.data_sha256.items())
    return f"""# Model card: {c.network}, {c.side_px} x {c.side_px} px

{_SCOPE[c.trained_on]}

## What it answers
For an upright face of at least {c.min_face_px} px it gives `p_fake`, a calibrated probability between 0 and 1.

| threshold | p_fake | meaning |
|---|---|---|
| clear | <= {c.thresholds.clear:.4f} | answered "real" |
| | between | answered "inconclusive" |
| flag | >= {c.thresholds.flag:.4f} | answered "fake" |
| strict | >= {c.thresholds.strict:.4f} | for decisions that hurt when wrong |

Temperature {c.temperature:.4f}; it and the thresholds were set on the validation split alone.

## What was measured
On the {c.test_images} pictures of the test split, never tuned on, at p_fake >= 0.5, with 95 % intervals:

| figure | value | interval |
|---|---|---|
{chr(10).join(rows)}
| AUC | {m["auc"]:.4f} | {m["auc_low"]:.4f} to {m["auc_high"]:.4f} |

Calibration error (ECE) {m["ece"]:.4f}, Brier score {m["brier"]:.4f}.
{_per_source(slices or {})}
## How it was made
- network `{c.network}`, {network_parameters:,} weights, {c.train_images} training pictures{_resaved(reencode)}
- MLflow run `{c.run_id}`, weights SHA-256 `{c.weights_sha256}`
{data}

## What it cannot do
- It judges faces, not scenes, voices, text or context. Without a face it says "inconclusive".
- It knows the kinds of fakes it was trained on. New generators, face swaps it never saw, strong compression and
  screenshots can fool it in both directions.
- Its probability holds for a world where half of the pictures are fake. Where fakes are rare, most alarms are false.
- It gives evidence, not proof, and never a reason to accuse somebody by itself.
"""


def _per_source(slices: Mapping[str, Slice]) -> str:
    if len(slices) < 2:
        return ""
    rows = [
        f"| `{name}` | {s.images} | {s.accuracy} | {s.auc or 'one class only'} |" for name, s in sorted(slices.items())
    ]
    return "\n".join(["", "| source | pictures | accuracy | AUC |", "|---|---|---|---|", *rows, ""])


def _resaved(quality: int) -> str:
    if not quality:
        return ""
    return (
        f"\n- all pictures, real and fake, were saved as JPEG of quality {quality} before faces were cut; the figures "
        "above hold for pictures saved so, and a picture that is sent to be judged is not saved again"
    )
