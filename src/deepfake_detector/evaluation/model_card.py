"""Contract and results -> the model card (Markdown) that is sealed into the bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deepfake_detector.evaluation.results import EvaluationResults
from deepfake_detector.evaluation.robustness_metrics import CLEAN, ConditionMetrics, worst_conditions
from deepfake_detector.evaluation.slices import SliceMetrics
from deepfake_detector.evaluation.source_tables import left_out_table, source_table, video_table, weak_sources
from deepfake_detector.model.bundle import Contract
from deepfake_detector.stats import Estimate

WEAK_SLICE_GAP = 0.02  # a slice is named if its accuracy is lower than that of all test pictures by more than this
LOW_COVERAGE_GAP = 0.02  # a condition is named if more than this share of the pictures has no scorable face
DRAWN = (
    "**Trained on drawings.** The training data are portraits drawn by this project, through a simulated camera and a "
    "simulated generator. The model shows that the pipeline works. It knows nothing about photographs: do not use it "
    "on pictures of people."
)
PHOTOGRAPHS = "Trained on photographs and generated faces."
QUICK = (
    "**Quick evaluation** (`evaluate.quick`): samples are too small to decide on. The gate does not promote this model."
)
UNKNOWN_TERMS = (
    "The terms of the training data are not recorded (`terms` of a source in params.yaml). FFHQ, the Kaggle set, DFDC "
    "and FaceForensics++ are non-commercial or for research only; a model that is trained on them is, too."
)


def known_failures(results: EvaluationResults) -> list[str]:
    """The worst conditions, the weak slices and the failed probes, one sentence each."""
    probes = [f"probe `{probe.code}` failed: {probe.text}" for probe in results.failed_probes]
    return [*_weak_conditions(results), *_weak_slices(results), *weak_sources(results.sources), *probes]


def _weak_conditions(results: EvaluationResults) -> list[str]:
    conditions = results.grid.of_source()
    corrupted = [each for each in conditions if each.condition != CLEAN]
    lines = [f"{each.condition}: accuracy {each.accuracy}, {_true_positives(each)}"
             for each in worst_conditions(conditions)]  # fmt: skip
    highest = _highest(corrupted, lambda each: each.false_positive_rate)
    if highest and highest.false_positive_rate:
        lines.append(f"highest false positive rate at `flag`: {highest.false_positive_rate} under {highest.condition}")
    lowest = min(corrupted, key=lambda each: each.coverage.value)
    if lowest.coverage.value < 1 - LOW_COVERAGE_GAP:
        lines.append(f"{lowest.condition}: only {lowest.coverage} of the pictures show a scorable face")
    return lines


def _true_positives(condition: ConditionMetrics) -> str:
    rate = condition.true_positive_rate
    return f"true positive rate at `flag` {rate}" if rate else "no fakes among the pictures"


def _highest(
    conditions: list[ConditionMetrics], metric: Callable[[ConditionMetrics], Estimate | None]
) -> ConditionMetrics | None:
    known = [(value.value, i) for i, each in enumerate(conditions) if (value := metric(each))]
    return conditions[max(known)[1]] if known else None


def _weak_slices(results: EvaluationResults) -> list[str]:
    lowest = results.test.accuracy.value - WEAK_SLICE_GAP
    weak = [each for each in results.slices if each.accuracy.value < lowest]
    return [
        f"{each.facet} `{each.name}`: accuracy {each.accuracy} on {each.images} pictures"
        f"{' (small sample)' if each.small_sample else ''}"
        for each in sorted(weak, key=lambda each: each.accuracy.value)
    ]


def scope(contract: Contract) -> str:
    """What the model was trained on, in words."""
    return DRAWN if contract.trained_on == "drawn sample" else PHOTOGRAPHS


def terms_of_use(contract: Contract, terms: Mapping[str, str]) -> list[str]:
    """One sentence per source that has terms; a warning if photographs have none."""
    sentences = [f"`{source}`: {text}" for source, text in terms.items() if text]
    return sentences or ([UNKNOWN_TERMS] if contract.trained_on == "photographs" else [])


def model_card(contract: Contract, results: EvaluationResults) -> str:
    """Write the card from the measured numbers.

    Args:
        contract: of the bundle that the card is sealed into.
        results: of the same model.
    """
    return "\n".join((_output(contract, results), _performance(contract, results), _use(contract, results)))


def _output(contract: Contract, results: EvaluationResults) -> str:
    thresholds = contract.thresholds
    return f"""# Model card: {contract.network}, {contract.side_px} x {contract.side_px} px

