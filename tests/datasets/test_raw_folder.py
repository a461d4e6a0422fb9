"""data/raw: where the zips of each source lie, and pictures by their paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepfake_detector.datasets.archive import KAGGLE_ROOT, Archive, Entry
from deepfake_detector.datasets.raw_folder import RawPictures, source_of, source_zips
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.errors import ArchiveRejected

LIMIT = 2**30
NAME = f"{KAGGLE_ROOT}/train/real/1.jpg"
ZIPS = ("faces-b.zip", "faces/part-10.zip", "faces/part-2.zip", "a.zip")


def write_raw(raw: Path, zips: tuple[str, ...] = ZIPS) -> Path:
    for name in zips:
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        write_zip(raw / name, [(NAME, name.encode())])
    return raw


def test_a_source_is_one_zip_or_a_folder_of_zips(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw", (*ZIPS, "videos/clips.zip", ".faces.x1/new.zip"))
    assert list(source_zips(raw)) == ["a", "faces-b", "faces/part-10", "faces/part-2"]
    assert [source_of(beginning) for beginning in source_zips(raw)] == ["a", "faces-b", "faces", "faces"]
    assert source_zips(raw / "a.zip") == {"": raw / "a.zip"}


def test_pictures_are_read_by_the_paths_that_entries_have(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw")
    with Archive(raw, LIMIT) as archive, RawPictures(raw, LIMIT) as pictures:
        paths = [entry.path for entry in archive.entries]
        assert paths == sorted(paths)  # across sources and zips
        assert archive.entries[-1] == Entry(f"faces/part-2/{NAME}", "train", 0, "", "faces")
        contents = [b"a.zip", b"faces-b.zip", b"faces/part-10.zip", b"faces/part-2.zip"]
        assert [pictures.member(path).read() for path in paths] == contents
        assert [archive.read(entry) for entry in archive.entries] == contents
        for missing, message in ((f"faces/{NAME}", "no archive"), ("a/1.jpg", r"a\.zip"), ("b", "no archive")):
            with pytest.raises(ArchiveRejected, match=message):
                pictures.member(missing)


def test_an_unsafe_zip_of_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw")
    write_zip(raw / "faces" / "part-3.zip", [(NAME, b"1"), ("../../evil.jpg", b"x")])
    with pytest.raises(ArchiveRejected, match=r"evil\.jpg' of part-3\.zip"):
        RawPictures(raw, LIMIT)


def test_a_source_that_lies_there_twice_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", ("faces.zip", "faces/part-1.zip"))
    with pytest.raises(ArchiveRejected, match=r"faces\.zip and the folder faces"):
        source_zips(tmp_path / "raw")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArchiveRejected, match="no archive lies in"):
        source_zips(tmp_path / "empty")
