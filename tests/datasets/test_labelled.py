"""A zip or folder with a CSV, or with folders real and fake, is packed with labels, splits and groups; or rejected."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from deepfake_detector.datasets.archive import LABELS_FILE, SPLITS, Archive
from deepfake_detector.datasets.labelled import pack_labelled
from deepfake_detector.errors import ArchiveRejected

LIMIT = 2**20


def write_folder(folder: Path, labels: str, images: list[str]) -> Path:
    for name in images:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (folder / "labels.csv").write_text(labels, encoding="utf-8")
    return folder


def zipped(folder: Path, below: str = "") -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as file:
        for member in sorted(p for p in folder.rglob("*") if p.is_file()):
            file.write(member, below + member.relative_to(folder).as_posix())
    return path


def labels_of_groups(groups: int, split: str = "") -> tuple[str, list[str]]:
    """A CSV, and the names of its images: one real and two fake ones in each group."""
    names = [(f"{split}{label}/{g}-{n}.jpg", label[:4], f"g{g}") for g in range(groups)
             for label, n in (("real", 0), ("fake", 1), ("fake", 2))]  # fmt: skip
    lines = [",".join(row) for row in names]
    return "\n".join(["path,label_str,group", *lines]) + "\n", [row[0] for row in names]


def splits_of(packed: Path) -> dict[str, set[str]]:
    """Group -> the splits of its images."""
    splits: dict[str, set[str]] = {}
    with Archive(packed, LIMIT) as archive:
        for entry in archive.entries:
            splits.setdefault(entry.group, set()).add(entry.split)
    return splits


@pytest.mark.parametrize("below", ["", "faces/", "a/b/"])
def test_labels_groups_and_bytes_of_a_zip_and_a_folder_are_packed(tmp_path: Path, below: str) -> None:
    rows = ("path,label_str,group,split", "x/1.jpg,Real,a,train", "x/2.png,fake,a,train", "3.jpg,fake,b,validation",
            "4.jpg,real,,test")  # fmt: skip
    folder = write_folder(tmp_path / "in", "\n".join(rows) + "\n", ["x/1.jpg", "x/2.png", "3.jpg", "4.jpg"])
    assert pack_labelled(zipped(folder, below), tmp_path / "zip.zip", 0.2, LIMIT) == 0
    with Archive(tmp_path / "zip.zip", LIMIT) as archive:
        entries = {e.path.removeprefix(below): (e.label, e.split, e.group) for e in archive.entries}
        assert entries == {
            "x/1.jpg": (0, "train", "a"),
            "x/2.png": (1, "train", "a"),
            "3.jpg": (1, "valid", "b"),
            "4.jpg": (0, "test", ""),
        }
        assert {archive.read(e).decode() for e in archive.entries} == {"x/1.jpg", "x/2.png", "3.jpg", "4.jpg"}
    pack_labelled(folder, tmp_path / "folder.zip", 0.2, LIMIT)
    if not below:
        assert (tmp_path / "folder.zip").read_bytes() == (tmp_path / "zip.zip").read_bytes()


def test_missing_splits_are_drawn_by_whole_groups(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "in", *labels_of_groups(400))
    pack_labelled(folder, tmp_path / "a.zip", 0.2, LIMIT)
    splits = splits_of(tmp_path / "a.zip")
    assert len(splits) == 400
    assert all(len(of_group) == 1 for of_group in splits.values())
    sizes = {split: sum(of_group == {split} for of_group in splits.values()) for split in SPLITS}
    for split in ("valid", "test"):  # 80 +- 4 standard deviations of a binomial
        assert 48 <= sizes[split] <= 112
    pack_labelled(folder, tmp_path / "b.zip", 0.2, LIMIT)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_existing_splits_are_kept_and_read_from_folder_names(tmp_path: Path) -> None:
    train, train_images = labels_of_groups(100, "train/")
    test, test_images = labels_of_groups(5, "test/")
    folder = write_folder(
        tmp_path / "in", train + test.partition("\n")[2].replace(",g", ",t"), train_images + test_images
    )
    pack_labelled(folder, tmp_path / "a.zip", 0.2, LIMIT)
    splits = splits_of(tmp_path / "a.zip")
    assert {group for group, of_group in splits.items() if of_group == {"test"}} == {f"t{g}" for g in range(5)}
    assert any(of_group == {"valid"} for of_group in splits.values())
    assert all(len(of_group) == 1 for of_group in splits.values())


def test_images_that_the_csv_does_not_name_are_counted(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "in", "path,label_str\n1.jpg,real\n", ["1.jpg", "2.jpg", "3.png", "notes.txt"])
    assert pack_labelled(folder, tmp_path / "a.zip", 0.2, LIMIT) == 2


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("path,label_str\n1.jpg,real\n9.jpg,fake\n", "line 3 .*9.jpg.*no such image"),
        ("path,label_str\n1.jpg,true\n", "line 2 .*'true', not real or fake"),
        ("path,label\n1.jpg,1\n", "line 2 .*'1', not real or fake"),
        ("path,label_str,split\n1.jpg,real,dev\n", "line 2 .*split 'dev'"),
        ("path,label_str\n1.jpg,real\n1.jpg,fake\n", "line 3 .*1.jpg again"),
        ("path,label_str\n../in/1.jpg,real\n", "no such image"),
        ("file,label\n1.jpg,real\n", r"labels\.csv in in\S* has the columns file, label; .*path and label_str"),
        ("path,class\n1.jpg,real\n", r"labels\.csv in in\S* has the columns path, class; .*path and label_str"),
        ("path,label_str\n", "has no rows"),
    ],
)
def test_bad_rows_are_rejected_by_line(tmp_path: Path, labels: str, message: str) -> None:
    folder = write_folder(tmp_path / "in", labels, ["1.jpg"])
    for source in (folder, zipped(folder)):
        with pytest.raises(ArchiveRejected, match=message):
            pack_labelled(source, tmp_path / "a.zip", 0.2, LIMIT)


def test_two_csv_files_and_too_many_bytes_are_rejected(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "in", "path,label_str\n1.jpg,real\n", ["1.jpg"])
    with pytest.raises(ArchiveRejected, match=r"max_unpacked_gib|limit"):
        pack_labelled(folder, tmp_path / "a.zip", 0.2, 10)
    (folder / "more.csv").write_text("path,label_str\n1.jpg,fake\n", encoding="utf-8")
    with pytest.raises(ArchiveRejected, match=r"labels\.csv.*more\.csv"):
        pack_labelled(folder, tmp_path / "a.zip", 0.2, LIMIT)


@pytest.mark.parametrize(
    "labels",
    [
        "path,label\n1.jpg,real\na/2.jpg,fake\n",
        "Path, Label\n1.jpg, Real\na/2.jpg, FAKE \n",
        "path;label_str\n1.jpg;real\na/2.jpg;fake\n",
        "\ufeffpath\tlabel\n1.jpg\treal\na\\2.jpg\tfake\n",
        "path,label,label_str\n1.jpg,1,real\na/2.jpg,0,fake\n",
    ],
)
def test_the_ways_in_which_spreadsheets_write_the_csv(tmp_path: Path, labels: str) -> None:
    folder = write_folder(tmp_path / "in", labels, ["1.jpg", "a/2.jpg"])
    assert pack_labelled(folder, tmp_path / "a.zip", 0.2, LIMIT) == 0
    with Archive(tmp_path / "a.zip", LIMIT) as archive:
        assert {entry.path: entry.label for entry in archive.entries} == {"1.jpg": 0, "a/2.jpg": 1}


@pytest.mark.parametrize("extra", ["", "notes.csv"])
def test_without_a_csv_the_folders_real_and_fake_are_the_labels(tmp_path: Path, extra: str) -> None:
    names = ["Real/1.jpg", "faces/fake/a/2.jpg", "other/3.jpg", "__MACOSX/real/._1.jpg", "test/fake/4.jpg"]
    folder = write_folder(tmp_path / "in", "", names)
    (folder / "labels.csv").unlink()
    if extra:
        (folder / extra).write_text("camera,year\nx,2026\n", encoding="utf-8")
    for source in (folder, zipped(folder)):
        assert pack_labelled(source, tmp_path / "a.zip", 0.2, LIMIT) == 1  # other/3.jpg
        with Archive(tmp_path / "a.zip", LIMIT) as archive:
            labels = {entry.path: (entry.label, entry.split) for entry in archive.entries}
        assert set(labels) == {"Real/1.jpg", "faces/fake/a/2.jpg", "test/fake/4.jpg"}
        assert labels["Real/1.jpg"][0] == 0
        assert labels["faces/fake/a/2.jpg"][0] == 1
        assert labels["test/fake/4.jpg"] == (1, "test")


def test_pictures_without_any_label_are_rejected_with_what_is_needed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "in", "", ["1.jpg"])
    (folder / "labels.csv").unlink()
    with pytest.raises(ArchiveRejected, match=r"(?s)no CSV file with labels.*no folders real and fake.*docs/data\.md"):
        pack_labelled(folder, tmp_path / "a.zip", 0.2, LIMIT)


@pytest.mark.parametrize("row", ["gone.jpg,real,train,g", "1.jpg,real,dev,g", "1.jpg,maybe,train,g"])
def test_a_forged_labels_file_is_rejected(tmp_path: Path, row: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("1.jpg", "1")
        file.writestr(LABELS_FILE, f"path,label_str,split,group\n{row}\n")
    with pytest.raises(ArchiveRejected, match=LABELS_FILE):
        Archive(tmp_path / "a.zip", LIMIT)
