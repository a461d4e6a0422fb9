"""The profile of a bundle, or answers of an earlier period -> what a stream is compared with, for any share of fakes.

The profile knows which of its pictures are fakes. Answers of a period do not: each counts as a fake with the
probability that its score gives it, at the share of fakes that was estimated for the period.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_detector.model.bundle_profile import FACE_COUNTS, QUANTITIES, GroupProfile, Profile, Quantity
from deepfake_detector.monitoring.distances import Floats
from deepfake_detector.monitoring.fake_share import ClassScores, estimate_fake_share, fake_probabilities

Category = Literal["faces", "unscored"]
CATEGORIES: tuple[Category, ...] = ("faces", "unscored")
_MIN_SHARE = 1e-3  # of either class: below it, a weight would let a handful of pictures stand for all


@dataclass(frozen=True, eq=False)
class Reference:
    """What a stream is compared with.

    Attributes:
        name: in words.
        values: quantity -> (m,) rising values.
        fake: quantity -> (m,) probability that the picture of each value is a fake.
        counts: category -> (2, k) pictures of each class, real ones first: with 0, 1, 2, 3 faces and with 4 or more;
            with a score and without one.
        fake_share: of its pictures; None if it has one class only.
        scores: of labelled pictures, from the profile.
    """

    name: str
    values: Mapping[Quantity, Floats]
    fake: Mapping[Quantity, Floats]
    counts: Mapping[Category, Floats]
    fake_share: float | None
    scores: ClassScores

    def class_weights(self, fake_share: float | None) -> Floats:
        """(2,) weights of real pictures and fakes with which this share of them are fakes; ones for None."""
        own = self.fake_share
        if fake_share is None or own is None:
            return np.ones(2)
        wanted = float(np.clip(fake_share, _MIN_SHARE, 1 - _MIN_SHARE))
        return np.array([(1 - wanted) / (1 - own), wanted / own])

    def weights(self, quantity: Quantity, fake_share: float | None) -> Floats:
        """(m,) weights of the values, see `class_weights`."""
        real, fake = self.class_weights(fake_share)
        return np.asarray(real + (fake - real) * self.fake[quantity])

    def weighted_counts(self, category: Category, fake_share: float | None) -> tuple[Floats, float]:
        """Counts (k,) at this share of fakes, and how many pictures they are worth."""
        weights, counts = self.class_weights(fake_share), self.counts[category]
        sizes = counts.sum(axis=1)
        size = float((weights @ sizes) ** 2 / (np.square(weights) @ sizes))
        return np.asarray(weights @ counts), size


def trained_groups(profile: Profile, sources: Collection[str]) -> Profile:
    """The groups of sources that were trained on, all of them if none was.

    Sources that were left out of training say how the model fails elsewhere: a stream like them is drift, and fakes of
    theirs that the model misses would make every share of fakes look larger.

    Args:
        profile: of all test pictures.
        sources: names of those that were trained on.
    """
    groups = tuple(group for group in profile.groups if group.source in sources)
    return profile.model_copy(update={"groups": groups}) if groups else profile


def profile_reference(profile: Profile) -> Reference:
    """The labelled pictures of a profile."""
    values, fake = dict[Quantity, Floats](), dict[Quantity, Floats]()
    for quantity in QUANTITIES:
        samples = [group.quantities[quantity].sample() for group in profile.groups]
        labels = [np.full(len(each), group.is_fake, float) for group, each in zip(profile.groups, samples, strict=True)]
        values[quantity], fake[quantity] = _rising(np.concatenate(samples), np.concatenate(labels))
    counts: dict[Category, Floats] = {
        "faces": _class_sums(profile, lambda group: np.array(group.faces, float)),
        "unscored": _class_sums(
            profile, lambda group: np.array([group.pictures - group.unscored, group.unscored], float)
        ),
    }
    scores = ClassScores(*(values["p_fake"][fake["p_fake"] == label] for label in (0, 1)))
    share = float(fake["p_fake"].mean()) if scores.usable else None
    return Reference("the profile of the model", values, fake, counts, share, scores)


def period_reference(answers: pd.DataFrame, profile: Profile, name: str) -> Reference:
    """The answers about pictures of an earlier period, by the model with this profile.

    Args:
        answers: rows of `LoggedAnswers.table` about pictures; at least one with a score.
        profile: its scores tell what fakes and real pictures score.
        name: of the period, in words.
    """
    scores = profile_reference(profile).scores
    p_fake = answers["p_fake"].to_numpy(np.float64)
    scored = ~np.isnan(p_fake)
    estimate = estimate_fake_share(p_fake[scored], scores, np.random.default_rng(0), 0)
    share = None if estimate is None else float(np.clip(estimate.value, _MIN_SHARE, 1 - _MIN_SHARE))
    probability = np.full(len(answers), 0.5 if share is None else share)
    if share is not None:
        probability[scored] = fake_probabilities(p_fake[scored], scores, share)
    values, fake = dict[Quantity, Floats](), dict[Quantity, Floats]()
    for quantity in QUANTITIES:
        column = answers[quantity].to_numpy(np.float64)
        known = ~np.isnan(column)
        values[quantity], fake[quantity] = _rising(column[known], probability[known])
    faces = np.minimum(answers["faces"].to_numpy(np.int64), FACE_COUNTS - 1)
    counts: dict[Category, Floats] = {
        "faces": _soft_counts(faces, probability, FACE_COUNTS),
        "unscored": _soft_counts((~scored).astype(np.int64), probability, 2),
    }
    return Reference(name, values, fake, counts, share, scores)


def stream_counts(answers: pd.DataFrame) -> dict[Category, Floats]:
    """Category -> (k,) counts of answers about pictures, as `Reference.counts` has them."""
    faces = np.minimum(answers["faces"].to_numpy(np.int64), FACE_COUNTS - 1)
    unscored = answers["p_fake"].isna().to_numpy().astype(np.int64)
    return {
        "faces": np.bincount(faces, minlength=FACE_COUNTS).astype(np.float64),
        "unscored": np.bincount(unscored, minlength=2).astype(np.float64),
    }


def _rising(values: Floats, fake: Floats) -> tuple[Floats, Floats]:
    order = np.argsort(values, kind="stable")
    return values[order], fake[order]


def _class_sums(profile: Profile, counts: Callable[[GroupProfile], Floats]) -> Floats:
    sides = [[counts(group) for group in profile.groups if group.is_fake is fake] for fake in (False, True)]
    width = len(counts(profile.groups[0]))
    return np.stack([np.sum(side, axis=0) if side else np.zeros(width) for side in sides])


def _soft_counts(categories: NDArray[np.int64], probability: Floats, width: int) -> Floats:
    return np.stack([np.bincount(categories, weights, minlength=width) for weights in (1 - probability, probability)])