{scope(contract)}{_quick_note(results)}

## Output
For an upright face of at least {contract.min_face_px} px the model returns `p_fake`, a calibrated probability between 0
and 1.

| threshold | p_fake | answer |
|---|---|---|
| clear | <= {thresholds.clear:.4f} | "real" |
| | between | "inconclusive" |
| flag | >= {thresholds.flag:.4f} | "fake" |
| strict | >= {thresholds.strict:.4f} | "fake"; use it where a false positive is costly |

Calibration: temperature {contract.temperature:.4f}; weight and offset per kind of fake, part of the graph:
{_vector_scaling(results)}. Calibration and thresholds were fitted on the validation split alone
({_calibration_crops(results)}).
"""


def _quick_note(results: EvaluationResults) -> str:
    return f"\n\n{QUICK}" if results.quick else ""


def _vector_scaling(results: EvaluationResults) -> str:
    return ", ".join(
        f"{kind} {weight:.3f} and {offset:+.3f}" for kind, (weight, offset) in results.vector_scaling.items()
    )


def _performance(contract: Contract, results: EvaluationResults) -> str:
    grid, mean = results.grid, results.grid.means["all"]
    return f"""## Performance
On the {contract.test_images} pictures of the test split, which was not used for tuning, at p_fake >= 0.5, with 95 %
intervals:

{_metrics_table(contract)}

Brier score {results.test.brier:.4f}.

At the thresholds, on the test pictures as they are and after random corruption (recompression, resizing, blur, noise):

{_threshold_table(results)}

By source, at the thresholds; accuracy is at p_fake >= 0.5, "right" the accuracy of the answered ones:

{source_table(results.sources)}

{left_out_table(results.left_out)}

Videos, each answered as `deepfake scan` does:

{video_table(results.videos)}

By slice:

{_slice_table(results)}

End to end, as `deepfake scan` answers whole pictures: every face is detected, cropped and scored, and the highest score
counts.

{_end_to_end_table(results)}

## Robustness
Mean accuracy over {len(grid.of_source()) - 1} corruptions: {mean.accuracy} ({mean.images} pictures;
{mean.overall_accuracy} if a picture without a scorable face counts as wrong). Heatmap: {_heatmap(results)}.

## Known failures
{_bullets(known_failures(results))}

## Targets
{_target_table(results)}
"""


def _threshold_table(results: EvaluationResults) -> str:
    clean, corrupted = results.at_thresholds, results.at_thresholds_corrupted
    rows = (
        ("coverage (not \"inconclusive\")", clean.coverage, corrupted.coverage),
        ("selective accuracy (of those)", clean.selective_accuracy, corrupted.selective_accuracy),
        ("true positive rate at `flag`", clean.true_positive_rate, corrupted.true_positive_rate),
        ("false positive rate at `flag`", clean.false_positive_rate, corrupted.false_positive_rate),
    )  # fmt: skip
    lines = [f"| {name} | {as_is} | {after} |" for name, as_is, after in rows]
    return "\n".join(["| metric | as they are | corrupted |", "|---|---|---|", *lines])


def _end_to_end_table(results: EvaluationResults) -> str:
    rows = ["| source | pictures | with a scorable face | accuracy of these | AUC of these |", "|---|---|---|---|---|"]
    for each in results.end_to_end:
        auc = "" if each.auc is None else f"{each.auc.value:.4f}"
        scored = round(each.coverage.value * each.images)
        rows.append(f"| `{each.source}` | {each.images} | {scored} | {each.accuracy.value:.4f} | {auc} |")
    return "\n".join(rows)


def _use(contract: Contract, results: EvaluationResults) -> str:
    archives = [f"`{source}`: archive SHA-256 `{digest}`" for source, digest in contract.data_sha256.items()]
    return f"""## Intended use
