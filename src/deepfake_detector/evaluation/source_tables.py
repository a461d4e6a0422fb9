"""Metrics by source and of left-out sources -> Markdown tables of the model card."""

from __future__ import annotations

from collections.abc import Sequence

from deepfake_detector.evaluation.labelled_videos import VideoResults
from deepfake_detector.evaluation.source_metrics import LeftOutMetrics, SourceMetrics
from deepfake_detector.stats import Estimate

NOT_TRAINED_ON = "not trained on"
MAX_CLEARED, MIN_LEFT_OUT_AUC = 0.05, 0.85  # a left-out source beyond one of these is a known failure


def source_table(sources: Sequence[SourceMetrics]) -> str:
    """A row per source (`right`: of the answered ones), then whose pictures stand in for a missing class."""
    head = "| source | real, fake | accuracy | AUC | answered | right | reals flagged | fakes flagged | fakes cleared |"
    rows = [
        f"| `{each.name}`{_notes(each)} | {each.reals}, {each.fakes} | {each.accuracy} | {_auc(each)} | "
        f"{_share(each.coverage)} | {_share(each.selective_accuracy)} | {_share(each.false_positive_rate)} | "
        f"{_share(each.true_positive_rate)} | {_share(each.false_negative_rate_at_clear)} |"
        for each in sources
    ]
    return "\n".join([head, "|---" * 9 + "|", *rows, *_against(sources)])


def left_out_table(left_out: LeftOutMetrics | None) -> str:
    """The metrics of all sources that were not trained on; a sentence if there are none."""
    if left_out is None:
        return (
            "No source was left out (`use: test` in `download.sources`): how the model does elsewhere was not measured."
        )
    rows = (
        ("mean AUC of the sources with fakes", left_out.auc),
        ("highest false positive rate at `flag`", left_out.false_positive_rate),
        ("coverage (not \"inconclusive\")", left_out.coverage),
        ("fakes that are called real", left_out.false_negative_rate_at_clear),
    )  # fmt: skip
    lines = [f"| {name} | {value or 'not measured'} |" for name, value in rows]
    return "\n".join([f"| {NOT_TRAINED_ON} | {left_out.images} pictures |", "|---|---|", *lines])


def video_table(videos: VideoResults | None) -> str:
    """A row per source of labelled videos, and one for all; a sentence if there are none."""
    if videos is None:
        return "No labelled videos were given (`kind: videos` in `download.sources`)."
    head = "| source | real, fake | AUC | answered | right, of these | reals flagged | fakes flagged | fakes cleared |"
    rows = [
        f"| {each.name if each is videos.total else f'`{each.name}`'} | {each.reals}, {each.fakes} | "
        f"{each.auc or 'one class only'} | {_share(each.coverage)} | {_share(each.selective_accuracy)} | "
        f"{_share(each.false_positive_rate)} | {_share(each.true_positive_rate)} | "
        f"{_share(each.false_negative_rate_at_clear)} |"
        for each in (*videos.sources, videos.total)
    ]
    return "\n".join([head, "|---" * 8 + "|", *rows])


def weak_sources(sources: Sequence[SourceMetrics]) -> list[str]:
    """Left-out sources on which the model fails, one sentence each."""
    lines = []
    for each in sources:
        cleared = each.false_negative_rate_at_clear
        if each.left_out and cleared and cleared.value > MAX_CLEARED:
            lines.append(f"source `{each.name}`, {NOT_TRAINED_ON}: {cleared.value:.1%} of its fakes are called real")
        if each.left_out and each.fakes and each.auc and each.auc.value < MIN_LEFT_OUT_AUC:
            lines.append(f"source `{each.name}`, {NOT_TRAINED_ON}: AUC {each.auc}")
    return lines


def _against(sources: Sequence[SourceMetrics]) -> list[str]:
    """Lines that say whose pictures stand in for a missing class."""
    names: dict[str, list[str]] = {}
    for each in sources:
        if each.auc and each.auc_against:
            names.setdefault(each.auc_against, []).append(f"`{each.name}`")
    lines = [f"- \\* {', '.join(group)}: against {against}" for against, group in names.items()]
    return ["", "AUC of a source that holds one class:", "", *lines] if lines else []


def _notes(each: SourceMetrics) -> str:
    notes = [NOT_TRAINED_ON] * each.left_out + ["small sample"] * each.small_sample
    return f" ({', '.join(notes)})" if notes else ""


def _auc(each: SourceMetrics) -> str:
    if each.auc is None:
        return "one class only"
    return f"{each.auc}\\*" if each.auc_against else str(each.auc)


def _share(value: Estimate | None) -> str:
    return "" if value is None else f"{value.value:.1%} [{value.low:.1%}, {value.high:.1%}]"
