"""Unsafe, damaged and unknown archives are rejected with the name of the zip and of the entry."""

from __future__ import annotations

import pickle
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from deepfake_detector.datasets.archive import KAGGLE_ROOT, Archive, Entry
from deepfake_detector.datasets.safe_zip import MAX_MEMBER_BYTES, write_zip
from deepfake_detector.errors import ArchiveRejected

GOOD = f"{KAGGLE_ROOT}/train/real/a.jpg"
LIMIT = 2**30


def write_file(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def rejection(path: Path, limit: int = LIMIT) -> str:
    with pytest.raises(ArchiveRejected) as caught:
        Archive(path, limit)
    assert caught.value.exit_code == 1
    return str(caught.value)


def test_entries_are_sorted_and_read_back(tmp_path: Path) -> None:
    names = {
        f"{KAGGLE_ROOT}/valid/fake/b.png": b"2",
        GOOD: b"1",
        "train.csv": b"x",
        f"{KAGGLE_ROOT}/train/real/notes.txt": b"x",
    }
    with Archive(write_file(tmp_path / "a.zip", names), LIMIT) as archive:
        assert archive.entries == (Entry(GOOD, "train", 0), Entry(f"{KAGGLE_ROOT}/valid/fake/b.png", "valid", 1))
        assert [archive.read(entry) for entry in archive.entries] == [b"1", b"2"]
        assert archive.counts()["valid"] == {"real": 0, "fake": 1}


@pytest.mark.parametrize(
    "name",
    ["../../evil.jpg", "/etc/evil.jpg", "C:/evil.jpg", f"{KAGGLE_ROOT}/train/../../../../evil.jpg", "a\\..\\evil.jpg"],
)
def test_paths_that_leave_the_archive_are_rejected(tmp_path: Path, name: str) -> None:
    assert "leaves the archive" in rejection(write_file(tmp_path / "a.zip", {GOOD: b"1", name: b"x"}))


def test_links_are_rejected(tmp_path: Path) -> None:
    link = zipfile.ZipInfo(f"{KAGGLE_ROOT}/train/real/link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    message = rejection(tmp_path / "a.zip")
    assert "link.jpg" in message
    assert "is a link" in message


def test_encrypted_entries_are_rejected(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.zip", {GOOD: b"1"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "is encrypted" in rejection(path)


def test_other_compression_methods_are_rejected_before_reading(tmp_path: Path) -> None:
    assert "only stored and deflated are" in rejection(
        write_file(tmp_path / "a.zip", {GOOD: b"1" * 99}, zipfile.ZIP_BZIP2)
    )


def test_a_zip_bomb_is_rejected_before_it_unpacks(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.zip", {GOOD: bytes(4 * 2**20)}, zipfile.ZIP_DEFLATED)
    assert "zip bomb" in rejection(path)


def test_an_entry_too_large_to_be_an_image_is_rejected(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.zip", {GOOD: b"1"})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 20 : at + 28] = struct.pack("<II", MAX_MEMBER_BYTES, MAX_MEMBER_BYTES + 1)
    path.write_bytes(data)
    assert str(MAX_MEMBER_BYTES + 1) in rejection(path)


@pytest.mark.parametrize(("field", "value"), [(20, 5000), (42, 5000), (42, 2**32 - 2)])
def test_an_entry_outside_of_the_file_is_rejected(tmp_path: Path, field: int, value: int) -> None:
    """Its size in the archive, or its position, would have more read than there is."""
    path = write_file(tmp_path / "a.zip", {GOOD: b"1"})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + field
    data[at : at + 4] = struct.pack("<I", value)
    path.write_bytes(data)
    assert f"lies outside of the {len(data)} bytes" in rejection(path)


def test_the_total_unpacked_size_is_limited(tmp_path: Path) -> None:
    names = {f"{KAGGLE_ROOT}/train/real/{i}.jpg": bytes(1000) for i in range(5)}
    assert "max_unpacked_gib" in rejection(write_file(tmp_path / "a.zip", names), limit=4000)


def test_a_forged_size_is_detected_while_reading(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.zip", {GOOD: bytes(range(256)) * 40}, zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 300)  # declares 300 bytes, unpacks to 10,240
    path.write_bytes(data)
    with Archive(path, LIMIT) as archive, pytest.raises(ArchiveRejected, match=r"a\.jpg"):
        archive.read(archive.entries[0])


def test_a_changed_byte_is_detected_while_reading(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.zip", {GOOD: b"picture" * 100})
    data = bytearray(path.read_bytes())
    data[data.index(b"picture") + 50] ^= 1
    path.write_bytes(data)
    with Archive(path, LIMIT) as archive, pytest.raises(ArchiveRejected, match=r"a\.jpg.*CRC"):
        archive.read(archive.entries[0])


def test_deflated_entries_and_self_extracting_zips_are_read(tmp_path: Path) -> None:
    image = bytes(range(256)) * 40
    path = write_file(tmp_path / "a.zip", {GOOD: image}, zipfile.ZIP_DEFLATED)
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    with Archive(path, LIMIT) as archive:
        assert archive.read(archive.entries[0]) == image


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_table_of_contents_that_points_nowhere_is_detected_while_reading(tmp_path: Path, compression: int) -> None:
    path = write_file(tmp_path / "a.zip", {GOOD: b"picture" * 100}, compression)
    data = bytearray(path.read_bytes())
    data[:4] = b"none"
    path.write_bytes(data)
    with Archive(path, LIMIT) as archive, pytest.raises(ArchiveRejected, match=r"a\.jpg.*no file begins"):
        archive.read(archive.entries[0])
    with Archive(path, LIMIT) as archive, pytest.raises(ArchiveRejected, match=r"b\.jpg is not in a\.zip"):
        archive.read(Entry(f"{KAGGLE_ROOT}/train/real/b.jpg", "train", 0))


def test_truncated_zips_and_text_files_are_rejected(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.zip", {GOOD: b"1" * 1000})
    (tmp_path / "truncated.zip").write_bytes(path.read_bytes()[:600])
    (tmp_path / "text.zip").write_text("hello")
    assert "truncated.zip" in rejection(tmp_path / "truncated.zip")
    assert "text.zip" in rejection(tmp_path / "text.zip")


def test_an_unknown_layout_is_rejected_and_shown(tmp_path: Path) -> None:
    message = rejection(write_file(tmp_path / "a.zip", {"cats/1.jpg": b"1", "dogs/2.jpg": b"1"}))
    assert "cats" in message
    assert KAGGLE_ROOT in message


def test_the_same_files_give_the_same_zip(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        write_zip(tmp_path / name, [(GOOD, b"1"), ("x/y.txt", b"2")])
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_paths_are_unique_in_a_folder_of_archives(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for source in ("b", "a"):
        write_file(tmp_path / "raw" / f"{source}.zip", {GOOD: source.encode()})
    with Archive(tmp_path / "raw", LIMIT) as archive:
        assert archive.entries == tuple(Entry(f"{s}/{GOOD}", "train", 0, "", s) for s in "ab")
        assert [archive.read(entry) for entry in archive.entries] == [b"a", b"b"]
        assert archive.counts()["train"] == {"real": 2, "fake": 0}
        members = [archive.member(entry) for entry in archive.entries]
    assert members[0].fingerprint != members[1].fingerprint
    assert [member.read() for member in pickle.loads(pickle.dumps(members))] == [b"a", b"b"]  # as in another process


def test_a_folder_with_an_unsafe_archive_or_without_archives_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    assert "no archive lies in" in rejection(tmp_path / "raw")
    write_file(tmp_path / "raw" / "good.zip", {GOOD: b"1"})
    write_file(tmp_path / "raw" / "zz.zip", {GOOD: b"1", "../../evil.jpg": b"x"})
    message = rejection(tmp_path / "raw")
    assert "zz.zip" in message
    assert "../../evil.jpg" in message
