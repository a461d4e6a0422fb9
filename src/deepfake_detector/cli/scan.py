"""`deepfake scan`: a folder -> one CSV or Parquet file with a row per image and video."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepfake_detector.cli.options import Model, print_warning
from deepfake_detector.errors import BadInput

if TYPE_CHECKING:
    from deepfake_detector.scanning.scan import ScanSummary


def scan(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to scan, with all folders in it.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Ends in .csv or .parquet; appears when it is complete.")
    ],
    sha256: Annotated[bool, typer.Option("--sha256", help="Add each file's SHA-256.")] = False,
    follow_links: Annotated[
        bool,
        typer.Option(
            "--follow-links", help="Also enter linked folders, each folder once; links to files are always followed."
        ),
    ] = False,
    model: Model = None,
) -> None:
    """Score every image and video below FOLDER, on all cores, into one file.

    A row per file: path, kind, verdict, p_fake, kind_of_fake, kind_share, faces, reason, error, bytes. A file that
    cannot be scored has an error; files that are neither image nor video by content or name are skipped.

    The same command continues an interrupted scan: FILE.journal keeps its rows until FILE is complete. Files that
    changed in between are scored again.

    Exit code: 0 at least one verdict, 1 no verdict (or a wrong folder), 2 the tool failed.

    \b
    Examples:
      deepfake scan photos --out verdicts.csv
      deepfake scan /data/videos --out verdicts.parquet --sha256
      deepfake scan photos --out verdicts.csv --model champion
    """
    from deepfake_detector.inference.model_selection import select_model
    from deepfake_detector.scanning.scan import scan_folder

    selected = select_model(model)
    print_warning(selected.warning)
    try:
        summary = scan_folder(folder, out, selected.bundle, sha256, follow_links)
    except KeyboardInterrupt:
        print(f"\ninterrupted; the same command continues from {out}.journal", file=sys.stderr)
        raise
    if summary.rows == 0:
        raise BadInput(f"no image and no video below {folder}", f"{summary.skipped:,} other files were skipped")
    print(_describe(summary, out))
    print(f"model: {selected.name}, trained on {selected.bundle.contract.trained_on}: {selected.reason}")
    raise typer.Exit(0 if summary.answered else BadInput.exit_code)


def _describe(summary: ScanSummary, out: Path) -> str:
    counts = ", ".join(f"{name} {summary.counts.get(name, 0):,}" for name in ("fake", "real", "inconclusive", "error"))
    from_journal = summary.rows + summary.skipped - summary.scored_now
    reused = f", {from_journal:,} files from the journal" if from_journal > 0 else ""
    skipped = f"; {summary.skipped:,} other files skipped" if summary.skipped else ""
    return f"{out}: {summary.rows:,} rows ({counts}){skipped}; {summary.seconds:.0f} s{reused}"
