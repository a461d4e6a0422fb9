"""Settings of stage download -> the verified zip of each source: drawn, copied, packed or downloaded from Kaggle.

A source of several zips (a list, or a pattern) becomes a folder of as many.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from deepfake_detector.config import Download, Source
from deepfake_detector.datasets.archive import KAGGLE_ROOT, LABELS, SPLITS, Archive, find_entries
from deepfake_detector.datasets.label_csv import is_label_csv
from deepfake_detector.datasets.labelled import pack_labelled, pack_several_labelled
from deepfake_detector.datasets.packing import pack_folder
from deepfake_detector.datasets.raw_folder import VIDEOS_FOLDER
from deepfake_detector.datasets.safe_zip import SafeZip, write_zip
from deepfake_detector.datasets.synthetic_faces.sample import write_sample
from deepfake_detector.datasets.videos import count_videos, pack_videos, read_videos, videos_zip
from deepfake_detector.errors import ArchiveRejected, CredentialsMissing, ToolFailed
from deepfake_detector.io import atomic_directory, atomic_write, sha256_of_file

_CHUNK_BYTES = 4 * 2**20
_LOCATION_HINT = "set it in params.yaml, under download.sources, to a zip, a folder, or a list or pattern of zips"
_LOGIN_HINT = (
    "create a token at https://www.kaggle.com/settings (API), then either put it into ~/.kaggle/access_token or the "
    "variable KAGGLE_API_TOKEN; or put kaggle.json into ~/.kaggle/, or set KAGGLE_USERNAME and KAGGLE_KEY; "
    "or download the zip in a browser and use kind: archive; or use kind: sample, which needs no login"
)


@dataclass(frozen=True)
class FetchedSource:
    """The zip of one source, or its zips together.

    Attributes:
        sha256: of the zip; of several zips that of their list, see `list_sha256`.
        archives: number of zips.
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
    archives: int = 1


def fetch_all(settings: Download, to: Path) -> tuple[FetchedSource, ...]:
    """Fetch every source, and delete the zips of sources that the settings no longer name.

    Args:
        settings: the section `download` of params.yaml.
        to: the folder for the sources' zips, data/raw.

    Raises:
        ArchiveRejected, CredentialsMissing, ToolFailed: see `fetch`.
    """
    targets = {source.name: _target(source, to) for source in settings.sources}
    fetched = tuple(fetch(source, settings, targets[source.name]) for source in settings.sources)
    for old in {*to.glob("*.zip"), *to.glob(f"{VIDEOS_FOLDER}/*.zip")} - set(targets.values()):
        old.unlink()
    for folder in {file.parent for file in to.glob("*/*.zip")} - {to / VIDEOS_FOLDER, *targets.values()}:
        shutil.rmtree(folder)
    return fetched


def _target(source: Source, folder: Path) -> Path:
    if source.kind == "videos":
        return videos_zip(folder, source.name)
    return folder / source.name if source.is_several else folder / f"{source.name}.zip"


def fetch(source: Source, settings: Download, to: Path) -> FetchedSource:
    """Write the verified zip of one source, or its folder of zips; an error leaves an existing one as it is.

    Args:
        source: what to fetch.
        settings: limits, and how many images to draw.
        to: the zip to write, or the folder if the location is a list or a pattern.

    Raises:
        ArchiveRejected: missing, damaged, unsafe, of another checksum, or in no known layout.
        CredentialsMissing: no Kaggle login was found; raised before the network is used.
        ToolFailed: Kaggle could not be reached or did not answer.
    """
    if source.is_several:
        return _fetch_several(source, settings, to)
    writers: dict[str, Callable[[Source, Download, Path], int]] = {
        "sample": _draw_sample,
        "archive": _copy_archive,
        "kaggle": _download_from_kaggle,
        "labelled": _pack_labelled,
        "videos": _pack_videos,
    }
    with atomic_write(to) as temporary:
        unlabelled = writers[source.kind](source, settings, temporary)
        counts = _counts(source, [temporary], settings.max_unpacked_bytes)
        digest, size = sha256_of_file(temporary), temporary.stat().st_size
        return FetchedSource(source.name, source.kind, source.fake_kind, source.use, digest, size, counts, unlabelled)


def _fetch_several(source: Source, settings: Download, to: Path) -> FetchedSource:
    zips = _located_zips(source)
    limit = settings.max_unpacked_bytes
    with atomic_directory(to) as temporary:
        packed = {file: temporary / f"{file.stem}.zip" for file in zips}
        if source.kind == "labelled":
            unlabelled, given = pack_several_labelled(packed, _held_out_share(source, settings), limit), None
        else:
            unlabelled, given = 0, {file.name: _copy_kaggle_zip(file, packed[file], limit) for file in zips}
        digest = list_sha256({file.name: sha256_of_file(file) for file in packed.values()})
        if source.sha256 and source.sha256.lower() != digest:
            given = given or {file.name: sha256_of_file(file) for file in zips}
            _check_list(source, list_sha256(given))
        counts, size = _counts(source, packed.values(), limit), sum(file.stat().st_size for file in packed.values())
    return FetchedSource(
        source.name, source.kind, source.fake_kind, source.use, digest, size, counts, unlabelled, len(zips)
    )


