"""Archives -> the manifest, a table with one row per picture; the manifest <-> Parquet.

An interrupted run resumes: rows are cached in chunks, each under a digest of its pictures, labels, code and libraries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from tqdm import tqdm

from deepfake_detector.code_digest import PIXEL_LIBRARIES, code_digest, values_digest
from deepfake_detector.datasets.archive import Archive, Entry
from deepfake_detector.datasets.raw_folder import source_zips
from deepfake_detector.datasets.safe_zip import ZipMember
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
    """Describe every picture, on all cores, a few pictures and the table of contents of one zip at a time in memory.

    Args:
        archive: data/raw, or a zip.
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
    chunks = list(_chunks(archive, fake_kinds, max_unpacked_bytes))
    files = [cache / f"{chunk.key}.parquet" if cache else None for chunk in chunks]
    tables = [read_complete_table(file) for file in files]
    missing = [chunk for chunk, table in zip(chunks, tables, strict=True) if table is None]
    described = process_map(partial(describe_member, dict(fake_kinds)), _pictures(missing, max_unpacked_bytes))
    total, remaining = (sum(chunk.rows for chunk in some) for some in (chunks, missing))
    records = iter(tqdm(described, total=total, initial=total - remaining, desc="describing", unit="img"))
    for i, (chunk, file) in enumerate(zip(chunks, files, strict=True)):
        if tables[i] is None:
            tables[i] = _table(islice(records, chunk.rows), file)
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


class _Chunk(NamedTuple):
    """Consecutive pictures of one zip.

    Attributes:
        key: digest of everything that their rows depend on.
        beginning, zip: see `source_zips`.
        first, rows: of its entries.
    """

    key: str
    beginning: str
    zip: Path
    first: int
    rows: int


def _chunks(archive: Path, fake_kinds: Mapping[str, str], max_unpacked_bytes: int) -> Iterator[_Chunk]:
    """All pictures; one table of contents is in memory at a time."""
    code = (code_digest(*CACHE_MODULES, libraries=CACHE_LIBRARIES), MANIFEST_COLUMNS, sorted(fake_kinds.items()))
    for beginning, file in source_zips(archive).items():
        with Archive({beginning: file}, max_unpacked_bytes) as opened:
            for first in range(0, len(opened.entries), CHUNK_ROWS):
                entries = opened.entries[first : first + CHUNK_ROWS]
                contents = ((entry, opened.member(entry).fingerprint) for entry in entries)
                yield _Chunk(values_digest((code, *contents)), beginning, file, first, len(entries))


def _pictures(chunks: Iterable[_Chunk], max_unpacked_bytes: int) -> Iterator[tuple[Entry, ZipMember]]:
    """The pictures of chunks, in order; likewise."""
    for (beginning, file), of_zip in groupby(chunks, key=lambda chunk: (chunk.beginning, chunk.zip)):
        with Archive({beginning: file}, max_unpacked_bytes) as opened:
            for chunk in of_zip:
                for entry in opened.entries[chunk.first : chunk.first + chunk.rows]:
                    yield entry, opened.member(entry)


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
