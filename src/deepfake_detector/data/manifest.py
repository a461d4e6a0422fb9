"""One archive -> a table with a row per picture: path, label, digests, sizes, encoding, what is wrong with it."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from functools import cache, partial
from pathlib import Path

import imagehash
import pandas as pd
from PIL import Image, JpegImagePlugin
from tqdm import tqdm

from deepfake_detector.data.archives import Archive, Entry, written_whole
from deepfake_detector.errors import DataRejected, InputTooLarge, UnreadableImage
from deepfake_detector.media.image import ImageLimits, decode_image

_LIMITS = ImageLimits()
_SUBSAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
_WORKERS = 2


@dataclass(frozen=True)
class Row:
    """What is known about one picture; the fields are the manifest's columns.

    Attributes:
        path: inside the archive.
        label: 1 fake, 0 real; Kaggle's CSV files say it the other way round.
        mode, format: Pillow's names, of the file as stored.
        quantization: 16 hex digits that stand for the JPEG tables; "" if there are none.
        subsampling: 4:4:4, 4:2:2, 4:2:0 or "other"; "" if it is no JPEG.
        phash: perceptual hash, 16 hex digits; "" if unreadable.
        group: pictures that must not be parted by a split; the path itself while nothing else is known.
        error: why the picture cannot be read; "" if it can.
    """

    path: str
    split: str
    label: int
    sha256: str
    bytes: int
    width_px: int
    height_px: int
    mode: str
    format: str
    quantization: str
    subsampling: str
    phash: str
    group: str
    source: str
    fake_kind: str
    error: str


COLUMNS = tuple(field.name for field in fields(Row))


def build_manifest(archive: Path, source: str, fake_kind: str, max_unpacked_bytes: int = 8 * 2**30) -> pd.DataFrame:
    """Look at every picture of an archive, on all the cores the machine has to spare, a few at a time in memory.

    Args:
        archive: a zip in the Kaggle layout.
        source: where it came from, for the column of that name.
        fake_kind: what made its fakes; written on fake rows only.
        max_unpacked_bytes: see `Archive`.

    Returns:
        One row per picture, sorted by path; the columns are the fields of `Row`.

    Raises:
        ArchiveRejected: the archive is unsafe or damaged. A picture that merely cannot be decoded is a row with
            an `error`.
    """
    with closing(Archive(archive, max_unpacked_bytes)) as opened:
        entries = opened.entries
    rows = _rows(partial(_examined, archive, max_unpacked_bytes, source, fake_kind), entries)
    progress = tqdm(rows, total=len(entries), desc="examining", unit="img")
    return pd.DataFrame([asdict(row) for row in progress], columns=list(COLUMNS))


def write_manifest(manifest: pd.DataFrame, path: Path) -> None:
    """Write a manifest as Parquet; the old one stays until the new one is whole."""
    with written_whole(path) as fresh:
        manifest.to_parquet(fresh, index=False)


def read_manifest(path: Path) -> pd.DataFrame:
    """Read what `write_manifest` wrote.

    Raises:
        DataRejected: there is none, because the data was never validated or was refused.
    """
    if not path.is_file():
        raise DataRejected(
            f"no manifest at {path}", "run `dvc repro validate`; reports/validate.json says what it found"
        )
    return pd.read_parquet(path)


def _rows(examine: partial[Row], entries: tuple[Entry, ...]) -> Iterator[Row]:
    # spawn: forking a process that has threads (OpenCV, TensorFlow) may hang it.
    with ProcessPoolExecutor(_WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(examine, entries, chunksize=64)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # a damaged archive is reported now, not after the rest
            raise


@cache
def _opened(archive: Path, max_unpacked_bytes: int) -> Archive:
    """One open archive per worker process: its table of contents is long."""
    return Archive(archive, max_unpacked_bytes)


def _examined(archive: Path, max_unpacked_bytes: int, source: str, fake_kind: str, entry: Entry) -> Row:
    data = _opened(archive, max_unpacked_bytes).read(entry)
    return examine(entry, data, source, fake_kind if entry.label else "")


def examine(entry: Entry, data: bytes, source: str, fake_kind: str) -> Row:
    """One picture -> its row; never raises for what is inside the file."""
    width_px = height_px = 0
    mode = kind = quantization = subsampling = phash = error = ""
    try:
        rgb = decode_image(data, _LIMITS)
        height_px, width_px = rgb.shape[:2]
        phash = str(imagehash.phash(Image.fromarray(rgb), hash_size=8))
        mode, kind, quantization, subsampling = _encoding(data)
    except (UnreadableImage, InputTooLarge) as reason:
        error = reason.message
    return Row(
        path=entry.path,
        split=entry.split,
        label=entry.label,
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        width_px=width_px,
        height_px=height_px,
        mode=mode,
        format=kind,
        quantization=quantization,
        subsampling=subsampling,
        phash=phash,
        group=entry.path,
        source=source,
        fake_kind=fake_kind,
        error=error,
    )


def _encoding(data: bytes) -> tuple[str, str, str, str]:
    """Mode, format, digest of the quantization tables, colour subsampling: the traces of whatever saved the file."""
    with Image.open(io.BytesIO(data)) as image:
        if not isinstance(image, JpegImagePlugin.JpegImageFile):
            return image.mode, image.format or "", "", ""
        tables = repr(sorted((number, list(table)) for number, table in image.quantization.items()))
        subsampling = _SUBSAMPLINGS.get(JpegImagePlugin.get_sampling(image), "other")
        digest = hashlib.sha256(tables.encode()).hexdigest()[:16]
        return image.mode, image.format or "", digest, subsampling
