"""A folder in Kaggle's layout {train,valid,test}/{real,fake} -> one zip that `Archive` reads."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from tqdm import tqdm

from deepfake_detector.datasets.archive import IMAGE_SUFFIXES, KAGGLE_ROOT, SPLITS
from deepfake_detector.datasets.label_csv import is_label_csv
from deepfake_detector.datasets.safe_zip import MAX_MEMBER_BYTES, write_zip
from deepfake_detector.errors import ArchiveRejected

_MAX_HEADER_BYTES = 2**16  # of a CSV file's first line


def pack_folder(folder: Path, to: Path, max_bytes: int) -> None:
    """Pack {train,valid,test}/{real,fake}, at any depth in `folder`, into a zip in Kaggle's layout.

    CSV files with labels, anywhere in `folder`, are packed too: `labels_from_csv` compares them with the folders.

    Args:
        folder: holds the images.
        to: the zip to write.
        max_bytes: of all packed files together.

    Raises:
        ArchiveRejected: the splits are not there exactly once, or the files are too large.
    """
    root = _split_root(folder)
    images = sorted(
        p for split in SPLITS for p in (root / split).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()
    )
    label_csvs = sorted(p for p in folder.rglob("*") if p.is_file() and is_label_csv(p.name, _csv_header(p)))
    _check_file_sizes(folder, [*label_csvs, *images], max_bytes, MAX_MEMBER_BYTES)
    csv_files = ((p.relative_to(folder).as_posix(), p.read_bytes()) for p in label_csvs)
    image_files = ((f"{KAGGLE_ROOT}/{p.relative_to(root).as_posix()}", p.read_bytes()) for p in images)
    write_zip(to, chain(csv_files, tqdm(image_files, total=len(images), desc="packing", unit="img")))


class Folder:
    """The files of a folder, with the interface and the limits of `SafeZip`."""

    def __init__(self, path: Path, max_bytes: int, max_member_bytes: int = MAX_MEMBER_BYTES) -> None:
        """List the files.

        Args:
            path: the folder.
            max_bytes: of all files together.
            max_member_bytes: of one file.

        Raises:
            ArchiveRejected: a file, or all together, are too large.
        """
        self.name, self._path = path.name, path
        files = sorted(file for file in path.rglob("*") if file.is_file())
        _check_file_sizes(path, files, max_bytes, max_member_bytes)
        self.names = tuple(file.relative_to(path).as_posix() for file in files)

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        return (self._path / name).read_bytes()


def _check_file_sizes(folder: Path, files: list[Path], max_bytes: int, max_member_bytes: int) -> None:
    size = sum(file.stat().st_size for file in files)
    if size > max_bytes:
        raise ArchiveRejected(
            f"{folder} holds {size / 2**30:.2f} GiB, the limit is {max_bytes / 2**30:.2f} GiB",
            "raise download.max_unpacked_gib in params.yaml",
        )
    large = [file for file in files if file.stat().st_size > max_member_bytes]
    if large:
        raise ArchiveRejected(f"{large[0]} has more than {max_member_bytes} bytes", "remove it, or make it smaller")


def _csv_header(file: Path) -> bytes:
    """The first line of a CSV file; other files are not read."""
    if file.suffix.lower() != ".csv":
        return b""
    with file.open("rb") as stream:
        return stream.readline(_MAX_HEADER_BYTES)


def _split_root(folder: Path) -> Path:
    """The folder that holds train, valid and test: `folder` itself or one below it."""
    parents = {path.parent for path in (folder / "train", *folder.rglob("train"))}
    roots = sorted(parent for parent in parents if all((parent / split).is_dir() for split in SPLITS))
    if len(roots) != 1:
        content = [str(root) for root in roots] or sorted(p.name for p in folder.iterdir())[:8]
        raise ArchiveRejected(
            f"{folder} must hold the folders train, valid and test exactly once, at any depth; found {content}",
            f"name the folder above {KAGGLE_ROOT}; or, if it has a CSV file with labels, use kind: labelled",
        )
    return roots[0]
