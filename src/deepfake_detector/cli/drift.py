"""`deepfake drift`: prediction logs -> whether the pictures are still those that the model was evaluated on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepfake_detector.errors import DetectorError, needs_extra
from deepfake_detector.io import check_output

if TYPE_CHECKING:
    from deepfake_detector.model.bundle import Bundle

DRIFTED = 3  # exit code: an answer, not a failure


def drift(
    logs: Annotated[
        list[Path],
        typer.Argument(metavar="LOG...", help="Prediction logs (JSON lines or Parquet), or folders of them."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write a page with figures; ends in .html.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object with every number.")] = False,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME|FOLDER", help="A bundle that may have answered; may be repeated."),
    ] = None,
    baseline: Annotated[
        list[Path] | None,
        typer.Option(
            "--baseline",
            metavar="LOG",
            help="Logs of a normal period to compare with, not the profile; may be repeated.",
        ),
    ] = None,
) -> None:
    """Compare prediction logs with what the model measured when it was evaluated.

    Logs are those of DEEPFAKE_SERVE_PREDICTION_LOG, of any number of replicas. The digest in a line finds its model:
    the champion, the one that ships with the code, models/bundle, or one that --model names.

    Exit code: 0 quiet, 3 drifted, 1 bad input (no profile, too few pictures, broken lines), 2 the tool failed.

    \b
    Examples:
      deepfake drift logs --out drift.html
      deepfake drift this-week.jsonl --baseline last-month.jsonl --json
    """
    if out is not None:
        check_output(out, [each for each in [*logs, *(baseline or [])] if each.is_file()], (".html",))
    with needs_extra("train", "drift reports"):
        from deepfake_detector.monitoring.drift import measure_drift
        from deepfake_detector.monitoring.page import write_page
    report = measure_drift(logs, known_bundles(model or []), baseline or [])
    if out is not None:
        write_page(report, out)
    if as_json:
        print(json.dumps(report.as_dict(), indent=2, allow_nan=False))
    else:
        print("\n".join([f"verdict: {report.verdict}", *report.summary]))
        if report.logs.broken:
            named = "; ".join(report.logs.broken_named[:3])
            print(f"{report.logs.broken} of {report.logs.lines} lines are broken: {named}")
    raise typer.Exit(DRIFTED if report.drifted else 0)


def known_bundles(named: list[str]) -> list[Bundle]:
    """The named bundles, and those of this checkout and installation that can be read.

    Raises:
        ModelNotFound, BundleCorrupt: a named one does not exist, or differs from what was sealed.
    """
    from deepfake_detector.inference.model_selection import MODEL_NAMES, select_model
    from deepfake_detector.paths import Workspace

    bundles = [select_model(each).bundle for each in named]
    for name in (*MODEL_NAMES, Workspace().bundle):
        try:
            bundles.append(select_model(name).bundle)
        except DetectorError:  # it may not exist, and a broken one has answered nothing
            continue
    return bundles
