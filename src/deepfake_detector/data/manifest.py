"""Archives -> a table with a row per picture: path, label, digests, sizes, encoding, look, what is wrong with it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from functools import cache, partial
from itertools import islice
from pathlib import Path

import imagehash
import pandas as pd
from PIL import Image, JpegImagePlugin
from tqdm import tqdm

from deepfake_detector.data.archives import Archive, Entry, written_whole
from deepfake_detector.data.stream import in_order
from deepfake_detector.errors import DataRejected, InputTooLarge, UnreadableImage
from deepfake_detector.media import face, image, look
from deepfake_detector.media.face import FaceDetector
from deepfake_detector.media.image import ImageLimits, decode_image
from deepfake_detector.media.look import Look, look_at

_LIMITS = ImageLimits()
_UNSEEN = Look(0.0, 0.0, 0.0)
_SUBSAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
PIECE = 2048  # rows that are kept at a time, so that a killed run goes on; half a minute of work


@dataclass(frozen=True)
class Row:
    """What is known about one picture; the fields are the manifest's columns.

    Attributes:
        path: inside the archive; in a folder of archives it begins with the source's name.
        label: 1 fake, 0 real; Kaggle's CSV files say it the other way round.
        mode, format: Pillow's names, of the file as stored.
        quantization: 16 hex digits that stand for the JPEG tables; "" if there are none.
        subsampling: 4:4:4, 4:2:2, 4:2:0 or "other"; "" if it is no JPEG.
        phash: perceptual hash, 16 hex digits; "" if unreadable.
        group: pictures that must not be parted by a split; the path itself while nothing else is known.
        source: name of the source that brought it.
        fake_kind: synthetic or swap on fakes; "" on real ones.
        error: why the picture cannot be read; "" if it can. Then sizes, figures and faces are 0.
        brightness, contrast, sharpness: see `Look`.
        exif: whether the file carries an EXIF block.
        faces: how many the detector finds.
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
    brightness: float
    contrast: float
    sharpness: float
    exif: bool
    faces: int


COLUMNS = tuple(field.name for field in fields(Row))


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
    with closing(Archive(archive, max_unpacked_bytes)) as opened:
        keys = [_key(opened, part, fake_kinds) for part in _parts(opened.entries)]
        entries = opened.entries
    files = [pieces / f"{key}.parquet" if pieces else None for key in keys]
    known = [file is not None and file.is_file() for file in files]
    unseen = [entry for part, seen in zip(_parts(entries), known, strict=True) if not seen for entry in part]
    examined = in_order(partial(_examined, archive, max_unpacked_bytes, dict(fake_kinds)), unseen)
    rows = tqdm(examined, total=len(entries), initial=len(entries) - len(unseen), desc="examining", unit="img")
    fresh = iter(rows)
    parts = [_part(file, len(part), fresh) for file, part in zip(files, _parts(entries), strict=True)]
    if pieces:
        _forget_others(pieces, files)
    return pd.concat(parts, ignore_index=True)


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


def _parts(entries: tuple[Entry, ...]) -> list[tuple[Entry, ...]]:
    return [entries[i : i + PIECE] for i in range(0, len(entries), PIECE)]


def _key(archive: Archive, part: Sequence[Entry], fake_kinds: Mapping[str, str]) -> str:
    """Rows are the same when pictures and labels are, and the code that looks at them."""
    digest = hashlib.sha256("".join(Path(str(m.__file__)).read_text() for m in (face, image, look)).encode())
    digest.update(Path(__file__).read_bytes() + repr(sorted(fake_kinds.items())).encode())
    for entry in part:
        digest.update(f"{entry} {archive.stamp(entry)}\n".encode())
    return digest.hexdigest()[:32]


def _part(file: Path | None, count: int, rows: Iterator[Row]) -> pd.DataFrame:
    if file is not None and file.is_file():
        return pd.read_parquet(file)
    table = pd.DataFrame([asdict(row) for row in islice(rows, count)], columns=list(COLUMNS))
    if file is not None:
        write_manifest(table, file)
    return table


def _forget_others(pieces: Path, files: Sequence[Path | None]) -> None:
    for old in set(pieces.glob("*.parquet")) - set(files):
        old.unlink()


@cache
def _opened(archive: Path, max_unpacked_bytes: int) -> Archive:
    """One open archive per worker process: its table of contents is long."""
    return Archive(archive, max_unpacked_bytes)


@cache
def _detector() -> FaceDetector:
    return FaceDetector()


def _examined(archive: Path, max_unpacked_bytes: int, fake_kinds: dict[str, str], entry: Entry) -> Row:
    data = _opened(archive, max_unpacked_bytes).read(entry)
    return examine(entry, data, fake_kinds.get(entry.source, ""))


def examine(entry: Entry, data: bytes, fake_kind: str) -> Row:
    """One picture -> its row; never raises for what is inside the file.

    Args:
        entry: where it lies.
        data: the file.
        fake_kind: what made it, if it is a fake.
    """
    height_px = width_px = faces = 0
    mode = kind = quantization = subsampling = phash = error = ""
    exif, seen = False, _UNSEEN
    try:
        rgb = decode_image(data, _LIMITS)
        height_px, width_px = rgb.shape[:2]
        phash = str(imagehash.phash(Image.fromarray(rgb), hash_size=8))
        mode, kind, quantization, subsampling, exif = _encoding(data)
        seen, faces = look_at(rgb), len(_detector().find(rgb))
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
        group=entry.group or entry.path,
        source=entry.source,
        fake_kind=fake_kind if entry.label else "",
        error=error,
        **asdict(seen),
        exif=exif,
        faces=faces,
    )


def _encoding(data: bytes) -> tuple[str, str, str, str, bool]:
    """Mode, format, digest of the quantization tables, colour subsampling, EXIF: traces of whatever saved the file."""
    with Image.open(io.BytesIO(data)) as picture:
        mode, kind, exif = picture.mode, picture.format or "", bool(picture.info.get("exif"))
        if not isinstance(picture, JpegImagePlugin.JpegImageFile):
            return mode, kind, "", "", exif
        tables = repr(sorted((number, list(table)) for number, table in picture.quantization.items()))
        subsampling = _SUBSAMPLINGS.get(JpegImagePlugin.get_sampling(picture), "other")
        return mode, kind, hashlib.sha256(tables.encode()).hexdigest()[:16], subsampling, exif
