"""Archives -> the manifest, a table with one row per picture; the manifest <-> Parquet.

An interrupted run resumes: rows are cached in chunks, each under a digest of its pictures, labels, code and libraries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
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
from deepfake_detector.validation.image_record import FACE_COLUMNS, MANIFEST_COLUMNS, ImageRecord, describe_member

CHUNK_ROWS = 2048  # ten seconds of work on two free cores: at most so much is lost by an interrupted run
# A chunk is reused for equal code and libraries.
CACHE_MODULES = ("deepfake_detector.validation.manifest",)
CACHE_LIBRARIES = (*PIXEL_LIBRARIES, "imagehash", "scipy")  # imagehash's transform is SciPy's


def build_manifest(
    archive: Path,
    fake_kinds: Mapping[str, str],
    max_unpacked_bytes: int = 8 * 2**30,
    cache: Path | None = None,
    left_out: Collection[str] = (),
) -> pd.DataFrame:
    """Describe every picture, on all cores, a few at a time in memory.

    Args:
        archive: a folder with one zip per source, or a zip.
        fake_kinds: source -> kind of its fakes; recorded for fakes only. The source of a lone zip is "".
        max_unpacked_bytes: of one zip; see `Archive`.
        cache: folder that keeps chunks of rows for the next run. Chunks that this archive does not need are deleted.
        left_out: sources with `use: test`: all their pictures are test pictures, whatever split the archive gives them.

    Returns:
        One row per picture, sorted by path; the columns are the fields of `ImageRecord`.

    Raises:
        ArchiveRejected: the archive is unsafe or damaged. A picture that merely cannot be decoded is a row with
            an `error`.
    """
    with Archive(archive, max_unpacked_bytes) as opened:
        chunks = [opened.entries[i : i + CHUNK_ROWS] for i in range(0, len(opened.entries), CHUNK_ROWS)]
        files = [cache / f"{key}.parquet" if cache else None for key in _chunk_keys(opened, chunks, fake_kinds)]
        tables = [read_complete_table(file) for file in files]
        missing = [chunk for chunk, table in zip(chunks, tables, strict=True) if table is None]
        pictures = ((entry, opened.member(entry)) for chunk in missing for entry in chunk)
        described = process_map(partial(describe_member, dict(fake_kinds)), pictures)
        total, remaining = len(opened.entries), sum(map(len, missing))
        records = iter(tqdm(described, total=total, initial=total - remaining, desc="describing", unit="img"))
        for i, (chunk, file) in enumerate(zip(chunks, files, strict=True)):
            if tables[i] is None:
                tables[i] = _table(islice(records, len(chunk)), file)
    if cache:
        _delete_other_chunks(cache, files)
    manifest = pd.concat(tables, ignore_index=True)
    manifest.loc[manifest["source"].isin(left_out), "split"] = "test"
    return manifest


def write_manifest(manifest: pd.DataFrame, path: Path) -> None:
    """Write a manifest as Parquet, atomically."""
    with atomic_write(path) as temporary:
        manifest.to_parquet(temporary, index=False)


def read_manifest(path: Path) -> pd.DataFrame:
    """Read what `write_manifest` wrote.

    Raises:
        DataRejected: there is no manifest, because `validate` did not run or rejected the data; or it has other
            columns, because another version of this program wrote it.
    """
    if not path.is_file():
        raise DataRejected(
            f"no manifest at {path}", "run `dvc repro validate`; reports/validate.json says what it found"
        )
    manifest = pd.read_parquet(path)
    if tuple(manifest.columns) != MANIFEST_COLUMNS:
        raise DataRejected(f"{path} was written by another version of this program", "run `dvc repro validate`")
    return manifest


def read_complete_table(file: Path | None) -> pd.DataFrame | None:
    """Read a Parquet file; None if there is none, or a power cut left an incomplete one."""
    if file is None or not file.is_file():
        return None
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError):  # the base classes of pyarrow's own errors
        return None


def _chunk_keys(archive: Archive, chunks: Sequence[Sequence[Entry]], fake_kinds: Mapping[str, str]) -> list[str]:
    """A digest for each chunk, over everything that its rows depend on."""
    code = (code_digest(*CACHE_MODULES, libraries=CACHE_LIBRARIES), MANIFEST_COLUMNS, sorted(fake_kinds.items()))
    return [values_digest((code, *((entry, archive.member(entry).fingerprint) for entry in chunk))) for chunk in chunks]


def _table(records: Iterable[ImageRecord], file: Path | None) -> pd.DataFrame:
    """Records as a table, which is also written to `file`."""
    table = pd.DataFrame([asdict(record) for record in records], columns=list(MANIFEST_COLUMNS))
    table = table.astype(dict.fromkeys(FACE_COLUMNS, "float32"))  # the detector's own precision
    if file is not None:
        write_manifest(table, file)
    return table


def _delete_other_chunks(cache: Path, files: Sequence[Path | None]) -> None:
    for old in set(cache.glob("*.parquet")) - set(files):
        old.unlink()
