"""Download settings -> one verified zip in the Kaggle layout, whatever the source: drawn, on disk, or from Kaggle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from deepfake_detector.data.archives import (
    MAX_ENTRY_BYTES,
    PICTURES,
    ROOT,
    SPLITS,
    Archive,
    pack,
    sha256_of,
    written_whole,
)
from deepfake_detector.data.sample import write_sample
from deepfake_detector.errors import ArchiveRejected, CredentialsMissing, ToolFailed
from deepfake_detector.settings import Download

_PIECE_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Fetched:
    """What the archive is. `counts[split][label]` counts pictures."""

    source: str
    sha256: str
    bytes: int
    counts: dict[str, dict[str, int]]


def fetch(settings: Download, to: Path) -> Fetched:
    """Bring the data to `to`, which appears only when whole and checked.

    Args:
        settings: the section `download` of params.yaml.
        to: the zip to write.

    Raises:
        ArchiveRejected: missing, damaged, unsafe, of another checksum, or not in the Kaggle layout.
        CredentialsMissing: Kaggle was asked for and no login was found; raised before the network is touched.
        ToolFailed: Kaggle could not be reached or did not answer.
    """
    bring: Callable[[Download, Path], None] = {"sample": _draw, "archive": _copy, "kaggle": _kaggle}[settings.source]
    with written_whole(to) as fresh:
        bring(settings, fresh)
        with Archive(fresh, _limit_bytes(settings)) as archive:
            counts = archive.counts()
        return Fetched(settings.source, sha256_of(fresh), fresh.stat().st_size, counts)


def _limit_bytes(settings: Download) -> int:
    return int(settings.max_unpacked_gib * 2**30)


def _draw(settings: Download, to: Path) -> None:
    write_sample(settings.sample, to)


def _copy(settings: Download, to: Path) -> None:
    source = Path(settings.archive).expanduser()
    if not settings.archive or not source.exists():
        raise ArchiveRejected(
            f"download.archive is {settings.archive!r}, and nothing lies there",
            "set it in params.yaml to a zip or folder, for example ../shared/data/real_vs_fake.zip",
        )
    if source.is_dir():
        _refuse_checksum(settings, "a folder has no checksum")
        _pack_folder(source, to, _limit_bytes(settings))
        return
    digest = _copy_file(source, to)
    if settings.sha256 and digest != settings.sha256.lower():
        raise ArchiveRejected(
            f"{source.name} has SHA-256 {digest}, download.sha256 in params.yaml says {settings.sha256}",
            "take the right file, or write the new checksum into params.yaml",
        )
    _normalise(to, source.name, _limit_bytes(settings))


def _refuse_checksum(settings: Download, reason: str) -> None:
    if settings.sha256:
        raise ArchiveRejected(f"download.sha256 is set, but {reason}", 'set download.sha256 to "", or name a zip')


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
    """Pack a zip anew whose pictures lie under another folder than the Kaggle set's."""
    with Archive(path, limit_bytes, name) as archive:
        if archive.root == ROOT:
            return
        with written_whole(path) as fresh:
            names = ((f"{ROOT}/{entry.inner}", archive.read(entry)) for entry in archive.entries)
            pack(fresh, tqdm(names, total=len(archive.entries), desc="packing", unit="img"))


def _pack_folder(folder: Path, to: Path, limit_bytes: int) -> None:
    root = _find_root(folder)
    files = sorted(
        p for split in SPLITS for p in (root / split).rglob("*") if p.suffix.lower() in PICTURES and p.is_file()
    )
    size = sum(p.stat().st_size for p in files)
    if size > limit_bytes:
        raise ArchiveRejected(
            f"{folder} holds {size / 2**30:.2f} GiB", "raise download.max_unpacked_gib in params.yaml"
        )
    large = [p for p in files if p.stat().st_size > MAX_ENTRY_BYTES]
    if large:
        raise ArchiveRejected(f"{large[0]} has more than {MAX_ENTRY_BYTES} bytes", "remove it; it is no portrait")
    names = ((f"{ROOT}/{p.relative_to(root).as_posix()}", p.read_bytes()) for p in files)
    pack(to, tqdm(names, total=len(files), desc="packing", unit="img"))


def _find_root(folder: Path) -> Path:
    """The folder that holds train, valid and test: `folder` itself or one below it."""
    found = [
        p.parent
        for p in (folder / "train", *sorted(folder.rglob("train")))
        if all((p.parent / s).is_dir() for s in SPLITS)
    ]
    roots = sorted(set(found))
    if len(roots) != 1:
        seen = [str(p) for p in roots] or sorted(p.name for p in folder.iterdir())[:8]
        raise ArchiveRejected(
            f"{folder} must hold the folders train, valid and test exactly once, at any depth; found {seen}",
            f"name the folder that lies above {ROOT}",
        )
    return roots[0]


def _kaggle(settings: Download, to: Path) -> None:
    import kagglehub  # here, not above: it is slow to import and most runs do not need it
    from kagglehub.config import get_kaggle_credentials

    try:
        login = get_kaggle_credentials()
    except ValueError as error:
        raise CredentialsMissing(f"the Kaggle login cannot be read: {error}", _HOW_TO_LOG_IN) from error
    if login is None:
        raise CredentialsMissing(f"no Kaggle login was found, and {settings.kaggle} needs one", _HOW_TO_LOG_IN)
    _refuse_checksum(settings, "Kaggle's data is pinned by the version in download.kaggle")
    try:
        folder = Path(kagglehub.dataset_download(settings.kaggle))
    except Exception as error:  # requests, kagglehub and kagglesdk each raise their own kinds
        raise _kaggle_failed(settings.kaggle, error) from error
    _pack_folder(folder, to, _limit_bytes(settings))


def _kaggle_failed(handle: str, error: Exception) -> CredentialsMissing | ToolFailed:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return CredentialsMissing(f"Kaggle refused the login for {handle} (HTTP {status})", _HOW_TO_LOG_IN)
    return ToolFailed(
        f"{handle} could not be downloaded from Kaggle: {type(error).__name__}: {error}",
        "check the network and download.kaggle; or download the zip by hand and use download.source: archive",
    )


_HOW_TO_LOG_IN = (
    "create a token at https://www.kaggle.com/settings (API), then either put it into ~/.kaggle/access_token or the "
    "variable KAGGLE_API_TOKEN; or put kaggle.json into ~/.kaggle/, or set KAGGLE_USERNAME and KAGGLE_KEY; "
    "or download the zip by hand and use download.source: archive; or use download.source: sample, which needs no login"
)
