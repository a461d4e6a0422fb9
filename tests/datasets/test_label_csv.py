"""CSV files in an archive label its images by split and file name, whatever their folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from deepfake_detector.datasets.archive import KAGGLE_ROOT, LABELS_FILE
from deepfake_detector.datasets.label_csv import labels_from_csv
from deepfake_detector.datasets.safe_zip import write_zip

KAGGLE = b",original_path,id,label,label_str,path\n0,/x,a,0,fake,train/fake/a.jpg\n1,/x,b,1,real,train/real/b.jpg\n"


def labels(tmp_path: Path, files: dict[str, bytes], *names: str, folder: bool = False) -> list[float | None]:
    archive = tmp_path / "raw" / "faces.zip"
    archive.parent.mkdir(exist_ok=True)
    write_zip(archive, files.items())
    paths = [f"{KAGGLE_ROOT}/{name}" for name in names]
    splits = [name.split("/")[0] for name in names]
    manifest = pd.DataFrame({"path": paths, "split": splits, "source": "faces" if folder else ""})
    series = labels_from_csv(manifest, archive.parent if folder else archive, 2**20)
    return [None if pd.isna(label) else label for label in series]


def test_kaggles_csv_files_are_read_and_a_moved_image_keeps_its_label(tmp_path: Path) -> None:
    names = ("train/fake/a.jpg", "train/fake/b.jpg", "train/real/a.jpg", "test/fake/a.jpg", "train/fake/c.jpg")
    for folder in (False, True):
        assert labels(tmp_path, {"train.csv": KAGGLE}, *names, folder=folder) == [1.0, 0.0, 1.0, None, None]


def test_the_folder_counts_where_the_manifest_has_another_split(tmp_path: Path) -> None:
    """All pictures of a source with `use: test` are test pictures; its CSV file knows the archive's splits."""
    write_zip(tmp_path / "faces.zip", [("train.csv", KAGGLE)])
    row = {"path": f"{KAGGLE_ROOT}/train/real/a.jpg", "split": "test", "source": ""}
    assert list(labels_from_csv(pd.DataFrame([row]), tmp_path / "faces.zip", 2**20)) == [1.0]


def test_a_csv_file_labels_the_images_of_all_zips_of_its_source(tmp_path: Path) -> None:
    names = ("train/fake/a.jpg", "train/real/b.jpg")
    (tmp_path / "faces").mkdir()
    write_zip(tmp_path / "faces" / "part-0.zip", [("train.csv", KAGGLE)])
    for path in ("faces/part-1.zip", "other.zip"):
        write_zip(tmp_path / path, [(f"{KAGGLE_ROOT}/{name}", b"1") for name in names])
    rows = [
        {"path": f"{beginning}/{KAGGLE_ROOT}/{name}", "split": "train", "source": beginning.split("/")[0]}
        for beginning in ("faces/part-1", "other")
        for name in names
    ]
    series = labels_from_csv(pd.DataFrame(rows), tmp_path, 2**20)
    assert [None if pd.isna(label) else label for label in series] == [1.0, 0.0, None, None]


def test_an_image_with_two_labels_has_none(tmp_path: Path) -> None:
    both = KAGGLE + b"2,/x,a,1,real,train/real/a.jpg\n"
    assert labels(tmp_path, {"lists/train.csv": both}, "train/fake/a.jpg", "train/real/b.jpg") == [None, 0.0]


def test_other_csv_files_and_other_bytes_give_no_labels(tmp_path: Path) -> None:
    files = {"a.csv": b"name,size\nx,1\n", "b.csv": b"\xff\xfe\x00", "c.csv": b"", "d.csv": b"path,label_str\n,\n"}
    assert labels(tmp_path, files, "train/fake/a.jpg") == [None]


def test_with_our_own_labels_file_no_csv_gives_labels(tmp_path: Path) -> None:
    files = {LABELS_FILE: b"path,label_str,split,group\n", "train.csv": KAGGLE}
    assert labels(tmp_path, files, "train/fake/a.jpg") == [None]
