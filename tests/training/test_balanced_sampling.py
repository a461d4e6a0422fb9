"""Batches are half real, sources come by weight, related crops together, and nothing held out is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from deepfake_detector.errors import DataRejected
from deepfake_detector.preparation.partial_shards import IndexRow
from deepfake_detector.training.balanced_sampling import BalancedSampler, Draw

BATCH = 64


@dataclass(frozen=True)
class Made:
    """Pictures of one source in an index."""

    name: str
    reals: int
    fakes: int
    kind: str = "synthetic"
    copies: int = 0
    paired: bool = False
    split: str = "train"


def make_index(*sources: Made) -> pd.DataFrame:
    """Pictures with their copies; groups of three reals and two fakes in a paired source, else one per picture."""
    rows: list[IndexRow] = []
    for source in sources:
        for label, count in enumerate((source.reals, source.fakes)):
            for i in range(count):
                path = f"{source.name}/{source.split}/{label}-{i}.jpg"
                group = f"{source.name}/{i // (3, 2)[label]}" if source.paired else path
                kind = source.kind if label else ""
                rows += [
                    IndexRow(path, source.name, group, source.split, label, kind, copy, "s", 10 * len(rows), "", "")
                    for copy in range(source.copies + 1)
                ]
    return pd.DataFrame(rows, columns=list(IndexRow._fields)).sample(frac=1, random_state=0, ignore_index=True)


def draw(sampler: BalancedSampler, batches: int) -> list[list[Draw]]:
    return [sampler.draw(np.random.default_rng([7, i])) for i in range(batches)]


def shares(index: pd.DataFrame, batches: list[list[Draw]], label: int) -> dict[str, float]:
    rows = index.loc[[d.row for batch in batches for d in batch if not d.blended]]
    return dict(rows.loc[rows["label"] == label, "source"].value_counts(normalize=True))


INDEX = make_index(Made("large", 400, 400), Made("reals", 50, 0), Made("swaps", 90, 60, "swap", paired=True))
WEIGHTS = {"large": 2.0, "reals": 1.0, "swaps": 1.0}


@pytest.mark.parametrize(("batch_size", "blended_share"), [(64, 0.0), (64, 0.2), (63, 0.2), (2, 0.0), (8, 1.0)])
def test_half_of_each_batch_is_real(batch_size: int, blended_share: float) -> None:
    sampler = BalancedSampler(INDEX, WEIGHTS, batch_size, blended_share)
    for batch in draw(sampler, 20):
        labels = [1 if d.blended else int(INDEX["label"][d.row]) for d in batch]
        assert (len(labels), labels.count(0)) == (batch_size, batch_size // 2)
        assert sum(d.blended for d in batch) == round(blended_share * (batch_size // 2))


def test_sources_come_by_their_weights_whatever_their_size() -> None:
    batches = draw(BalancedSampler(INDEX, WEIGHTS, BATCH), 200)
    assert shares(INDEX, batches, 0) == pytest.approx({"large": 0.5, "reals": 0.25, "swaps": 0.25}, abs=0.001)
    assert shares(INDEX, batches, 1) == pytest.approx({"large": 2 / 3, "swaps": 1 / 3}, abs=0.003)
    for batch in batches:  # and never far from it in a single batch
        counts = Counter(INDEX["source"][d.row] for d in batch if INDEX["label"][d.row] == 1)
        assert abs(counts["large"] - 32 * 2 / 3) < 1.01


def test_even_a_source_with_a_tiny_weight_comes() -> None:
    batches = draw(BalancedSampler(INDEX, WEIGHTS | {"reals": 0.05}, BATCH), 400)
    assert shares(INDEX, batches, 0)["reals"] == pytest.approx(0.05 / 3.05, rel=0.1)


def test_real_and_fake_of_the_same_group_come_in_the_same_batch() -> None:
    for batch in draw(BalancedSampler(INDEX, WEIGHTS, BATCH), 20):
        rows = INDEX.loc[[d.row for d in batch]].query("source == 'swaps'")
        reals, fakes = (Counter(rows.loc[rows["label"] == label, "group"]) for label in (0, 1))
        assert sum((reals & fakes).values()) >= min(sum(reals.values()), sum(fakes.values())) > 0


def test_pictures_without_a_shared_group_are_drawn_singly() -> None:
    sampler = BalancedSampler(INDEX, WEIGHTS, BATCH)
    assert {name: bool(pictures.pairs) for name, pictures in sampler.sources.items()} == {
        "large": False, "reals": False, "swaps": True,
    }  # fmt: skip


def test_four_of_ten_crops_are_unchanged_and_the_others_matched_copies() -> None:
    index = make_index(Made("a", 60, 60, copies=3), Made("b", 60, 60))
    drawn = [d for batch in draw(BalancedSampler(index, {"a": 1, "b": 1}, BATCH, 0.25), 100) for d in batch]
    copies = index["copy"].to_numpy()[[d.row for d in drawn]]
    assert all((copy > 0) == d.matched for copy, d in zip(copies, drawn, strict=True))
    with_copies = [d for d in drawn if not d.blended and index["source"][d.row] == "a"]
    assert np.mean([d.matched for d in with_copies]) == pytest.approx(0.6, abs=0.02)
    assert set(copies) == {0, 1, 2, 3}
    blended = [d for d in drawn if d.blended]
    assert blended
    assert all(not d.matched and index["label"][d.row] == 0 for d in blended)


def test_a_blended_image_is_made_of_a_real_of_the_same_batch() -> None:
    index = make_index(Made("a", 600, 600, copies=3))
    for batch in draw(BalancedSampler(index, {"a": 1}, BATCH, 0.25), 10):
        shown = {index["path"][d.row] for d in batch if not d.blended}
        assert {index["path"][d.row] for d in batch if d.blended} <= shown


def test_every_picture_is_drawn_sooner_or_later() -> None:
    index = make_index(Made("a", 20, 20, copies=2), Made("b", 15, 10, paired=True))
    drawn = {d.row for batch in draw(BalancedSampler(index, {"a": 1, "b": 1}, BATCH), 60) for d in batch}
    assert drawn == set(index.index)


def test_held_out_pictures_and_sources_without_a_weight_are_never_drawn() -> None:
    index = make_index(Made("a", 30, 30), Made("a", 30, 30, split="valid"), Made("left_out", 99, 99))
    index.loc[index["path"] == "a/train/0-3.jpg", "shard"] = ""
    drawn = index.loc[[d.row for batch in draw(BalancedSampler(index, {"a": 1}, BATCH), 60) for d in batch]]
    assert set(drawn["source"]) == {"a"}
    assert set(drawn["split"]) == {"train"}
    assert "" not in set(drawn["shard"])


def test_the_same_random_state_gives_the_same_batch() -> None:
    first, second = (draw(BalancedSampler(INDEX, WEIGHTS, BATCH, 0.2), 3) for _ in range(2))
    assert first == second
    assert first[0] != first[1]


@pytest.mark.parametrize(
    ("source", "blended_share", "missing"),
    [(Made("a", 9, 0), 0.0, "fake"), (Made("a", 0, 9), 0.0, "real"), (Made("a", 9, 0), 0.5, "fake")],
)
def test_a_class_without_pictures_is_rejected(source: Made, blended_share: float, missing: str) -> None:
    with pytest.raises(DataRejected, match=f"no {missing} training picture in a"):
        BalancedSampler(make_index(source), {"a": 1.0}, BATCH, blended_share)


def test_reals_alone_are_enough_if_all_fakes_are_self_blended() -> None:
    weights: Mapping[str, float] = {"a": 1.0}
    sampler = BalancedSampler(make_index(Made("a", 40, 0)), weights, 8, 1.0)
    assert sum(d.blended for d in sampler.draw(np.random.default_rng(0))) == 4
