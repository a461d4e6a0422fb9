"""Rows that a killed run left behind -> the table of them, if it is whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from deepfake_detector.code_digest import PIXEL_LIBRARIES, code_digest, values_digest
from deepfake_detector.datasets.archive import Archive, Entry
from deepfake_detector.errors import DataRejected
from deepfake_detector.io import atomic_write
from deepfake_detector.parallel import process_map
from deepfake_detector.validation.image_record import COLUMNS, FACE_COLUMNS, Row, examine, examined


def read_piece(file: Path | None) -> pd.DataFrame | None:
    """Read a piece that was written whole; None if there is none, or a failing disk left less than a table."""
    if file is None or not file.is_file():
        return None
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError):  # of which pyarrow's own errors are kinds
        return None


__all__ = ["COLUMNS", "PIECE", "Row", "build_manifest", "examine", "read_manifest", "write_manifest"]
PIECE = 2048  # rows that are kept at a time, so that a killed run goes on; ten seconds of work on two free cores


def build_manifest(
    archive: Path, fake_kinds: Mapping[str, str], max_unpacked_bytes: int = 8 * 2**30, pieces: Path | None = None
) -> pd.DataFrame:
    """Look at every picture, on all cores, a few at a time in memory.

    Args:
        archive: a folder with one zip per source, or a zip.
        fake_kinds: source -> what made its fakes; written on fake rows only. The source of a lone zip is "".
        max_unpacked_bytes: of one zip; see `Archive`.
        pieces: folder that keeps rows as they come: a run that was killed goes on there, and one with other settings
            looks at no picture twice. What belongs to no picture of this archive is removed from it.

    Returns:
        One row per picture, sorted by path; the columns are the fields of `Row`.

    Raises:
        ArchiveRejected: the archive is unsafe or damaged. A picture that merely cannot be decoded is a row with
            an `error`.
    """
    with Archive(archive, max_unpacked_bytes) as opened:
        parts = [opened.entries[i : i + PIECE] for i in range(0, len(opened.entries), PIECE)]
        files = [pieces / f"{key}.parquet" if pieces else None for key in _keys(opened, parts, fake_kinds)]
        tables = [read_piece(file) for file in files]
        unseen = [part for part, table in zip(parts, tables, strict=True) if table is None]
        waiting = ((entry, opened.place(entry)) for part in unseen for entry in part)
        seen = process_map(partial(examined, dict(fake_kinds)), waiting)
        total, todo = len(opened.entries), sum(map(len, unseen))
        rows = iter(tqdm(seen, total=total, initial=total - todo, desc="examining", unit="img"))
        for i, (part, file) in enumerate(zip(parts, files, strict=True)):
            if tables[i] is None:
                tables[i] = _fresh(islice(rows, len(part)), file)
    if pieces:
        _forget_others(pieces, files)
    return pd.concat(tables, ignore_index=True)


def write_manifest(manifest: pd.DataFrame, path: Path) -> None:
    """Write a manifest as Parquet; the old one stays until the new one is whole."""
    with atomic_write(path) as fresh:
        manifest.to_parquet(fresh, index=False)


def read_manifest(path: Path) -> pd.DataFrame:
    """Read what `write_manifest` wrote.

    Raises:
        DataRejected: there is none, because the data was never validated or was refused; or it has other columns,
            because another version of this program wrote it.
    """
    if not path.is_file():
        raise DataRejected(
            f"no manifest at {path}", "run `dvc repro validate`; reports/validate.json says what it found"
        )
    manifest = pd.read_parquet(path)
    if tuple(manifest.columns) != COLUMNS:
        raise DataRejected(f"{path} was written by another version of this program", "run `dvc repro validate`")
    return manifest


def _keys(archive: Archive, parts: Sequence[Sequence[Entry]], fake_kinds: Mapping[str, str]) -> list[str]:
    """Rows are the same when pictures and labels are, and the code that looks at them; a key for each part."""
    told = (code_digest(__name__, libraries=(*PIXEL_LIBRARIES, "imagehash")), COLUMNS, sorted(fake_kinds.items()))
    return [values_digest((told, *((entry, archive.place(entry).stamp) for entry in part))) for part in parts]


def _fresh(rows: Iterable[Row], file: Path | None) -> pd.DataFrame:
    """Rows as a table, kept for a run that may have to begin anew."""
    table = pd.DataFrame([asdict(row) for row in rows], columns=list(COLUMNS))
    table = table.astype(dict.fromkeys(FACE_COLUMNS, "float32"))  # as the detector gives them
    if file is not None:
        write_manifest(table, file)
    return table


def _forget_others(pieces: Path, files: Sequence[Path | None]) -> None:
    for old in set(pieces.glob("*.parquet")) - set(files):
        old.unlink()