One more piece of evidence for a person who examines the faces in a picture. Do not use it alone to accuse, pay, ban or
identify anybody, and not to certify a picture: "real" means that no known trace was found.
{_bullets(terms_of_use(contract, results.terms))}

## Training
- network `{contract.network}`, {results.parameters:,} weights, {contract.train_images} training pictures\
{_reencoded(results.reencode)}
- weights SHA-256 `{contract.weights_sha256}`: the tag `weights_sha256` of the MLflow run that trained them
{_bullets([*_occasion(contract, results), *archives])}

To train the same model again, in a checkout of the commit that `deepfake about` names for it (the tag `git_commit` of
its MLflow run), with the archives in the repository's root:

```sh
{results.reproduction}
```

## Limitations
- It scores faces, not scenes, voices, text or context. Without a face the answer is "inconclusive".
- It knows the kinds of fakes that it was trained on. New generators, unknown face swaps, strong compression and
  screenshots cause errors in both directions.
- `p_fake` assumes that {results.fake_share:.0%} of the pictures are fake. Where fakes are rare, most positives are
  false.
- It gives evidence, not proof, and never a sufficient reason to accuse somebody.
"""


def _occasion(contract: Contract, results: EvaluationResults) -> list[str]:
    """What led to the training, where it is known: the drift report before it, and feedback among its pictures."""
    names = ", ".join(f"`{name}`" for name in sorted(results.feedback & set(contract.data_sha256)))
    feedback = [f"pictures that users sent and a person accepted: {names} (archives below)"] if names else []
    if not results.drift_report:
        return feedback
    report = f"drift report before this training: `{results.drift_report}`, an artifact of the champion of that time"
    return [report, *feedback]


def _metrics_table(contract: Contract) -> str:
    m = contract.test_metrics
    names = (("accuracy", "accuracy"), ("precision", "precision"), ("recall", "recall"), ("F1", "f1"), ("AUC", "auc"),
             ("calibration error (ECE)", "ece"))  # fmt: skip
    rows = [f"| {name} | {m[k]:.4f} | {m[f'{k}_low']:.4f} to {m[f'{k}_high']:.4f} |" for name, k in names]
    return "\n".join(["| metric | value | interval |", "|---|---|---|", *rows])


def _slice_table(results: EvaluationResults) -> str:
    rows = [
        f"| {each.facet} | `{each.name}`{' (small sample)' if each.small_sample else ''} | {each.images} | "
        f"{each.accuracy} | {each.auc or 'one class only'} | {each.false_positive_rate or 'no real ones'} |"
        for each in _informative_slices(results)
    ]
    head = [
        "| property | slice | pictures | accuracy | AUC | false positive rate at `flag` |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows])


def _informative_slices(results: EvaluationResults) -> list[SliceMetrics]:
    """Slices of properties in which the pictures differ, but for the source, which has a table of its own."""
    facets = dict.fromkeys(each.facet for each in results.slices)
    return [each for facet in facets if len(results.of_facet(facet)) > 1 and facet != "source"
            for each in results.of_facet(facet)]  # fmt: skip


def _target_table(results: EvaluationResults) -> str:
    rows = [f"| {t.name} | {t.required} | {t.measured} | {'met' if t.met else '**missed**'} |" for t in results.targets]
    return "\n".join(["| target | required | measured | |", "|---|---|---|---|", *rows])


def _heatmap(results: EvaluationResults) -> str:
    if results.faithfulness is None:
        return "this network has none"
    gains = results.faithfulness.gains
    if results.faithfulness.faithful:
        return f"faithful (deletion in its order beats a random order by {gains['deletion', 'random']})"
    failed = [f"{method} against {order}" for (method, order), gain in gains.items() if gain.low <= 0]
    return f"not shown to be faithful (no better: {', '.join(failed)})"


def _calibration_crops(results: EvaluationResults) -> str:
    crops = "as they are" if results.calibrated_on == "clean" else "as they are and after random corruption"
    return f"crops {crops}, {results.fake_share:.0%} of them fakes"


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _reencoded(quality: int) -> str:
    if not quality:
        return ""
    return (
        f"\n- all pictures, real and fake, were recompressed as JPEG of quality {quality} before cropping; the metrics "
        "above, end-to-end ones aside, are those of recompressed pictures, and serving does not recompress"
    )
