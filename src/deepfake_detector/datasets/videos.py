"""A zip or folder with real/ and fake/ video files -> one zip of labelled videos, and its entries.

Videos are tested only (`use: test`). Their zips lie in data/raw/videos/, apart from the archives of pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from deepfake_detector.datasets.archive import LABELS
from deepfake_detector.datasets.packing import Folder
from deepfake_detector.datasets.raw_folder import VIDEOS_FOLDER
from deepfake_detector.datasets.safe_zip import SafeZip, ZipMember, write_zip
from deepfake_detector.errors import ArchiveRejected
from deepfake_detector.media.file_type import HEAD_BYTES, looks_like_video
from deepfake_detector.media.limits import DEFAULT_VIDEO_LIMITS

MAX_BYTES = DEFAULT_VIDEO_LIMITS.max_bytes  # of one video: serving refuses larger ones
_LAYOUT_HINT = "put the video files into folders called real and fake; docs/data.md"


@dataclass(frozen=True)
class VideoEntry:
    """One labelled video.

    Attributes:
        path: source/path in the zip.
        label: 1 for fake and 0 for real.
        source: name of its source.
        member: its position in the zip.
    """

    path: str
    label: int
    source: str
    member: ZipMember


def videos_zip(raw: Path, source: str) -> Path:
    """Where the videos of a source lie below data/raw."""
    return raw / VIDEOS_FOLDER / f"{source}.zip"


def pack_videos(location: Path, to: Path, max_unpacked_bytes: int) -> int:
    """Pack the video files of the folders real and fake, at any depth, into a zip; their content decides, not the name.

    Args:
        location: a zip or a folder.
        to: the zip to write.
        max_unpacked_bytes: of all files together.

    Returns:
        The number of other files, which are left out.

    Raises:
        ArchiveRejected: unsafe, too large, or without a labelled video.
    """
    files = (
        Folder(location, max_unpacked_bytes, MAX_BYTES) if location.is_dir() else _open(location, max_unpacked_bytes)
    )
    labelled = [name for name in sorted(files.names) if video_label(name) is not None]
    contents = ((name, files.read(name)) for name in tqdm(labelled, desc="packing", unit="file"))
    write_zip(to, ((name, data) for name, data in contents if looks_like_video(data[:HEAD_BYTES])))
    packed = len(_open(to, max_unpacked_bytes).names)
    if not packed:
        raise ArchiveRejected(
            f"{location} holds no video in a folder real or fake; it holds {sorted(files.names)[:8]}", _LAYOUT_HINT
        )
    return len(files.names) - packed


def read_videos(file: Path, source: str, max_unpacked_bytes: int) -> tuple[VideoEntry, ...]:
    """The videos of a source, sorted by path.

    Args:
        file: its zip, see `videos_zip`.
        source: its name.
        max_unpacked_bytes: see `SafeZip`.

    Raises:
        ArchiveRejected: there is no such zip, or it is damaged or unsafe.
    """
    opened = _open(file, max_unpacked_bytes)
    labels = {name: video_label(name) for name in sorted(opened.names)}
    return tuple(
        VideoEntry(f"{source}/{name}", label, source, opened.member(name))
        for name, label in labels.items()
        if label is not None
    )


def count_videos(entries: tuple[VideoEntry, ...]) -> dict[str, dict[str, int]]:
    """Videos per split and label, as `Archive.counts` gives them for pictures; all are test videos."""
    found = {name: sum(entry.label == number for entry in entries) for name, number in LABELS.items()}
    return {"train": dict.fromkeys(LABELS, 0), "valid": dict.fromkeys(LABELS, 0), "test": found}


def video_label(path: str) -> int | None:
    """The label that the nearest folder called real or fake gives; None for hidden files, and without such a folder."""
    *folders, name = path.split("/")
    if name.startswith(".") or "__MACOSX" in folders:
        return None
    return next((LABELS[folder.lower()] for folder in reversed(folders) if folder.lower() in LABELS), None)


def _open(file: Path, max_unpacked_bytes: int) -> SafeZip:
    return SafeZip(file, max_unpacked_bytes, max_member_bytes=MAX_BYTES)
