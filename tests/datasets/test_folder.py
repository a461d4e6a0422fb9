"""A zip or folder with a CSV: its labels, splits and groups arrive; what does not fit is refused by line."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from deepfake_detector.datasets.archive import SPLITS, TABLE, Archive
from deepfake_detector.datasets.folder import pack_labelled
from deepfake_detector.errors import ArchiveRejected

LIMIT = 2**20


def make(folder: Path, table: str, pictures: list[str]) -> Path:
    for name in pictures:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (folder / "labels.csv").write_text(table, encoding="utf-8")
    return folder


def zipped(folder: Path, below: str = "") -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as file:
        for picture in sorted(p for p in folder.rglob("*") if p.is_file()):
            file.write(picture, below + picture.relative_to(folder).as_posix())
    return path


def many(groups: int, split: str = "") -> tuple[str, list[str]]:
    """A table of `groups` groups with one real and two fake pictures each."""
    names = [(f"{split}{label}/{g}-{n}.jpg", label[:4], f"g{g}") for g in range(groups)
             for label, n in (("real", 0), ("fake", 1), ("fake", 2))]  # fmt: skip
    lines = [",".join(row) for row in names]
    return "\n".join(["path,label_str,group", *lines]) + "\n", [row[0] for row in names]


def splits_of(packed: Path) -> dict[str, set[str]]:
    """Group -> the splits its pictures are in."""
    found: dict[str, set[str]] = {}
    with Archive(packed, LIMIT) as archive:
        for entry in archive.entries:
            found.setdefault(entry.group, set()).add(entry.split)
    return found


@pytest.mark.parametrize("below", ["", "faces/", "a/b/"])
def test_labels_groups_and_bytes_arrive_from_zip_and_folder(tmp_path: Path, below: str) -> None:
    rows = ("path,label_str,group,split", "x/1.jpg,Real,a,train", "x/2.png,fake,a,train", "3.jpg,fake,b,validation",
            "4.jpg,real,,test")  # fmt: skip
    table = "\n".join(rows) + "\n"
    folder = make(tmp_path / "in", table, ["x/1.jpg", "x/2.png", "3.jpg", "4.jpg"])
    assert pack_labelled(zipped(folder, below), tmp_path / "zip.zip", 0.2, LIMIT) == 0
    with Archive(tmp_path / "zip.zip", LIMIT) as archive:
        known = {e.path.removeprefix(below): (e.label, e.split, e.group) for e in archive.entries}
        assert known == {
            "x/1.jpg": (0, "train", "a"),
            "x/2.png": (1, "train", "a"),
            "3.jpg": (1, "valid", "b"),
            "4.jpg": (0, "test", ""),
        }
        assert {archive.read(e).decode() for e in archive.entries} == {"x/1.jpg", "x/2.png", "3.jpg", "4.jpg"}
    pack_labelled(folder, tmp_path / "folder.zip", 0.2, LIMIT)
    if not below:
        assert (tmp_path / "folder.zip").read_bytes() == (tmp_path / "zip.zip").read_bytes()


def test_splits_that_are_lacking_are_carved_by_whole_groups(tmp_path: Path) -> None:
    folder = make(tmp_path / "in", *many(400))
    pack_labelled(folder, tmp_path / "a.zip", 0.2, LIMIT)
    splits = splits_of(tmp_path / "a.zip")
    assert len(splits) == 400
    assert all(len(found) == 1 for found in splits.values())
    sizes = {split: sum(found == {split} for found in splits.values()) for split in SPLITS}
    for split in ("valid", "test"):  # 80 +- 4 standard deviations of a binomial
        assert 48 <= sizes[split] <= 112
    pack_labelled(folder, tmp_path / "b.zip", 0.2, LIMIT)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_split_that_is_there_is_left_alone_and_read_from_folders(tmp_path: Path) -> None:
    train, trained = many(100, "train/")
    test, tested = many(5, "test/")
    folder = make(tmp_path / "in", train + test.partition("\n")[2].replace(",g", ",t"), trained + tested)
    pack_labelled(folder, tmp_path / "a.zip", 0.2, LIMIT)
    splits = splits_of(tmp_path / "a.zip")
    assert {group for group, found in splits.items() if found == {"test"}} == {f"t{g}" for g in range(5)}
    assert any(found == {"valid"} for found in splits.values())
    assert all(len(found) == 1 for found in splits.values())


def test_pictures_that_the_table_does_not_name_are_counted(tmp_path: Path) -> None:
    folder = make(tmp_path / "in", "path,label_str\n1.jpg,real\n", ["1.jpg", "2.jpg", "3.png", "notes.txt"])
    assert pack_labelled(folder, tmp_path / "a.zip", 0.2, LIMIT) == 2


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("path,label_str\n1.jpg,real\n9.jpg,fake\n", "line 3 .*9.jpg.*no such picture"),
        ("path,label_str\n1.jpg,true\n", "line 2 .*'true', not real or fake"),
        ("path,label_str,split\n1.jpg,real,dev\n", "line 2 .*split 'dev'"),
        ("path,label_str\n1.jpg,real\n1.jpg,fake\n", "line 3 .*1.jpg again"),
        ("path,label_str\n../in/1.jpg,real\n", "no such picture"),
        ("path,label\n1.jpg,1\n", "one CSV file with labels.*none"),
        ("path,label_str\n", "rows in it"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_line(tmp_path: Path, table: str, said: str) -> None:
    folder = make(tmp_path / "in", table, ["1.jpg"])
    for place in (folder, zipped(folder)):
        with pytest.raises(ArchiveRejected, match=said):
            pack_labelled(place, tmp_path / "a.zip", 0.2, LIMIT)


def test_two_tables_and_too_much_data_are_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "in", "path,label_str\n1.jpg,real\n", ["1.jpg"])
    with pytest.raises(ArchiveRejected, match=r"max_unpacked_gib|limit"):
        pack_labelled(folder, tmp_path / "a.zip", 0.2, 10)
    (folder / "more.csv").write_text("path,label_str\n1.jpg,fake\n", encoding="utf-8")
    with pytest.raises(ArchiveRejected, match=r"labels\.csv.*more\.csv"):
        pack_labelled(folder, tmp_path / "a.zip", 0.2, LIMIT)


@pytest.mark.parametrize("row", ["gone.jpg,real,train,g", "1.jpg,real,dev,g", "1.jpg,maybe,train,g"])
def test_a_forged_table_of_ours_is_refused(tmp_path: Path, row: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("1.jpg", "1")
        file.writestr(TABLE, f"path,label_str,split,group\n{row}\n")
    with pytest.raises(ArchiveRejected, match=TABLE):
        Archive(tmp_path / "a.zip", LIMIT)
