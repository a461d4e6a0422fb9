"""Download settings -> one verified zip per source, whatever its kind: drawn, on disk, from Kaggle, or labelled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from deepfake_detector.config import Download, Source
from deepfake_detector.datasets.archive import ROOT, Archive, Volume, find_pictures, pack
from deepfake_detector.datasets.folder import pack_folder, pack_labelled
from deepfake_detector.datasets.label_csv import is_list
from deepfake_detector.datasets.synthetic_faces.sample import write_sample
from deepfake_detector.errors import ArchiveRejected, CredentialsMissing, ToolFailed
from deepfake_detector.io import atomic_write, sha256_of_file

_PIECE_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Fetched:
    """What the archive of one source is.

    Attributes:
        counts: pictures, `counts[split][label]`.
        unlabelled: pictures of a labelled source that its CSV does not name; they are left out.
    """

    name: str
    kind: str
    fake_kind: str
    sha256: str
    bytes: int
    counts: dict[str, dict[str, int]]
    unlabelled: int


def fetch_all(settings: Download, to: Path) -> tuple[Fetched, ...]:
    """Bring every source; what else lies in the folder, from sources that are no longer named, goes.

    Args:
        settings: the section `download` of params.yaml.
        to: the folder that gets one zip per source.

    Raises:
        ArchiveRejected, CredentialsMissing, ToolFailed: see `fetch`.
    """
    fetched = tuple(fetch(source, settings, to / f"{source.name}.zip") for source in settings.sources)
    for old in set(to.glob("*.zip")) - {to / f"{source.name}.zip" for source in settings.sources}:
        old.unlink()
    return fetched


def fetch(source: Source, settings: Download, to: Path) -> Fetched:
    """Bring one source to `to`, which appears only when whole and checked.

    Args:
        source: what to bring.
        settings: limits, and how many pictures to draw.
        to: the zip to write.

    Raises:
        ArchiveRejected: missing, damaged, unsafe, of another checksum, or in no known layout.
        CredentialsMissing: Kaggle was asked for and no login was found; raised before the network is touched.
        ToolFailed: Kaggle could not be reached or did not answer.
    """
    bring = _BRINGING[source.kind]
    with atomic_write(to) as fresh:
        unlabelled = bring(source, settings, fresh)
        with Archive(fresh, settings.max_unpacked_bytes, f"source {source.name}") as archive:
            counts = archive.counts()
        digest, size = sha256_of_file(fresh), fresh.stat().st_size
        return Fetched(source.name, source.kind, source.fake_kind, digest, size, counts, unlabelled)


def _draw(_: Source, settings: Download, to: Path) -> int:
    write_sample(settings.sample, to)
    return 0


def _copy(source: Source, settings: Download, to: Path) -> int:
    place = _existing(source)
    if place.is_dir():
        _refuse_checksum(source, "a folder has no checksum")
        pack_folder(place, to, settings.max_unpacked_bytes)
        return 0
    digest = _copy_file(place, to)
    _normalise(to, place.name, settings.max_unpacked_bytes)
    _compare(source, place, digest, to)
    return 0


def _copy_labelled(source: Source, settings: Download, to: Path) -> int:
    place = _existing(source)
    if place.is_dir():
        _refuse_checksum(source, "a folder has no checksum")
    unlabelled = pack_labelled(place, to, settings.held_out_share, settings.max_unpacked_bytes)
    if source.sha256:
        _compare(source, place, sha256_of_file(place), to)
    return unlabelled


def _existing(source: Source) -> Path:
    place = Path(source.place).expanduser()
    if not place.exists():
        raise ArchiveRejected(
            f"source {source.name}: `place` is {source.place!r}, and nothing lies there",
            "set it in params.yaml, under download.sources, to a zip or folder",
        )
    return place


def _refuse_checksum(source: Source, reason: str) -> None:
    if source.sha256:
        raise ArchiveRejected(
            f"source {source.name}: `sha256` is set, but {reason}", 'set it to "", or name a zip as `place`'
        )


def _compare(source: Source, place: Path, digest: str, packed: Path) -> None:
    """The file's own digest or that of what it was packed to, as cards tell it: either pins its pictures."""
    wanted = source.sha256.lower()
    if wanted and wanted != digest and wanted != sha256_of_file(packed):
        raise ArchiveRejected(
            f"{place.name} has SHA-256 {digest}, source {source.name} in params.yaml says {source.sha256}",
            "take the right file, or write the new checksum into params.yaml",
        )


def _copy_file(source: Path, to: Path) -> str:
    """Copy in pieces; returns the SHA-256 of what was read."""
    digest = hashlib.sha256()
    with (
        source.open("rb") as old,
        to.open("wb") as new,
        tqdm(total=source.stat().st_size, desc="copying", unit="B", unit_scale=True) as bar,
    ):
        while piece := old.read(_PIECE_BYTES):
            digest.update(piece)
            new.write(piece)
            bar.update(len(piece))
    return digest.hexdigest()


def _normalise(path: Path, name: str, limit_bytes: int) -> None:
    """Pack a zip anew whose pictures lie under another folder than the Kaggle set's; its lists of labels come along."""
    volume = Volume(path, limit_bytes, name)
    root, entries = find_pictures(volume.names, name)
    if root == ROOT:
        return
    tables = ((file, volume.read(file)) for file in volume.names if file.lower().endswith(".csv"))
    with atomic_write(path) as fresh:
        names = ((f"{ROOT}/{entry.inner}", volume.read(entry.path)) for entry in entries)
        pictures = tqdm(names, total=len(entries), desc="packing", unit="img")
        pack(fresh, chain(((file, data) for file, data in tables if is_list(file, data)), pictures))


def _kaggle(source: Source, settings: Download, to: Path) -> int:
    import kagglehub  # here, not above: it is slow to import and most runs do not need it
    from kagglehub.config import get_kaggle_credentials

    try:
        login = get_kaggle_credentials()
    except ValueError as error:
        raise CredentialsMissing(f"the Kaggle login cannot be read: {error}", _HOW_TO_LOG_IN) from error
    if login is None:
        raise CredentialsMissing(f"no Kaggle login was found, and {source.place} needs one", _HOW_TO_LOG_IN)
    _refuse_checksum(source, "Kaggle's data is pinned by the version in `place`")
    try:
        folder = Path(kagglehub.dataset_download(source.place))
    except Exception as error:  # requests, kagglehub and kagglesdk each raise their own kinds
        raise _kaggle_failed(source.place, error) from error
    pack_folder(folder, to, settings.max_unpacked_bytes)
    return 0


def _kaggle_failed(handle: str, error: Exception) -> CredentialsMissing | ToolFailed:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return CredentialsMissing(f"Kaggle refused the login for {handle} (HTTP {status})", _HOW_TO_LOG_IN)
    return ToolFailed(
        f"{handle} could not be downloaded from Kaggle: {type(error).__name__}: {error}",
        "check the network and `place`; or download the zip by hand and use kind: archive",
    )


_HOW_TO_LOG_IN = (
    "create a token at https://www.kaggle.com/settings (API), then either put it into ~/.kaggle/access_token or the "
    "variable KAGGLE_API_TOKEN; or put kaggle.json into ~/.kaggle/, or set KAGGLE_USERNAME and KAGGLE_KEY; "
    "or download the zip by hand and use kind: archive; or use kind: sample, which needs no login"
)
_BRINGING: dict[str, Callable[[Source, Download, Path], int]] = {
    "sample": _draw,
    "archive": _copy,
    "kaggle": _kaggle,
    "labelled": _copy_labelled,
}
