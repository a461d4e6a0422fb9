"""`deepfake scan`: a folder or address -> a row per image and video: in one table, or by Ray in a folder of them."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from deepfake_detector.cli.options import Model, print_warning
from deepfake_detector.errors import BadInput

if TYPE_CHECKING:
    from deepfake_detector.model.bundle import Bundle
    from deepfake_detector.scanning.scan import ScanSummary


class EngineName(StrEnum):
    """What scores the files."""

    LOCAL = "local"
    RAY = "ray"


def scan(
    folder: Annotated[
        str, typer.Argument(metavar="INPUT", help="Folder to scan, with all folders in it; or s3://BUCKET/PATH.")
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            metavar="OUTPUT",
            help="A file or an s3:// address that ends in .csv or .parquet; it appears when it is complete. "
            "With Ray a folder or an s3:// address, which fills while the scan runs.",
        ),
    ],
    sha256: Annotated[bool, typer.Option("--sha256", help="Add each file's SHA-256.")] = False,
    follow_links: Annotated[
        bool,
        typer.Option(
            "--follow-links", help="Also enter linked folders, each folder once; links to files are always followed."
        ),
    ] = False,
    engine: Annotated[
        EngineName, typer.Option("--engine", help="local: the cores of this machine. ray: the machines of a cluster.")
    ] = EngineName.LOCAL,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            help="Of the Ray cluster. Default: RAY_ADDRESS, else a Ray of this machine that ends with the scan.",
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option("--workers", min=0, help="Files scored at once. Default: all cores; of a cluster all but one."),
    ] = 0,
    model: Model = None,
) -> None:
    """Score every image and video below INPUT into OUTPUT.

    A row per file: path, kind, verdict, p_fake, kind_of_fake, kind_share, faces, reason, error, bytes. A file that
    cannot be scored has an error; files that are neither image nor video by content or name are skipped.

    The same command continues an interrupted scan: OUTPUT.journal keeps its rows until OUTPUT is complete (for s3:// in
    the user's cache); with Ray, OUTPUT itself does. Files that changed in between are scored again.

    Exit code: 0 at least one verdict, 1 no verdict (or a wrong folder), 2 the tool failed.

    \b
    Examples:
      deepfake scan photos --out verdicts.csv
      deepfake scan s3://bucket/photos --out s3://bucket/verdicts.parquet
      deepfake scan s3://bucket/photos --out s3://bucket/verdicts --engine ray --address head:6379
      deepfake scan photos --out verdicts.csv --model champion
    """
    from deepfake_detector.inference.model_selection import select_model

    if engine is EngineName.LOCAL and address:
        raise BadInput(f"--address {address} is of a Ray cluster", "add --engine ray")
    selected = select_model(model)
    print_warning(selected.warning)
    try:
        summary = _run(engine, folder, out, selected.bundle, sha256, follow_links, address, workers)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command continues", file=sys.stderr)
        raise
    if summary.rows == 0:
        raise BadInput(f"no image and no video below {folder}", f"{summary.skipped:,} other files were skipped")
    print(_describe(summary, out))
    print(f"model: {selected.name}, trained on {selected.bundle.contract.trained_on}: {selected.reason}")
    raise typer.Exit(0 if summary.answered else BadInput.exit_code)


def _run(
    engine: EngineName,
    folder: str,
    out: str,
    bundle: Bundle,
    sha256: bool,
    follow_links: bool,
    address: str | None,
    workers: int,
) -> ScanSummary:
    if engine is EngineName.RAY:
        from deepfake_detector.scanning.cluster import scan_on_ray

        return scan_on_ray(folder, out, bundle, sha256, follow_links, address, workers)
    from deepfake_detector.scanning.scan import scan_folder

    return scan_folder(folder, out, bundle, sha256, follow_links, workers)


def _describe(summary: ScanSummary, out: str) -> str:
    counts = ", ".join(f"{name} {summary.counts.get(name, 0):,}" for name in ("fake", "real", "inconclusive", "error"))
    earlier = summary.rows + summary.skipped - summary.scored_now
    reused = f", {earlier:,} files from an earlier run" if earlier > 0 else ""
    codes = ", ".join(f"{code} {rows:,}" for code, rows in sorted(summary.errors.items()))
    counts += f": {codes}" if codes else ""
    skipped = f"; {summary.skipped:,} other files skipped" if summary.skipped else ""
    return f"{out}: {summary.rows:,} rows ({counts}){skipped}; {summary.seconds:.0f} s{reused}"
