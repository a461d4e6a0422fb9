"""Archives that are unsafe, damaged or laid out otherwise are refused, by the name of the entry."""

from __future__ import annotations

import pickle
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from deepfake_detector.datasets.archive import MAX_ENTRY_BYTES, ROOT, Archive, Entry, pack
from deepfake_detector.errors import ArchiveRejected
from deepfake_detector.io import atomic_write

GOOD = f"{ROOT}/train/real/a.jpg"
LIMIT = 2**30


def write(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def refused(path: Path, limit: int = LIMIT) -> str:
    with pytest.raises(ArchiveRejected) as caught:
        Archive(path, limit)
    assert caught.value.exit_code == 1
    return str(caught.value)


def test_entries_are_sorted_and_read_back(tmp_path: Path) -> None:
    names = {f"{ROOT}/valid/fake/b.png": b"2", GOOD: b"1", "train.csv": b"x", f"{ROOT}/train/real/notes.txt": b"x"}
    with Archive(write(tmp_path / "a.zip", names), LIMIT) as archive:
        assert archive.entries == (Entry(GOOD, "train", 0), Entry(f"{ROOT}/valid/fake/b.png", "valid", 1))
        assert [archive.read(entry) for entry in archive.entries] == [b"1", b"2"]
        assert archive.counts()["valid"] == {"real": 0, "fake": 1}


@pytest.mark.parametrize(
    "name", ["../../evil.jpg", "/etc/evil.jpg", "C:/evil.jpg", f"{ROOT}/train/../../../../evil.jpg", "a\\..\\evil.jpg"]
)
def test_entries_that_climb_out_are_refused(tmp_path: Path, name: str) -> None:
    assert "climbs out" in refused(write(tmp_path / "a.zip", {GOOD: b"1", name: b"x"}))


def test_links_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo(f"{ROOT}/train/real/link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    message = refused(tmp_path / "a.zip")
    assert "link.jpg" in message
    assert "is a link" in message


def test_encrypted_entries_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {GOOD: b"1"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "is encrypted" in refused(path)


def test_compression_that_is_seldom_met_is_refused_before_reading(tmp_path: Path) -> None:
    assert "only stored and deflated are" in refused(write(tmp_path / "a.zip", {GOOD: b"1" * 99}, zipfile.ZIP_BZIP2))


def test_a_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {GOOD: bytes(4 * 2**20)}, zipfile.ZIP_DEFLATED)
    assert "zip bomb" in refused(path)


def test_an_entry_too_large_to_be_a_picture_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {GOOD: b"1"})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 20 : at + 28] = struct.pack("<II", MAX_ENTRY_BYTES, MAX_ENTRY_BYTES + 1)
    path.write_bytes(data)
    assert str(MAX_ENTRY_BYTES + 1) in refused(path)


def test_all_entries_together_are_limited(tmp_path: Path) -> None:
    names = {f"{ROOT}/train/real/{i}.jpg": bytes(1000) for i in range(5)}
    assert "max_unpacked_gib" in refused(write(tmp_path / "a.zip", names), limit=4000)


def test_a_forged_size_is_found_while_reading(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {GOOD: bytes(range(256)) * 40}, zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 300)  # says 300 bytes, unpacks to 10,240
    path.write_bytes(data)
    with Archive(path, LIMIT) as archive, pytest.raises(ArchiveRejected, match=r"a\.jpg"):
        archive.read(archive.entries[0])


def test_a_changed_byte_is_found_while_reading(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {GOOD: b"picture" * 100})
    data = bytearray(path.read_bytes())
    data[data.index(b"picture") + 50] ^= 1
    path.write_bytes(data)
    with Archive(path, LIMIT) as archive, pytest.raises(ArchiveRejected, match=r"a\.jpg.*CRC"):
        archive.read(archive.entries[0])


def test_a_deflated_entry_and_one_behind_other_bytes_are_read(tmp_path: Path) -> None:
    picture = bytes(range(256)) * 40
    path = write(tmp_path / "a.zip", {GOOD: picture}, zipfile.ZIP_DEFLATED)
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())  # a zip that unpacks itself
    with Archive(path, LIMIT) as archive:
        assert archive.read(archive.entries[0]) == picture


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_table_that_points_nowhere_is_found_while_reading(tmp_path: Path, compression: int) -> None:
    path = write(tmp_path / "a.zip", {GOOD: b"picture" * 100}, compression)
    data = bytearray(path.read_bytes())
    data[:4] = b"none"
    path.write_bytes(data)
    with Archive(path, LIMIT) as archive, pytest.raises(ArchiveRejected, match=r"a\.jpg.*no file begins"):
        archive.read(archive.entries[0])
    with Archive(path, LIMIT) as archive, pytest.raises(ArchiveRejected, match=r"b\.jpg is not in a\.zip"):
        archive.read(Entry(f"{ROOT}/train/real/b.jpg", "train", 0))


def test_a_cut_file_and_a_text_file_are_no_archives(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {GOOD: b"1" * 1000})
    (tmp_path / "cut.zip").write_bytes(path.read_bytes()[:600])
    (tmp_path / "text.zip").write_text("hello")
    assert "cut.zip" in refused(tmp_path / "cut.zip")
    assert "text.zip" in refused(tmp_path / "text.zip")


def test_another_layout_is_refused_and_shown(tmp_path: Path) -> None:
    message = refused(write(tmp_path / "a.zip", {"cats/1.jpg": b"1", "dogs/2.jpg": b"1"}))
    assert "cats" in message
    assert ROOT in message


def test_packing_depends_on_nothing_but_the_files(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        pack(tmp_path / name, [(GOOD, b"1"), ("x/y.txt", b"2")])
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.zip"
    target.write_text("old")

    def fail() -> None:
        with atomic_write(target) as fresh:
            fresh.write_text("half")
            raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_of_archives_names_every_picture_once(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for source in ("b", "a"):
        write(tmp_path / "raw" / f"{source}.zip", {GOOD: source.encode()})
    with Archive(tmp_path / "raw", LIMIT) as archive:
        assert archive.entries == tuple(Entry(f"{s}/{GOOD}", "train", 0, "", s) for s in "ab")
        assert [archive.read(entry) for entry in archive.entries] == [b"a", b"b"]
        assert archive.counts()["train"] == {"real": 2, "fake": 0}
        places = [archive.place(entry) for entry in archive.entries]
    assert places[0].stamp != places[1].stamp
    assert [place.read() for place in pickle.loads(pickle.dumps(places))] == [b"a", b"b"]  # as in another process


def test_one_bad_archive_spoils_the_folder_and_an_empty_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    assert "no archive lies in" in refused(tmp_path / "raw")
    write(tmp_path / "raw" / "good.zip", {GOOD: b"1"})
    write(tmp_path / "raw" / "zz.zip", {GOOD: b"1", "../../evil.jpg": b"x"})
    message = refused(tmp_path / "raw")
    assert "zz.zip" in message
    assert "../../evil.jpg" in message
