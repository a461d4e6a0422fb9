"""Settings of stage download -> one verified zip per source: drawn, copied, packed or downloaded from Kaggle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from deepfake_detector.config import Download, Source
from deepfake_detector.datasets.archive import (
    KAGGLE_ROOT,
    LABELS,
    SPLITS,
    Archive,
    SafeZip,
    find_entries,
    write_zip,
)
from deepfake_detector.datasets.label_csv import is_label_csv
from deepfake_detector.datasets.packing import pack_folder, pack_labelled
from deepfake_detector.datasets.synthetic_faces.sample import write_sample
from deepfake_detector.datasets.videos import FOLDER, count_videos, pack_videos, read_videos, videos_zip
from deepfake_detector.errors import ArchiveRejected, CredentialsMissing, ToolFailed
from deepfake_detector.io import atomic_write, sha256_of_file

_CHUNK_BYTES = 4 * 2**20
_LOGIN_HINT = (
    "create a token at https://www.kaggle.com/settings (API), then either put it into ~/.kaggle/access_token or the "
    "variable KAGGLE_API_TOKEN; or put kaggle.json into ~/.kaggle/, or set KAGGLE_USERNAME and KAGGLE_KEY; "
    "or download the zip in a browser and use kind: archive; or use kind: sample, which needs no login"
)


@dataclass(frozen=True)
class FetchedSource:
    """The archive of one source.

    Attributes:
        use: train | test.
        counts: images or videos, `counts[split][label]`; all of a source with `use: test` are test ones.
        unlabelled: images of a labelled source that its CSV does not name, or other files between videos; they are
            left out.
    """

    name: str
    kind: str
    fake_kind: str
    use: str
    sha256: str
    bytes: int
    counts: dict[str, dict[str, int]]
    unlabelled: int


def fetch_all(settings: Download, to: Path) -> tuple[FetchedSource, ...]:
    """Fetch every source, and delete the zips of sources that the settings no longer name.

    Args:
        settings: the section `download` of params.yaml.
        to: the folder for one zip per source.

    Raises:
        ArchiveRejected, CredentialsMissing, ToolFailed: see `fetch`.
    """
    files = {source.name: _zip_of(source, to) for source in settings.sources}
    fetched = tuple(fetch(source, settings, files[source.name]) for source in settings.sources)
    for old in {*to.glob("*.zip"), *to.glob(f"{FOLDER}/*.zip")} - set(files.values()):
        old.unlink()
    return fetched


def _zip_of(source: Source, folder: Path) -> Path:
    return videos_zip(folder, source.name) if source.kind == "videos" else folder / f"{source.name}.zip"


def fetch(source: Source, settings: Download, to: Path) -> FetchedSource:
    """Write the verified zip of one source; an error leaves an existing zip as it is.

    Args:
        source: what to fetch.
        settings: limits, and how many images to draw.
        to: the zip to write.

    Raises:
        ArchiveRejected: missing, damaged, unsafe, of another checksum, or in no known layout.
        CredentialsMissing: no Kaggle login was found; raised before the network is used.
        ToolFailed: Kaggle could not be reached or did not answer.
    """
    writers: dict[str, Callable[[Source, Download, Path], int]] = {
        "sample": _draw_sample,
        "archive": _copy_archive,
        "kaggle": _download_from_kaggle,
        "labelled": _pack_labelled,
        "videos": _pack_videos,
    }
    with atomic_write(to) as temporary:
        unlabelled = writers[source.kind](source, settings, temporary)
        counts = _counts(source, temporary, settings.max_unpacked_bytes)
        digest, size = sha256_of_file(temporary), temporary.stat().st_size
        return FetchedSource(source.name, source.kind, source.fake_kind, source.use, digest, size, counts, unlabelled)


def _counts(source: Source, file: Path, max_unpacked_bytes: int) -> dict[str, dict[str, int]]:
    """Images or videos per split and label, as the later stages will see them."""
    if source.kind == "videos":
        return count_videos(read_videos(file, source.name, max_unpacked_bytes))
    with Archive(file, max_unpacked_bytes, f"source {source.name}") as archive:
        counts = archive.counts()
    if source.use == "train":
        return counts
    total = {label: sum(of_split[label] for of_split in counts.values()) for label in LABELS}
    return {split: total if split == "test" else dict.fromkeys(LABELS, 0) for split in SPLITS}


def _draw_sample(_: Source, settings: Download, to: Path) -> int:
    write_sample(settings.sample, to)
    return 0


def _copy_archive(source: Source, settings: Download, to: Path) -> int:
    location = _existing_location(source)
    if location.is_dir():
        _reject_checksum(source, "a folder has no checksum")
        pack_folder(location, to, settings.max_unpacked_bytes)
        return 0
    digest = _copy_file(location, to)
    _move_to_kaggle_root(to, location.name, settings.max_unpacked_bytes)
    _check_digest(source, location, digest, to)
    return 0


def _pack_labelled(source: Source, settings: Download, to: Path) -> int:
    location = _existing_location(source)
    if location.is_dir():
        _reject_checksum(source, "a folder has no checksum")
    unlabelled = pack_labelled(location, to, settings.held_out_share, settings.max_unpacked_bytes)
    if source.sha256:
        _check_digest(source, location, sha256_of_file(location), to)
    return unlabelled


def _pack_videos(source: Source, settings: Download, to: Path) -> int:
    location = _existing_location(source)
    if location.is_dir():
        _reject_checksum(source, "a folder has no checksum")
    left_out = pack_videos(location, to, settings.max_unpacked_bytes)
    if source.sha256:
        _check_digest(source, location, sha256_of_file(location), to)
    return left_out


def _download_from_kaggle(source: Source, settings: Download, to: Path) -> int:
    import kagglehub  # here, because it is slow to import and most runs do not need it
    from kagglehub.config import get_kaggle_credentials

    try:
        login = get_kaggle_credentials()
    except ValueError as error:
        raise CredentialsMissing(f"the Kaggle login cannot be read: {error}", _LOGIN_HINT) from error
    if login is None:
        raise CredentialsMissing(f"no Kaggle login was found, and {source.location} needs one", _LOGIN_HINT)
    _reject_checksum(source, "Kaggle's data are pinned by the version in `location`")
    try:
        folder = Path(kagglehub.dataset_download(source.location))
    except Exception as error:  # requests, kagglehub and kagglesdk each raise their own kinds
        raise _kaggle_error(source.location, error) from error
    pack_folder(folder, to, settings.max_unpacked_bytes)
    return 0


def _kaggle_error(handle: str, error: Exception) -> CredentialsMissing | ToolFailed:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return CredentialsMissing(f"Kaggle refused the login for {handle} (HTTP {status})", _LOGIN_HINT)
    return ToolFailed(
        f"{handle} could not be downloaded from Kaggle: {type(error).__name__}: {error}",
        "check the network and `location`; or download the zip in a browser and use kind: archive",
    )


def _existing_location(source: Source) -> Path:
    location = Path(source.location).expanduser()
    if not location.exists():
        raise ArchiveRejected(
            f"source {source.name}: `location` is {source.location!r}, which does not exist",
            "set it in params.yaml, under download.sources, to a zip or folder",
        )
    return location


def _reject_checksum(source: Source, reason: str) -> None:
    if source.sha256:
        raise ArchiveRejected(
            f"source {source.name}: `sha256` is set, but {reason}", 'set it to "", or name a zip as `location`'
        )


def _check_digest(source: Source, location: Path, digest: str, packed: Path) -> None:
    """Accept the digest of the file or that of the zip packed from it, which cards state: either pins the images."""
    expected = source.sha256.lower()
    if expected and expected != digest and expected != sha256_of_file(packed):
        raise ArchiveRejected(
            f"{location.name} has SHA-256 {digest}, source {source.name} in params.yaml says {source.sha256}",
            "use the right file, or write the new checksum into params.yaml",
        )


def _copy_file(file: Path, to: Path) -> str:
    """Copy a file; returns the SHA-256 of the copied bytes."""
    digest = hashlib.sha256()
    with (
        file.open("rb") as old,
        to.open("wb") as new,
        tqdm(total=file.stat().st_size, desc="copying", unit="B", unit_scale=True) as bar,
    ):
        while chunk := old.read(_CHUNK_BYTES):
            digest.update(chunk)
            new.write(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _move_to_kaggle_root(path: Path, name: str, max_unpacked_bytes: int) -> None:
    """Rewrite a zip whose images lie under another folder than `KAGGLE_ROOT`; its CSV files with labels are kept."""
    opened = SafeZip(path, max_unpacked_bytes, name)
    root, entries = find_entries(opened.names, name)
    if root == KAGGLE_ROOT:
        return
    csv_files = ((file, opened.read(file)) for file in opened.names if file.lower().endswith(".csv"))
    with atomic_write(path) as temporary:
        images = ((f"{KAGGLE_ROOT}/{entry.kaggle_path}", opened.read(entry.path)) for entry in entries)
        progress = tqdm(images, total=len(entries), desc="packing", unit="img")
        write_zip(temporary, chain(((file, data) for file, data in csv_files if is_label_csv(file, data)), progress))
