"""Streams of answers with a known truth: drawn from two classes, and the profile of pictures of the same classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from deepfake_detector.model.bundle_profile import QUANTITIES, Distribution, GroupProfile, Profile, Verdict

CLEAR, FLAG = 0.2, 0.8
SHA256 = "a" * 64


@dataclass(frozen=True)
class World:
    """Where pictures come from.

    Attributes:
        fake_share: of the pictures.
        face_px: median side of a face.
        miss: share of the fakes that come from a new generator, whose scores lie in the middle and whose pictures
            are sharper.
        faceless: share of the pictures without a face.
    """

    fake_share: float = 0.3
    face_px: float = 160.0
    miss: float = 0.0
    faceless: float = 0.05

    def draw(self, n: int, rng: np.random.Generator, days: int = 1) -> pd.DataFrame:
        """Answers about n pictures, with their labels, spread over days."""
        fake = rng.random(n) < self.fake_share
        new = fake & (rng.random(n) < self.miss)
        p_fake = np.where(fake, rng.beta(4, 1, n), rng.beta(1, 4, n))
        p_fake = np.where(new, rng.beta(6, 6, n), p_fake)
        sharpness = np.exp(rng.normal(5, 0.5, n) + 0.3 * fake + 1.5 * new)
        table = pd.DataFrame(
            {
                "day": [f"2026-11-{1 + i * days // n:02d}" for i in range(n)],
                "model_sha256": SHA256,
                "kind": "image",
                "p_fake": p_fake,
                "faces": 1 + (rng.random(n) < 0.2),
                "largest_face_px": np.exp(rng.normal(np.log(self.face_px), 0.4, n)),
                "brightness": np.clip(rng.normal(120, 30, n) + 10 * fake, 0, 255),
                "contrast": np.clip(rng.normal(50, 10, n), 0, 127),
                "sharpness": sharpness,
                "label": fake.astype(int),
            }
        )
        faceless = rng.random(n) < self.faceless
        table.loc[faceless, list(QUANTITIES)] = np.nan
        table.loc[faceless, "faces"] = 0
        table["verdict"] = [verdict(value) for value in table["p_fake"]]
        return table


def verdict(p_fake: float) -> Verdict:
    if p_fake >= FLAG:
        return "fake"
    return "real" if p_fake <= CLEAR else "inconclusive"


def profile_of(table: pd.DataFrame) -> Profile:
    """The profile of labelled answers; groups by label."""
    groups = []
    for label, rows in table.groupby("label"):
        verdicts = rows["verdict"].tolist()
        groups.append(
            GroupProfile(
                source="world",
                kind="synthetic" if label else "",
                pictures=len(rows),
                unscored=int(rows["p_fake"].isna().sum()),
                verdicts={"fake": verdicts.count("fake"), "real": verdicts.count("real"),
                          "inconclusive": verdicts.count("inconclusive")},
                faces=tuple(int(n) for n in np.bincount(np.minimum(rows["faces"], 4), minlength=5)),
                quantities={name: Distribution.of(rows[name].to_numpy(float)) for name in QUANTITIES},
            )
        )  # fmt: skip
    return Profile(groups=tuple(groups))


@pytest.fixture(autouse=True)
def _agg_backend() -> None:
    plt.switch_backend("Agg")


@pytest.fixture(scope="session")
def world() -> Callable[..., World]:
    """Makes worlds; the tests of this tree cannot import from here."""
    return World


@pytest.fixture(scope="session")
def profile() -> Profile:
    """Of 3,000 pictures of the default world."""
    return profile_of(World().draw(3000, np.random.default_rng(1)))
