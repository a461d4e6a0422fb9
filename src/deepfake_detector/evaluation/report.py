"""Results -> reports/evaluate/: figures, tables, and report.html, which opens with a summary in plain sentences."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from deepfake_detector.evaluation.corruption_grid_scores import GridScores
from deepfake_detector.evaluation.coverage_figure import draw_coverage
from deepfake_detector.evaluation.evaluate import all_test_scores, picture_facets
from deepfake_detector.evaluation.faithfulness import draw_faithfulness
from deepfake_detector.evaluation.figures import ExampleCrops, draw_examples, draw_figures, most_confident
from deepfake_detector.evaluation.model_card import known_failures, scope, terms_of_use
from deepfake_detector.evaluation.prediction_table import FEEDBACK, LEFT_OUT, TRAINED
from deepfake_detector.evaluation.predictions import Predictions
from deepfake_detector.evaluation.result_tables import write_curves, write_predictions, write_result_tables
from deepfake_detector.evaluation.results import EvaluationResults
from deepfake_detector.evaluation.robustness_metrics import ALL_SOURCES, draw_robustness, worst_conditions
from deepfake_detector.io import atomic_directory, atomic_write
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.stats import Floats

# Lower end of the AUC's interval from which a word is used; the last is for whatever lies below.
GRADES = (
    (0.99, "very well"),
    (0.95, "well"),
    (0.85, "fairly well"),
    (0.7, "poorly"),
    (0.0, "hardly better than chance"),
)
MAX_ROBUST_LOSS = 0.1  # accuracy lost under the worst corruption; a model that loses more is called not robust
PAGE = "report.html"
TEMPLATE = "report.html.j2"


def write_report(
    folder: Path,
    predictions: Predictions,
    results: EvaluationResults,
    grid_scores: GridScores,
    bundle: Bundle,
    bins: int,
) -> None:
    """Write figures, tables and the HTML report.

    Args:
        folder: replaced as a whole.
        predictions: for the crops.
        results: of the evaluation.
        grid_scores: for whole pictures.
        bundle: as it was sealed.
        bins: of the reliability curve.
    """
    with atomic_directory(folder) as fresh:
        test, thresholds = predictions.test, predictions.contract.thresholds
        p_fake, labels = predictions.p_fake(test.logits), test.crops.labels
        uncalibrated = predictions.uncalibrated(test.kinds)
        draw_figures(fresh, p_fake, uncalibrated, labels, predictions.history, results.test, thresholds, bins)
        draw_robustness(fresh / "robustness.png", results.grid)
        draw_coverage(fresh / "coverage.png", results)
        if results.faithfulness:
            draw_faithfulness(fresh / "faithfulness.png", results.faithfulness)
        _draw_confident_examples(fresh, predictions, p_fake)
        _write_predictions(fresh, predictions, grid_scores, results.feedback)
        write_curves(fresh, labels, p_fake, bins)
        write_result_tables(fresh, results, grid_scores.scores)
        write_html_report(fresh, bundle, results)


def write_html_report(folder: Path, bundle: Bundle, results: EvaluationResults) -> Path:
    """Write the page from the results and from the PNG files in `folder`.

    Args:
        folder: holds the figures; missing ones are left out.
        bundle: the sealed model.
        results: of its evaluation.

    Returns:
        The page's path.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": lambda share: f"{share:.1%}", "code": _code_spans}
    template = environment.from_string((resources.files(__package__) / TEMPLATE).read_text(encoding="utf-8"))
    html = template.render(
        contract=bundle.contract,
        sha256=bundle.sha256,
        results=results,
        scope=scope(bundle.contract).replace("**", ""),
        terms=terms_of_use(bundle.contract, results.terms),
        summary=summary_sentences(results),
        failures=known_failures(results),
        sources=results.grid.sources or [ALL_SOURCES],
        image=_images(folder),
    )
    with atomic_write(folder / PAGE) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return folder / PAGE


def summary_sentences(results: EvaluationResults) -> list[str]:
    """The results in six to eight sentences, each from a number."""
    parts = (_separation, _thresholds, _left_out, _videos, _robustness, _calibration, _probes, _targets)
    return [sentence for part in parts if (sentence := part(results))]


def _separation(results: EvaluationResults) -> str:
    test, auc = results.test, results.test.auc
    grade = next(word for least, word in GRADES if auc.low >= least)
    trained = [each for each in results.sources if not each.left_out]
    sources = [f"{each.name} {each.auc.value:.3f}" for each in trained if each.auc and not each.auc_against]
    by_source = f" AUC by source: {', '.join(sources)}." if len(sources) > 1 else ""
    return (
        f"It separates fake from real faces {grade} on pictures like the training data: AUC {auc}, accuracy "
        f"{test.accuracy} on {test.images} test pictures.{by_source}"
    )


