"""Tables of predictions become scores in the order of the pictures' names, with the slices that the columns tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deepfake_detector.evaluation.prediction_table import MAX_KINDS, Scores, read_scores


def table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(path: Path, flag: float = 0.5) -> Scores:
    return read_scores(path, "t", flag)


def test_pictures_are_sorted_with_all_that_belongs_to_them(tmp_path: Path) -> None:
    scores = read(
        table(tmp_path / "p.csv", "path,label,p_fake,face size", "b/2.jpg,1,0.9,large", "a/1.jpg,0,0.2,small")
    )
    assert scores.paths == ("a/1.jpg", "b/2.jpg")
    assert scores.labels.tolist() == [0, 1]
    assert scores.p_fake.tolist() == [0.2, 0.9]
    assert {name: members.tolist() for name, members in scores.slices.items()} == {
        "source: a": [True, False],
        "source: b": [False, True],
        "face size: small": [True, False],
        "face size: large": [False, True],
    }


def test_a_source_column_is_believed_more_than_the_path(tmp_path: Path) -> None:
    scores = read(table(tmp_path / "p.csv", "path,label,p_fake,source", "a/1.jpg,0,0.2,mine", "a/2.jpg,1,0.3,mine"))
    assert list(scores.slices) == ["source: mine"]


def test_an_unknown_kind_belongs_nowhere_and_numbers_are_no_kinds(tmp_path: Path) -> None:
    rows = [f"{i}.jpg,{i % 2},0.5,{'' if i else 'x'},{i}.5" for i in range(MAX_KINDS + 1)]
    scores = read(table(tmp_path / "p.csv", "path,label,p_fake,compression,face_px", *rows))
    assert list(scores.slices) == ["compression: x"]
    assert scores.slices["compression: x"].sum() == 1


@pytest.mark.parametrize(("flag", "right"), [(0.5, [True, False]), (0.2, [False, True]), (0.21, [True, True])])
def test_right_is_judged_at_the_models_own_flag(tmp_path: Path, flag: float, right: list[bool]) -> None:
    scores = read(table(tmp_path / "p.csv", "path,label,p_fake", "a/1.jpg,0,0.2", "a/2.jpg,1,0.3"), flag)
    assert scores.right.tolist() == right


def test_some_of_the_pictures(tmp_path: Path) -> None:
    scores = read(table(tmp_path / "p.csv", "path,label,p_fake", *(f"a/{i}.jpg,{i % 2},0.{i}" for i in range(6))))
    few = scores.only(["a/5.jpg", "a/1.jpg", "elsewhere.jpg"])
    assert few.paths == ("a/1.jpg", "a/5.jpg")
    assert np.array_equal(few.p_fake, [0.1, 0.5])
    assert few.slices["source: a"].tolist() == [True, True]
    assert few.test_digest == "t"
