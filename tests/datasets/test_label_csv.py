"""Labels that an archive's own CSV files give are read by split and name, whatever the folder says."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from deepfake_detector.datasets.archive import ROOT, TABLE, pack
from deepfake_detector.datasets.label_csv import listed_labels

KAGGLE = b",original_path,id,label,label_str,path\n0,/x,a,0,fake,train/fake/a.jpg\n1,/x,b,1,real,train/real/b.jpg\n"


def labels(tmp_path: Path, files: dict[str, bytes], *names: str, folder: bool = False) -> list[float | None]:
    archive = tmp_path / "raw" / "faces.zip"
    archive.parent.mkdir(exist_ok=True)
    pack(archive, files.items())
    paths = [f"{ROOT}/{name}" for name in names]
    splits = [name.split("/")[0] for name in names]
    manifest = pd.DataFrame({"path": paths, "split": splits, "source": "faces" if folder else ""})
    found = listed_labels(manifest, archive.parent if folder else archive, 2**20)
    return [None if pd.isna(label) else label for label in found]


def test_kaggles_lists_are_read_and_a_moved_picture_keeps_its_listed_label(tmp_path: Path) -> None:
    names = ("train/fake/a.jpg", "train/fake/b.jpg", "train/real/a.jpg", "test/fake/a.jpg", "train/fake/c.jpg")
    for folder in (False, True):
        assert labels(tmp_path, {"train.csv": KAGGLE}, *names, folder=folder) == [1.0, 0.0, 1.0, None, None]


def test_a_picture_with_two_listed_labels_has_none(tmp_path: Path) -> None:
    both = KAGGLE + b"2,/x,a,1,real,train/real/a.jpg\n"
    assert labels(tmp_path, {"lists/train.csv": both}, "train/fake/a.jpg", "train/real/b.jpg") == [None, 0.0]


def test_other_tables_and_other_bytes_say_nothing(tmp_path: Path) -> None:
    files = {"a.csv": b"name,size\nx,1\n", "b.csv": b"\xff\xfe\x00", "c.csv": b"", "d.csv": b"path,label_str\n,\n"}
    assert labels(tmp_path, files, "train/fake/a.jpg") == [None]


def test_our_own_table_is_no_second_witness(tmp_path: Path) -> None:
    files = {TABLE: b"path,label_str,split,group\n", "train.csv": KAGGLE}
    assert labels(tmp_path, files, "train/fake/a.jpg") == [None]
