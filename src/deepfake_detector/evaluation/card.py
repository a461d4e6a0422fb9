"""What was found out -> sentences about where the model fails, each from a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deepfake_detector.evaluation.results import Findings
from deepfake_detector.evaluation.robustness import CLEAN, Outcome, worst
from deepfake_detector.evaluation.slices import Slice
from deepfake_detector.model.bundle import Contract
from deepfake_detector.stats import Estimate

NOTABLE = 0.02  # accuracy under that of all test pictures from which a kind of pictures is named
MISSING = 0.02  # share of pictures without a judgeable face from which a condition is named


def known_failures(found: Findings) -> list[str]:
    """The worst conditions and kinds of pictures, alarms of the probes, and how sure that is."""
    return [*_conditions(found), *_kinds(found), *(f'probe "{p.name}": {p.told}' for p in found.alarms)]


def _conditions(found: Findings) -> list[str]:
    degraded = [outcome for outcome in found.grid.of() if outcome.condition != CLEAN]
    lines = [
        f"{o.condition}: accuracy {o.accuracy}, {_found(o)}" for o in worst(found.grid.of())
    ]  # fmt: skip
    alarm = _most(degraded, lambda o: o.false_alarms)
    if alarm and alarm.false_alarms:
        lines.append(f"most false alarms at `flag`: {alarm.condition}, {alarm.false_alarms} of the real faces")
    blind = min(degraded, key=lambda o: o.coverage.value)
    if blind.coverage.value < 1 - MISSING:
        lines.append(f"{blind.condition}: only {blind.coverage} of the pictures show a face fit to be judged")
    return lines


def _found(outcome: Outcome) -> str:
    return f"{outcome.caught} of the fakes found at `flag`" if outcome.caught else "no fakes to find"


def _most(outcomes: list[Outcome], figure: Callable[[Outcome], Estimate | None]) -> Outcome | None:
    known = [(value.value, i) for i, o in enumerate(outcomes) if (value := figure(o))]
    return outcomes[max(known)[1]] if known else None


def _kinds(found: Findings) -> list[str]:
    least = found.test.accuracy.value - NOTABLE
    weak = [each for each in found.slices if each.accuracy.value < least]
    return [
        f"{each.facet} `{each.name}`: accuracy {each.accuracy} on {each.images} pictures"
        f"{', too few to be sure' if each.tiny else ''}"
        for each in sorted(weak, key=lambda each: each.accuracy.value)
    ]


DRAWN = (
    "**Trained on drawings.** This model has only seen the portraits that this project draws by itself, through a "
    "simulated camera and a simulated generator. It proves that the road works. It knows nothing of photographs: "
    "do not judge anybody's picture with it."
)
PHOTOGRAPHS = "Trained on photographs and generated faces."
UNKNOWN_TERMS = (
    "Nobody wrote down the terms of the training data (`terms` of a source in params.yaml). FFHQ, the Kaggle set, DFDC "
    "and FaceForensics++ are non-commercial or for research only: trained on them, so is this model."
)


def scope(contract: Contract) -> str:
    """On what it was trained, in words."""
    return DRAWN if contract.trained_on == "drawn sample" else PHOTOGRAPHS


def terms_of_use(contract: Contract, terms: Mapping[str, str]) -> list[str]:
    """One sentence per source that has terms; a warning if photographs have none."""
    told = [f"`{source}`: {text}" for source, text in terms.items() if text]
    return told or ([UNKNOWN_TERMS] if contract.trained_on == "photographs" else [])


def model_card(contract: Contract, found: Findings) -> str:
    """Write the card from the numbers that were measured.

    Args:
        contract: of the bundle that the card lies in.
        found: by the evaluation of the same model.
    """
    parts = (_answers(contract, found), _measured(contract, found), _made(contract, found))
    return "\n".join(parts)


def _answers(c: Contract, found: Findings) -> str:
    return f"""# Model card: {c.network}, {c.side_px} x {c.side_px} px

{scope(c)}

## What it answers
For an upright face of at least {c.min_face_px} px it gives `p_fake`, a calibrated probability between 0 and 1.

| threshold | p_fake | meaning |
|---|---|---|
| clear | <= {c.thresholds.clear:.4f} | answered "real" |
| | between | answered "inconclusive" |
| flag | >= {c.thresholds.flag:.4f} | answered "fake" |
| strict | >= {c.thresholds.strict:.4f} | for decisions that hurt when wrong |

Temperature {c.temperature:.4f}; inside the graph, weight and offset of {_balance(found)}. They and the thresholds were
set on the validation split alone ({_views(found)}).
"""


def _balance(found: Findings) -> str:
    return ", ".join(f"{kind} {weight:.3f} and {offset:+.3f}" for kind, (weight, offset) in found.balance.items())


def _measured(c: Contract, found: Findings) -> str:
    return f"""## What was measured
On the {c.test_images} pictures of the test split, never tuned on, at p_fake >= 0.5, with 95 % intervals:

{_figures(c)}

