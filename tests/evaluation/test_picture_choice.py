"""Which pictures are degraded, and what their scores become."""

import numpy as np
import pandas as pd
import pytest

from deepfake_detector.datasets.archive import Entry
from deepfake_detector.evaluation.corruption_evaluation import Walked, choose, pictures_to_judge, score_road, wishes
from deepfake_detector.evaluation.corruption_grid import ALL


@pytest.fixture
def pictures() -> pd.DataFrame:
    rows = [(f"{s}/{i:02d}", "test", i % 2, f"g{i}", s) for s in ("a", "b") for i in range(20)]
    return pd.DataFrame(rows, columns=["path", "split", "label", "group", "source"])


def test_half_of_each_class_of_every_source_is_chosen(pictures) -> None:
    chosen = pictures[pictures["path"].isin(choose(pictures, 8, seed=1))]
    assert chosen.groupby(["source", "label"]).size().to_dict() == {("a", 0): 4, ("a", 1): 4, ("b", 0): 4, ("b", 1): 4}


def test_the_choice_depends_on_the_seed_and_on_no_order(pictures) -> None:
    first = choose(pictures, 8, seed=1)
    assert first == choose(pictures.iloc[::-1], 8, seed=1)
    assert first != choose(pictures, 8, seed=2)


def test_zero_means_all_and_few_are_all_there_are(pictures) -> None:
    assert choose(pictures, 0, 1) == choose(pictures, 1000, 1) == frozenset(pictures["path"])


def test_what_was_left_out_on_purpose_is_not_tested(pictures) -> None:
    why = ["", "faceless", "unfit", "unreadable", "listed", "copy"] + [""] * 34
    index = pd.DataFrame({"path": pictures["path"], "why": why})
    pictures.loc[39, "split"] = "train"
    tested = set(pictures_to_judge(pictures, index)["path"])
    assert set(pictures["path"]) - tested == {"a/04", "a/05", "b/19"}


def test_all_are_wanted_as_they_are_and_the_chosen_in_every_condition(pictures) -> None:
    wanted = dict(wishes(pictures, frozenset({"a/03"})))
    assert len(wanted) == 40
    entry = Entry("a/03", "test", 1, "g3", "a")
    assert wanted[entry] == tuple(ALL)
    assert {names for other, names in wanted.items() if other != entry} == {("clean",)}


def test_a_picture_counts_by_its_most_suspicious_face_and_none_is_no_score() -> None:
    def walked(path: str, greys: list[int]) -> Walked:
        stack = np.array(greys, np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
        return Walked(Entry(path, "test", 0, "", "s"), {"JPEG 50": stack, "clean": stack[:1]}, 100.0, 75)

    pictures = [walked(f"{i}", greys) for i, greys in enumerate([[51, 204, 102], [], [255]] * 4)]  # more than one call
    scored, facts = score_road(pictures, lambda crops: crops.mean(axis=(1, 2, 3)) / 255)
    by = scored.set_index(["condition", "path"])["p_fake"]
    assert by["JPEG 50", "0"] == 0.8
    assert by["clean", "0"] == 0.2
    assert np.isnan(by["clean", "1"])
    assert by["clean", "11"] == 1.0
    assert scored["condition"].tolist() == ["clean"] * 12 + ["JPEG 50"] * 12
    assert facts.loc[0].to_dict() == {"path": "0", "face_px": 100.0, "jpeg_quality": 75}
