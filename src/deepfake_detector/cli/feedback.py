"""`deepfake feedback list | accept | reject | export`: labels from clients -> reviewed cases -> labelled sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from deepfake_detector.feedback.export import FeedbackExport
    from deepfake_detector.feedback.review import Case, Review

Shown = Literal["open", "pending", "conflict", "accepted", "rejected", "all"]
OPEN = ("pending", "conflict")
SHORT = 12  # characters of a case's name in the table; eight tell a million apart

Folders = Annotated[
    list[Path],
    typer.Option(
        "--folder",
        envvar="DEEPFAKE_SERVE_FEEDBACK",
        help="Folder that a service writes; repeat it for several services.",
    ),
]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Cases, as `deepfake feedback list` shows them.")]
Why = Annotated[str, typer.Option("--why", help="Reason, for the record.")]

app = typer.Typer(no_args_is_help=True, help="Review what clients say about answers; docs/feedback.md.")


@app.command("list")
def list_cases(
    folder: Folders,
    status: Annotated[Shown, typer.Option(help="Cases to show; open: pending and conflict.")] = "open",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all reports.")] = False,
) -> None:
    """Show the cases, and delete pictures whose time is over."""
    review = _review(folder)
    cases = [
        case for case in review.cases if status in ("all", case.status) or (status == "open" and case.status in OPEN)
    ]
    if as_json:
        print(json.dumps([_as_json(case, review) for case in cases], indent=2))
        return
    _print_table(cases, review)
    counts = {name: sum(case.status == name for case in review.cases) for name in (*OPEN, "accepted", "rejected")}
    print(", ".join(f"{count} {name}" for name, count in counts.items()))


@app.command()
def accept(
    ids: Ids,
    folder: Folders,
    label: Annotated[
        Literal["real", "fake"] | None, typer.Option(help="What the picture is, if it is not what the reporters say.")
    ] = None,
    why: Why = "",
) -> None:
    """Accept pictures with a label: the next export holds them."""
    from deepfake_detector.tracking.lineage import actor

    review = _review(folder)
    for case in [review.find(name) for name in ids]:
        decision = review.accept(case, label, actor(), why)
        print(f"accepted {case.case[:SHORT]} as {decision.label}")


@app.command()
def reject(ids: Ids, folder: Folders, why: Why = "") -> None:
    """Reject cases: they are never exported."""
    from deepfake_detector.tracking.lineage import actor

    review = _review(folder)
    for case in [review.find(name) for name in ids]:
        review.reject(case, actor(), why)
        print(f"rejected {case.case[:SHORT]}")


@app.command()
def export(
    to: Annotated[Path, typer.Argument(metavar="ZIP", help="Zip to write; one of held-out pictures lies beside it.")],
    folder: Folders,
    name: Annotated[str, typer.Option(help="Name of the source in params.yaml.")] = "feedback",
    held_out: Annotated[float, typer.Option(min=0, max=1, help="Share that is never trained on.")] = 0.3,
    max_share: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of the pictures that one reporter may have given.")
    ] = 0.5,
    fake_kind: Annotated[
        Literal["synthetic", "swap"], typer.Option(help="Kind of the fakes among them.")
    ] = "synthetic",
) -> None:
    """Write the accepted pictures as two labelled sources, compared with the data of this checkout."""
    from deepfake_detector.config import read_settings
    from deepfake_detector.feedback.export import (
        ExportRules,
        export_zips,
        plan_export,
        read_present_data,
        source_entries,
        write_export,
    )
    from deepfake_detector.io import check_output
    from deepfake_detector.paths import Workspace

    workspace = Workspace().enter()
    settings = read_settings(workspace.params)
    bits, limit = settings.validate.near_duplicate_bits, settings.download.max_unpacked_bytes
    rules = ExportRules(_source_name(name), held_out, max_share, bits, limit)
    for path in export_zips(to):
        check_output(path, workspace.raw.rglob("*.zip"), (".zip",))
    review = _review(folder)
    files = {case.case: file for case in review.cases if (file := review.picture_file(case)) is not None}
    plan = plan_export(files, review.cases, read_present_data(workspace), rules)
    written = write_export(plan, files, to.absolute(), rules)
    print(_export_summary(plan))
    print(f"\nadd to download.sources in params.yaml, then `dvc repro`:\n{source_entries(written, fake_kind, rules)}")


def _review(folders: list[Path]) -> Review:
    from deepfake_detector.feedback.review import Review

    review = Review(folders)
    review.delete_expired()
    return review


def _source_name(name: str) -> str:
    """The name, if both sources may have it."""
    import re

    from deepfake_detector.config import RESERVED_NAMES
    from deepfake_detector.errors import BadInput

    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,30}", name) or name in RESERVED_NAMES:
        raise BadInput(f"{name!r} is no name of a source", "--name takes up to 31 of a-z 0-9 _ -, for example feedback")
    return name


def _export_summary(plan: FeedbackExport) -> str:
    lines = [f"{len(plan.train)} pictures to train on, {len(plan.held_out)} held out, {len(plan.left_out)} left out"]
    return "\n".join([*lines, *(f"  {each.case[:SHORT]}: {each.text}" for each in plan.left_out)])


def _print_table(cases: list[Case], review: Review) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console = console if console.is_terminal else Console(width=180)
    table = Table(show_edge=False)
    for column in ("case", "status", "labels", "model", "picture", "note"):
        table.add_column(column, overflow="fold")
    for case in cases:
        labels = "; ".join(f"{label}: {', '.join(names)}" for label, names in case.labels.items())
        note = " / ".join(report.note for report in case.reports if report.note)
        cells = (_short(case), case.label or case.status, labels, _answer(case), _picture(case, review), note)
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table)


def _short(case: Case) -> str:
    return case.case if ":" in case.case else case.case[:SHORT]


def _answer(case: Case) -> str:
    report = case.reports[0]
    return report.verdict + ("" if report.p_fake is None else f" {report.p_fake:.3f}")


def _picture(case: Case, review: Review) -> str:
    path = review.picture_file(case)
    return str(path) if path is not None else ("expired" if case.pictures else "not kept")


def _as_json(case: Case, review: Review) -> dict[str, Any]:
    path = review.picture_file(case)
    return {
        "case": case.case,
        "status": case.status,
        "label": case.label,
        "labels": case.labels,
        "picture": str(path) if path is not None else None,
        "reports": [report.model_dump(mode="json") for report in case.reports],
        "decision": None if case.decision is None else case.decision.model_dump(mode="json"),
    }