Brier score {found.test.brier:.4f}. Answered (not "inconclusive"): {found.band.coverage}; right among those:
{found.band.accuracy}. At `flag` it finds {found.band.caught} of the fakes and calls {found.band.false_alarms} of the
real faces fake; after what websites and phones do to pictures, {found.sent_band.caught} and
{found.sent_band.false_alarms}.

{_slices(found)}

Whole pictures, as `deepfake scan` answers them: a crop for each face, and the most suspicious one decides.

{_served(found)}

## How it stands up to wear
Mean accuracy over {len(found.grid.of()) - 1} ways of degrading a picture: {found.grid.means["all"].accuracy}
({found.grid.means["all"].images} pictures; {found.grid.means["all"].strict_accuracy} if a picture without a judgeable
face counts as wrong). The heatmap: {_explained(found)}.

## Known failures
{_bullets(known_failures(found))}

## Goals
{_goals(found)}
"""


def _served(found: Findings) -> str:
    rows = ["| source | pictures | with a judgeable face | accuracy of these | their AUC |", "|---|---|---|---|---|"]
    for each in found.served:
        area = "" if each.auc is None else f"{each.auc.value:.4f}"
        judged = round(each.coverage.value * each.images)
        rows.append(f"| `{each.source}` | {each.images} | {judged} | {each.accuracy.value:.4f} | {area} |")
    return "\n".join(rows)


def _made(c: Contract, found: Findings) -> str:
    return f"""## What it may be used for
To give a person who looks into a picture one more piece of evidence about the faces in it. Not to accuse, to pay, to
ban or to identify anybody by itself, and not to clear a picture: "real" means that no trace it knows was found.
{_bullets(terms_of_use(c, found.terms))}

## How it was made
- network `{c.network}`, {found.parameters:,} weights, {c.train_images} training pictures{_resaved(found.reencode)}
- MLflow run `{c.run_id}`, weights SHA-256 `{c.weights_sha256}`
{_bullets([f"`{source}`: archive SHA-256 `{digest}`" for source, digest in c.data_sha256.items()])}

To make it again, with the archives in the repository's root:

```sh
{found.again}
```

## What it cannot do
- It judges faces, not scenes, voices, text or context. Without a face it says "inconclusive".
- It knows the kinds of fakes it was trained on. New generators, face swaps it never saw, strong compression and
  screenshots can fool it in both directions.
- Its probability holds for a world where {found.fake_share:.0%} of the pictures are fake. Where fakes are rare, most
  alarms are false.
- It gives evidence, not proof, and never a reason to accuse somebody by itself.
"""


def _figures(contract: Contract) -> str:
    m = contract.test_metrics
    names = (("accuracy", "accuracy"), ("precision", "precision"), ("recall", "recall"), ("F1", "f1"), ("AUC", "auc"),
             ("calibration error (ECE)", "ece"))  # fmt: skip
    rows = [f"| {name} | {m[k]:.4f} | {m[f'{k}_low']:.4f} to {m[f'{k}_high']:.4f} |" for name, k in names]
    return "\n".join(["| figure | value | interval |", "|---|---|---|", *rows])


def _slices(found: Findings) -> str:
    rows = [
        f"| {each.facet} | `{each.name}`{' (tiny)' if each.tiny else ''} | {each.images} | {each.accuracy} | "
        f"{each.auc or 'one class only'} | {each.false_alarms or 'no real ones'} |"
        for each in _worth_telling(found)
    ]
    head = [
        "| what | which | pictures | accuracy | AUC | real ones called fake at `flag` |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows])


def _worth_telling(found: Findings) -> list[Slice]:
    """Facets that tell pictures apart; one that all pictures share says what the whole says."""
    facets = dict.fromkeys(each.facet for each in found.slices)
    return [each for facet in facets if len(found.of_facet(facet)) > 1 or facet == "source"
            for each in found.of_facet(facet)]  # fmt: skip


def _goals(found: Findings) -> str:
    rows = [f"| {g.name} | {g.wanted} | {g.found} | {'met' if g.met else '**missed**'} |" for g in found.goals]
    return "\n".join(["| goal | wanted | found | |", "|---|---|---|---|", *rows])


def _explained(found: Findings) -> str:
    if found.explanation is None:
        return "this network has none"
    gains = found.explanation.gains
    if found.explanation.holds:
        return f"what it shows decides (blurring its cells away beats a random order by {gains['deletion', 'random']})"
    failed = [f"{way} against {order}" for (way, order), gain in gains.items() if gain.low <= 0]
    return f"not shown to be what decides (no better: {', '.join(failed)})"


def _views(found: Findings) -> str:
    seen = "as they are" if found.calibrated_on == "clean" else "as they are and as websites and phones leave them"
    return f"crops {seen}, {found.fake_share:.0%} of them fakes"


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _resaved(quality: int) -> str:
    if not quality:
        return ""
    return (
        f"\n- all pictures, real and fake, were saved as JPEG of quality {quality} before faces were cut; the figures "
        "above hold for pictures saved so, and a picture that is sent to be judged is not saved again"
    )
