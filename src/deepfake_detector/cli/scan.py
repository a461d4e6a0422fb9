"""A folder named on the command line -> one CSV or Parquet file, a row per image and video."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepfake_detector.cli.options import Model
from deepfake_detector.errors import BadInput

if TYPE_CHECKING:
    from deepfake_detector.scanning.scan import Summary


def scan(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What to scan, with all folders in it.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Ends in .csv or .parquet; appears when whole.")],
    sha256: Annotated[bool, typer.Option("--sha256", help="Add each file's SHA-256.")] = False,
    follow_links: Annotated[
        bool,
        typer.Option("--follow-links", help="Enter linked folders too, each folder once; links to files always count."),
    ] = False,
    model: Model = None,
) -> None:
    """Judge every image and video below FOLDER, on all cores, into one file.

    A row per file: path, kind, verdict, p_fake, kind_of_fake, kind_share, faces, reason, error, bytes. What cannot be
    judged is a row with an error; files that are neither image nor video by content or name are passed over.

    A scan that was stopped, even killed, goes on where it was when the same command is given again: FILE.journal keeps
    what is known until FILE is whole. Files that changed meanwhile are judged again.

    Exit code: 0 something was answered, 1 nothing was (or a wrong folder), 2 the tool failed.

    \b
    Examples:
      deepfake scan photos --out verdicts.csv
      deepfake scan /data/videos --out verdicts.parquet --sha256
      deepfake scan photos --out verdicts.csv --model champion
    """
    from deepfake_detector.inference.model_selection import choose
    from deepfake_detector.scanning.scan import scan as scan_folder

    choice = choose(model)
    try:
        found = scan_folder(folder, out, choice.bundle, sha256, follow_links)
    except KeyboardInterrupt:
        print(f"\nstopped; the same command goes on from {out}.journal", file=sys.stderr)
        raise
    if found.rows == 0:
        raise BadInput(f"no image and no video below {folder}", f"{found.passed_over:,} other files were passed over")
    print(_said(found, out))
    print(f"{choice.name} answered, trained on {choice.bundle.contract.trained_on}: {choice.reason}")
    raise typer.Exit(0 if found.answered else BadInput.exit_code)


def _said(found: Summary, out: Path) -> str:
    counts = ", ".join(f"{name} {found.counts.get(name, 0):,}" for name in ("fake", "real", "inconclusive", "error"))
    known = found.rows + found.passed_over - found.judged_now
    before = f", {known:,} of them known from before" if known > 0 else ""
    over = f"; {found.passed_over:,} other files passed over" if found.passed_over else ""
    return f"{out}: {found.rows:,} rows ({counts}){over}; {found.seconds:.0f} s{before}"