def _thresholds(results: EvaluationResults) -> str:
    at = results.at_thresholds
    return (
        f"It answers {at.coverage.value:.1%} of the pictures, and {at.selective_accuracy.value:.1%} of these answers "
        f"are correct; the rest is inconclusive. At the threshold `flag` the true positive rate is "
        f"{at.true_positive_rate.value:.1%} and the false positive rate {at.false_positive_rate.value:.1%}."
    )


def _left_out(results: EvaluationResults) -> str:
    if results.left_out is None:
        return ""
    names = ", ".join(each.name for each in results.sources if each.left_out)
    parts = [f"{results.left_out.coverage.value:.1%} are answered"]
    if results.left_out.auc:
        parts.insert(0, f"mean AUC {results.left_out.auc}")
    if results.left_out.false_negative_rate_at_clear:
        parts.append(f"{results.left_out.false_negative_rate_at_clear.value:.1%} of the fakes are called real")
    return f"On sources that it never saw in training ({names}): {', '.join(parts)}."


def _videos(results: EvaluationResults) -> str:
    if results.videos is None:
        return ""
    total = results.videos.total
    auc = f"AUC {total.auc}, " if total.auc else ""
    right = f"; {total.selective_accuracy} of these answers are right" if total.selective_accuracy else ""
    videos = total.reals + total.fakes
    return f"Of {videos} labelled videos ({auc}{total.fakes} fakes), {total.coverage} are answered{right}."


def _robustness(results: EvaluationResults) -> str:
    mean, worst = results.grid.means[ALL_SOURCES], worst_conditions(results.grid.of_source(), 1)[0]
    loss = results.grid.of_source()[0].accuracy.value - worst.accuracy.value
    robust = "not robust" if loss > MAX_ROBUST_LOSS else "robust"
    return (
        f"It is {robust} to corruption: accuracy is {mean.accuracy} on average over recompressed, resized, blurred and "
        f"noisy pictures, and {worst.accuracy.value:.3f} under the worst corruption ({worst.condition})."
    )


def _calibration(results: EvaluationResults) -> str:
    ece = results.test.ece
    quality = "well" if ece.high <= 0.05 else "only roughly"
    return f"Its probabilities are {quality} calibrated: the expected calibration error is {ece}."


def _probes(results: EvaluationResults) -> str:
    failed = [probe.code for probe in results.failed_probes]
    sentence = f"{len(results.probes) - len(failed)} of {len(results.probes)} shortcut probes passed"
    sentence += f"; failed: {', '.join(failed)}." if failed else "."
    if results.faithfulness is None:
        return f"{sentence} It has no heatmap."
    return f"{sentence} Its heatmap is {'' if results.faithfulness.faithful else 'not shown to be '}faithful."


def _targets(results: EvaluationResults) -> str:
    missed = [target.name for target in results.targets if not target.met]
    if not missed:
        return f"All {len(results.targets)} targets are met."
    return f"{len(missed)} of {len(results.targets)} targets are missed: {'; '.join(missed)}."


def _code_spans(text: str) -> Markup:
    """Text whose `backticks` become <code>, as in the card; everything else is escaped."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def _images(folder: Path) -> Callable[[str], str]:
    """A function from a figure's name to a data URI; empty if there is no such file."""

    def image(name: str) -> str:
        file = folder / f"{name}.png"
        if not file.is_file():
            return ""
        return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"

    return image


def _write_predictions(
    folder: Path, predictions: Predictions, grid_scores: GridScores, feedback: Collection[str]
) -> None:
    """The table of all test pictures, those of left-out sources too."""
    p_fake, labels, _ = all_test_scores(predictions)
    test, left_out = predictions.test.crops, predictions.left_out.crops
    facets = [picture_facets(split, grid_scores) for split in (test, left_out)]
    columns = {name: [*facets[0][name], *facets[1][name]] for name in facets[0]}
    columns["use"] = [TRAINED] * len(test.paths) + [
        FEEDBACK if source in feedback else LEFT_OUT for source in left_out.sources
    ]
    write_predictions(folder, [*test.paths, *left_out.paths], labels, p_fake, columns)


def _draw_confident_examples(folder: Path, predictions: Predictions, p_fake: Floats) -> None:
    test = predictions.test
    examples = ExampleCrops(test.crops.crops, test.maps, p_fake, test.crops.labels, test.crops.sources)
    for name, correct in (("correct", True), ("wrong", False)):
        rows = most_confident(p_fake, test.crops.labels, correct)
        title = f"Most confident {name} predictions"
        draw_examples(folder / f"confident_{name}.png", examples, rows, title)
