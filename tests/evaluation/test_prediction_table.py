"""Tables of predictions are read in the order of the paths, with a slice per value of each property."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepfake_detector.evaluation.prediction_table import MAX_VALUES, PredictionTable, read_predictions


def read(folder: Path, *lines: str, flag: float = 0.5) -> PredictionTable:
    path = folder / "predictions.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_predictions(path, "digest", flag)


def test_rows_are_sorted_by_path(tmp_path: Path) -> None:
    table = read(tmp_path, "path,label,p_fake,face size", "b/2.jpg,1,0.9,large", "a/1.jpg,0,0.2,small")
    assert table.paths == ("a/1.jpg", "b/2.jpg")
    assert table.labels.tolist() == [0, 1]
    assert table.p_fake.tolist() == [0.2, 0.9]
    assert {name: mask.tolist() for name, mask in table.slices.items()} == {
        "source: a": [True, False],
        "source: b": [False, True],
        "face size: small": [True, False],
        "face size: large": [False, True],
    }


def test_a_source_column_overrides_the_path(tmp_path: Path) -> None:
    table = read(tmp_path, "path,label,p_fake,source", "a/1.jpg,0,0.2,mine", "a/2.jpg,1,0.3,mine")
    assert list(table.slices) == ["source: mine"]


def test_empty_values_and_columns_of_numbers_make_no_slices(tmp_path: Path) -> None:
    rows = [f"{i}.jpg,{i % 2},0.5,{'' if i else 'x'},{i}.5" for i in range(MAX_VALUES + 1)]
    table = read(tmp_path, "path,label,p_fake,compression,face_px", *rows)
    assert list(table.slices) == ["compression: x"]
    assert table.slices["compression: x"].sum() == 1


@pytest.mark.parametrize(("flag", "correct"), [(0.5, [True, False]), (0.2, [False, True]), (0.21, [True, True])])
def test_predictions_are_compared_at_the_models_own_flag(tmp_path: Path, flag: float, correct: list[bool]) -> None:
    table = read(tmp_path, "path,label,p_fake", "a/1.jpg,0,0.2", "a/2.jpg,1,0.3", flag=flag)
    assert table.correct.tolist() == correct


def test_some_of_the_pictures_can_be_selected(tmp_path: Path) -> None:
    table = read(tmp_path, "path,label,p_fake", *(f"a/{i}.jpg,{i % 2},0.{i}" for i in range(6)))
    selected = table.select(["a/5.jpg", "a/1.jpg", "elsewhere.jpg"])
    assert selected.paths == ("a/1.jpg", "a/5.jpg")
    assert np.array_equal(selected.p_fake, [0.1, 0.5])
    assert selected.slices["source: a"].tolist() == [True, True]
    assert selected.test_digest == "digest"


def test_left_out_sources_are_those_of_the_column_use(tmp_path: Path) -> None:
    table = read(tmp_path, "path,label,p_fake,use", "b/2.jpg,1,0.9,test", "a/1.jpg,0,0.2,train", "a/3.jpg,1,0.5,train")
    assert table.left_out == {"b"}
    assert set(table.slices) == {"source: a", "source: b"}
    assert table.trained.paths == ("a/1.jpg", "a/3.jpg")
    assert table.decided is None
    decided = replace(table, clear=0.3).decided
    assert decided is not None
    assert decided.tolist() == [True, True, True]


def test_every_source_is_a_slice_however_many_there_are(tmp_path: Path) -> None:
    rows = [f"{n:02d}/x.jpg,1,0.9,{n}" for n in range(MAX_VALUES + 3)]
    table = read(tmp_path, "path,label,p_fake,camera", *rows)
    assert len([name for name in table.slices if name.startswith("source: ")]) == MAX_VALUES + 3
    assert not [name for name in table.slices if name.startswith("camera: ")]