def list_sha256(digests: Mapping[str, str]) -> str:
    """SHA-256 of a list of checksums, that of `LC_ALL=C; sha256sum *.zip | sha256sum`.

    Args:
        digests: file name -> SHA-256 in hex.
    """
    lines = (f"{digests[name]}  {name}\n" for name in sorted(digests))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _located_zips(source: Source) -> list[Path]:
    """The zips of a source, sorted by name."""
    if isinstance(source.location, tuple):
        zips = [Path(location).expanduser() for location in source.location]
        hint = "a list names zip files"
    else:
        pattern = Path(source.location).expanduser()
        zips = list(Path(pattern.anchor or ".").glob(str(pattern.relative_to(pattern.anchor))))
        hint = "let the pattern match zip files alone, such as /data/faces-*.zip"
        if not zips:
            raise ArchiveRejected(
                f"source {source.name}: no file has a name like `location`, {source.location}", _LOCATION_HINT
            )
    for file in zips:
        if not file.is_file():
            problem = "is a folder" if file.is_dir() else "does not exist"
            raise ArchiveRejected(f"source {source.name}: {file} in `location` {problem}; {hint}", _LOCATION_HINT)
    stems = Counter(file.stem for file in zips)
    for stem in (stem for stem, number in stems.items() if number > 1):
        raise ArchiveRejected(f"source {source.name}: two of its zips are called {stem}", "rename one of them")
    return sorted(zips, key=lambda file: file.name)


def _counts(source: Source, files: Iterable[Path], max_unpacked_bytes: int) -> dict[str, dict[str, int]]:
    """Images or videos per split and label, as the later stages will see them."""
    total = {split: dict.fromkeys(LABELS, 0) for split in SPLITS}
    for file in files:
        for split, of_split in _counts_of_zip(source, file, max_unpacked_bytes).items():
            for label, number in of_split.items():
                total["test" if source.use == "test" else split][label] += number
    return total


def _counts_of_zip(source: Source, file: Path, max_unpacked_bytes: int) -> dict[str, dict[str, int]]:
    if source.kind == "videos":
        return count_videos(read_videos(file, source.name, max_unpacked_bytes))
    with Archive(file, max_unpacked_bytes, f"source {source.name}") as archive:
        return archive.counts()


def _draw_sample(_: Source, settings: Download, to: Path) -> int:
    write_sample(settings.sample, to)
    return 0


def _copy_archive(source: Source, settings: Download, to: Path) -> int:
    location = _existing_location(source)
    if location.is_dir():
        _reject_checksum(source, "a folder has no checksum")
        pack_folder(location, to, settings.max_unpacked_bytes)
        return 0
    digest = _copy_kaggle_zip(location, to, settings.max_unpacked_bytes)
    _check_digest(source, location, digest, to)
    return 0


def _copy_kaggle_zip(file: Path, to: Path, max_unpacked_bytes: int) -> str:
    """Copy a zip, its images below `KAGGLE_ROOT`; returns the SHA-256 of the zip as it was."""
    digest = _copy_file(file, to)
    _move_to_kaggle_root(to, file.name, max_unpacked_bytes)
    return digest


def _pack_labelled(source: Source, settings: Download, to: Path) -> int:
    location = _existing_location(source)
    unlabelled = pack_labelled(location, to, _held_out_share(source, settings), settings.max_unpacked_bytes)
    if source.sha256:
        _check_digest(source, location, sha256_of_file(to if location.is_dir() else location), to)
    return unlabelled


def _held_out_share(source: Source, settings: Download) -> float:
    """0 for feedback: no picture of it may get among those that set thresholds or are compared with older models."""
    return 0.0 if source.feedback else settings.held_out_share


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
        folder = Path(kagglehub.dataset_download(str(source.location)))
    except Exception as error:  # requests, kagglehub and kagglesdk each raise their own kinds
        raise _kaggle_error(str(source.location), error) from error
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
    location = Path(str(source.location)).expanduser()
    if not location.exists():
        raise ArchiveRejected(
            f"source {source.name}: `location` is {source.location!r}, which does not exist", _LOCATION_HINT
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
            "use the right file, or write the new checksum into params.yaml; `make own` does that for own pictures",
        )


def _check_list(source: Source, digest: str) -> None:
    if source.sha256.lower() != digest:
        raise ArchiveRejected(
            f"the zips of source {source.name} have SHA-256 {digest} together (`sha256sum *.zip | sha256sum`), "
            f"params.yaml says {source.sha256}",
            "use the right files, or write the new checksum into params.yaml",
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
