"""A folder on disk -> names and bytes of what is inside; Kaggle's layout on disk -> a zip."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from tqdm import tqdm

from deepfake_detector.data.archives import pack
from deepfake_detector.data.layout import PICTURES, ROOT, SPLITS
from deepfake_detector.data.lists import is_list
from deepfake_detector.data.volume import MAX_ENTRY_BYTES
from deepfake_detector.errors import ArchiveRejected

_LONGEST_LINE = 2**16  # bytes of a CSV file's first line; a list of labels has a short one


class Folder:
    """The files below a folder; read with the same limits as those in a zip."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        """List the files.

        Raises:
            ArchiveRejected: one is, or all together are, too large.
        """
        self.name, self._path = path.name, path
        files = sorted(file for file in path.rglob("*") if file.is_file())
        check_sizes(path, files, max_bytes)
        self.names = tuple(file.relative_to(path).as_posix() for file in files)

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        return (self._path / name).read_bytes()


def check_sizes(folder: Path, files: list[Path], max_bytes: int) -> None:
    """Refuse what is too large to be a set of portraits.

    Raises:
        ArchiveRejected: one file is, or all together are.
    """
    size = sum(file.stat().st_size for file in files)
    if size > max_bytes:
        raise ArchiveRejected(
            f"{folder} holds {size / 2**30:.2f} GiB", "raise download.max_unpacked_gib in params.yaml"
        )
    large = [file for file in files if file.stat().st_size > MAX_ENTRY_BYTES]
    if large:
        raise ArchiveRejected(
            f"{large[0]} has more than {MAX_ENTRY_BYTES} bytes", "remove it; no portrait and no list is so large"
        )


def pack_folder(folder: Path, to: Path, max_bytes: int) -> None:
    """Pack {train,valid,test}/{real,fake}, at any depth in `folder`, into a zip in Kaggle's layout.

    CSV files with labels, wherever they lie in `folder`, come along: `listed_labels` compares them with the folders.

    Raises:
        ArchiveRejected: the splits are not there exactly once, or the files are too large.
    """
    root = _find_root(folder)
    files = sorted(
        p for split in SPLITS for p in (root / split).rglob("*") if p.suffix.lower() in PICTURES and p.is_file()
    )
    lists = sorted(p for p in folder.rglob("*") if p.is_file() and is_list(p.name, _first_line(p)))
    check_sizes(folder, [*lists, *files], max_bytes)
    beside = ((p.relative_to(folder).as_posix(), p.read_bytes()) for p in lists)
    names = ((f"{ROOT}/{p.relative_to(root).as_posix()}", p.read_bytes()) for p in files)
    pack(to, chain(beside, tqdm(names, total=len(files), desc="packing", unit="img")))


def _first_line(file: Path) -> bytes:
    """Of a CSV file; of others nothing is read."""
    if file.suffix.lower() != ".csv":
        return b""
    with file.open("rb") as stream:
        return stream.readline(_LONGEST_LINE)


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
            f"name the folder that lies above {ROOT}; or, if it has a CSV file with labels, use kind: labelled",
        )
    return roots[0]
