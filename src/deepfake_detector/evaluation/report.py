"""Findings -> the verdict on a model in a few plain sentences, each from a number."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from deepfake_detector.evaluation.card import known_failures, scope, terms_of_use
from deepfake_detector.evaluation.evaluate import Gone, facets
from deepfake_detector.evaluation.faithfulness import draw_explanation
from deepfake_detector.evaluation.figures import Shown, draw_all, draw_answers, surest
from deepfake_detector.evaluation.predictions import Judgement
from deepfake_detector.evaluation.result_tables import write_findings, write_tables
from deepfake_detector.evaluation.results import Findings
from deepfake_detector.evaluation.robustness import ALL, draw_robustness, worst
from deepfake_detector.io import atomic_write
from deepfake_detector.model.bundle import Bundle

# AUC from which a word is used; the last is for whatever lies below.
GRADES = (
    (0.99, "very well"),
    (0.95, "well"),
    (0.85, "fairly well"),
    (0.7, "poorly"),
    (0.0, "hardly better than a coin"),
)
HARD = 0.1  # accuracy lost in its worst condition from which a model is said not to stand up to wear


def verdict(found: Findings) -> list[str]:
    """Say what a reader must know if he reads nothing else."""
    return [_separation(found), _thresholds(found), _wear(found), _probability(found), _looking(found), _goals(found)]


def _separation(found: Findings) -> str:
    test, auc = found.test, found.test.auc
    grade = next(word for least, word in GRADES if auc.low >= least)
    parts = [
        f"{each.name} {each.auc.value:.3f}" for each in found.of_facet("source") if each.auc
    ]  # fmt: skip
    by_source = f" By source: {', '.join(parts)}." if len(parts) > 1 else ""
    return (
        f"It tells fake from real faces {grade} on pictures like those it learnt from: AUC {auc}, accuracy "
        f"{test.accuracy} on {test.images} test pictures.{by_source}"
    )


def _thresholds(found: Findings) -> str:
    band = found.band
    return (
        f"It answers {band.coverage.value:.1%} of the pictures and is right in {band.accuracy.value:.1%} of these "
        f"answers; the others it calls inconclusive. At the threshold `flag` it finds {band.caught.value:.1%} of the "
        f"fakes and calls {band.false_alarms.value:.1%} of the real faces fake."
    )


def _wear(found: Findings) -> str:
    mean, hardest = found.grid.means[ALL], worst(found.grid.of(), 1)[0]
    lost = found.grid.of()[0].accuracy.value - hardest.accuracy.value
    how = "It does not stand up to wear" if lost > HARD else "It stands up to wear"
    return (
        f"{how}: accuracy is {mean.accuracy} on average when pictures are recompressed, resized, blurred or noisy, "
        f"and {hardest.accuracy.value:.3f} at its worst ({hardest.condition})."
    )


def _probability(found: Findings) -> str:
    after = found.test.ece
    word = "can be taken at its word" if after.high <= 0.05 else "is only a rough probability"
    return f"Its probability {word}: it is off by {after.value:.3f} on average, {after.low:.3f} to {after.high:.3f}."


def _looking(found: Findings) -> str:
    alarms = [probe.name for probe in found.alarms]
    asked = f"{len(found.probes)} probes of what it looks at raise "
    told = asked + (f"{len(alarms)} alarms: {', '.join(alarms)}." if alarms else "no alarm.")
    if found.explanation is None:
        return told + " It draws no heatmap."
    holds = "shows what decides" if found.explanation.holds else "is not shown to show what decides"
    return f"{told} Its heatmap {holds}."


def _goals(found: Findings) -> str:
    missed = [goal.name for goal in found.goals if not goal.met]
    if not missed:
        return f"All {len(found.goals)} goals are met."
    return f"{len(missed)} of {len(found.goals)} goals are missed: {'; '.join(missed)}."


NAME = "report.html"
TEMPLATE = "report.html.j2"


def write_page(folder: Path, bundle: Bundle, found: Findings) -> Path:
    """Write the page from the numbers and from the PNG files in `folder`.

    Args:
        folder: holds the figures; those that are missing are left out.
        bundle: the sealed model that was judged.
        found: everything that was measured.

    Returns:
        The page's path.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": lambda share: f"{share:.1%}", "marked": _marked}
    template = environment.from_string((resources.files(__package__) / TEMPLATE).read_text(encoding="utf-8"))
    html = template.render(
        contract=bundle.contract,
        sha256=bundle.sha256,
        found=found,
        scope=scope(bundle.contract).replace("**", ""),
        terms=terms_of_use(bundle.contract, found.terms),
        verdict=verdict(found),
        failures=known_failures(found),
        sources=found.grid.sources or [ALL],
        image=_images(folder),
    )
    with atomic_write(folder / NAME) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return folder / NAME


def _marked(text: str) -> Markup:
    """Text whose `backticks` become code, as in the card; everything else stays text."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def _images(folder: Path) -> Callable[[str], str]:
    """A function from a figure's name to its bytes as an address; empty where there is none."""

    def image(name: str) -> str:
        file = folder / f"{name}.png"
        if not file.is_file():
            return ""
        return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"

    return image


def exhibit(folder: Path, judgement: Judgement, found: Findings, gone: Gone, bundle: Bundle, bins: int) -> None:
    """Draw and write everything that people look at.

    Args:
        folder: made if it is not there; what an earlier evaluation left is removed.
        judgement: answers to crops.
        found: the figures.
        gone: answers to whole pictures.
        bundle: as it was sealed.
        bins: of the reliability table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()  # a network without a heatmap leaves fewer files
    test, thresholds = judgement.test, judgement.contract.thresholds
    p_fake, labels = judgement.p(test.logits), test.crops.labels
    draw_all(folder, p_fake, judgement.before(test.kinds), labels, judgement.history, found.test, thresholds, bins)
    draw_robustness(folder / "robustness.png", found.grid)
    if found.explanation:
        draw_explanation(folder / "explanation.png", found.explanation)
    _answers(folder, judgement, p_fake)
    write_tables(folder, test.crops.paths, labels, p_fake, bins, facets(test.crops, gone))
    write_findings(folder, found, gone.scored)
    write_page(folder, bundle, found)


def _answers(folder: Path, judgement: Judgement, p_fake: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    test = judgement.test
    shown = Shown(test.crops.crops, test.maps, p_fake, test.crops.labels, test.crops.sources)
    for name, right in (("right", True), ("wrong", False)):
        rows = surest(p_fake, test.crops.labels, right)
        draw_answers(folder / f"answers_{name}.png", shown, rows, f"The surest {name} answers")
