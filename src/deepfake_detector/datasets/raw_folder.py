"""data/raw -> the zips of all sources of pictures, and the position of any picture in them.

A source is one zip, `NAME.zip`, or several in a folder, `NAME/SHARD.zip`. Paths in reports are unique across sources:
`NAME/path` or `NAME/SHARD/path`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from deepfake_detector.datasets.safe_zip import SafeZip, ZipMember
from deepfake_detector.errors import ArchiveRejected

VIDEOS_FOLDER = "videos"  # below data/raw; no source has this name


def source_zips(raw: Path) -> dict[str, Path]:
    """What paths in reports begin with -> the zip, in the order of these paths.

    Args:
        raw: data/raw, or a single zip, which gives the empty beginning.

    Raises:
        ArchiveRejected: no zip lies there, or a source has a zip and a folder of zips.
    """
    if not raw.is_dir():
        return {"": raw}
    files = {file.stem: file for file in raw.glob("*.zip")}
    shards = {f"{file.parent.name}/{file.stem}": file for file in raw.glob("*/*.zip") if _is_shard(raw, file)}
    twice = sorted(files.keys() & {source_of(beginning) for beginning in shards})
    if twice:
        raise ArchiveRejected(f"{raw} holds {twice[0]}.zip and the folder {twice[0]}", "run `dvc repro download`")
    if not files and not shards:
        raise ArchiveRejected(f"no archive lies in {raw}", "run `dvc repro download`")
    # As paths sort: "a-b/" comes before "a/".
    return dict(sorted((files | shards).items(), key=lambda item: f"{item[0]}/"))


def source_of(beginning: str) -> str:
    """The source that a beginning of `source_zips` belongs to."""
    return beginning.partition("/")[0]


class RawPictures:
    """The pictures of all sources by their paths, 0.14 kB of memory each; a context manager that frees it.

    Args:
        raw: data/raw, a single zip, or some of `source_zips`.
        max_unpacked_bytes: of all members of one zip together.
        name: of the zips in messages; the file name of each if empty.

    Attributes:
        zips: what paths begin with -> the zip, in the order of the paths.

    Raises:
        ArchiveRejected: a zip is unsafe or too large; see `source_zips`.
    """

    def __init__(self, raw: Path | Mapping[str, Path], max_unpacked_bytes: int, name: str = "") -> None:
        files = source_zips(raw) if isinstance(raw, Path) else raw
        self.zips = {beginning: SafeZip(file, max_unpacked_bytes, name) for beginning, file in files.items()}

    def member(self, path: str) -> ZipMember:
        """The position of a picture, with which another process can read it.

        Args:
            path: as entries and the manifest have it.

        Raises:
            ArchiveRejected: there is no such picture.
        """
        for beginning, inside in _divided(path):
            if beginning in self.zips:
                return self.zips[beginning].member(inside)
        raise ArchiveRejected(f"{path} is in no archive of data/raw", "run `dvc repro`, which reads the archives again")

    def close(self) -> None:
        """Free the tables of contents; no file is held open."""
        self.zips.clear()

    def __enter__(self) -> RawPictures:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_shard(raw: Path, file: Path) -> bool:
    """Neither a video nor in a temporary folder."""
    return file.parent != raw / VIDEOS_FOLDER and not file.parent.name.startswith(".")


def _divided(path: str) -> Iterator[tuple[str, str]]:
    """A path's possible beginnings, and what follows each: of a single zip, a source, and a source's shard."""
    source, _, rest = path.partition("/")
    shard, _, inside = rest.partition("/")
    yield from (("", path), (source, rest), (f"{source}/{shard}", inside))
