"""Streams with a known change: what the report says of them, and how often it is wrong about a stream without one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepfake_detector.model.bundle_profile import Profile
from deepfake_detector.monitoring.drift import ModelDrift, model_drift
from deepfake_detector.monitoring.expectations import check_distances
from deepfake_detector.monitoring.fake_share import estimate_fake_share
from deepfake_detector.monitoring.measurements import ALPHA, measure
from deepfake_detector.monitoring.reference import profile_reference

# Great Expectations imports modules that Python 3.11 calls deprecated (sre_constants, sre_parse).
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

WEEKS, WEEK_PICTURES = 200, 1750
SHA256 = "a" * 64


@pytest.fixture(scope="module")
def drift_of(world: Callable[..., Any], profile: Profile) -> Callable[..., ModelDrift]:
    """The drift of a week in a changed world."""

    def make(n: int = WEEK_PICTURES, seed: int = 5, **changed: float) -> ModelDrift:
        answers = world(**changed).draw(n, np.random.default_rng(seed), days=7)
        return model_drift(SHA256, answers, profile_reference(profile))

    return make


def moved(drift: ModelDrift) -> set[str]:
    return set(drift.measurements.table.loc[sorted(drift.drifted_rows), "quantity"])


def test_a_week_like_the_profile_is_quiet(drift_of: Callable[..., ModelDrift]) -> None:
    drift = drift_of()
    assert drift.verdict == "quiet"
    assert drift.fake_share is not None
    assert drift.fake_share.low <= 0.3 <= drift.fake_share.high


def test_smaller_faces_are_drift_and_named(drift_of: Callable[..., ModelDrift]) -> None:
    drift = drift_of(face_px=110.0)
    assert drift.verdict == "covariate shift"
    assert moved(drift) == {"largest_face_px"}
    assert any(sentence.startswith("face sizes moved") for sentence in drift.summary)


def test_a_new_generator_is_drift(drift_of: Callable[..., ModelDrift]) -> None:
    drift = drift_of(miss=0.9)
    assert drift.verdict == "covariate shift"
    assert {"p_fake", "sharpness"} <= moved(drift)
    assert any("refuted" in sentence for sentence in drift.summary)


def test_twice_as_many_fakes_are_prior_shift(drift_of: Callable[..., ModelDrift]) -> None:
    drift = drift_of(fake_share=0.6)
    assert drift.verdict == "prior shift"
    assert "p_fake" in moved(drift)
    assert not drift.unexplained_rows
    assert drift.fake_share is not None
    assert drift.fake_share.low < 0.6 < drift.fake_share.high
    assert drift.fake_share.high - drift.fake_share.low < 0.08


def test_a_change_of_one_day_is_found_in_its_week(world: Callable[..., Any], profile: Profile) -> None:
    rng = np.random.default_rng(8)
    week = world().draw(3500, rng, days=7)
    dark = week["day"] == "2026-11-04"
    week.loc[dark, "brightness"] -= 40
    drift = model_drift(SHA256, week, profile_reference(profile))
    assert drift.verdict == "covariate shift"
    found = drift.measurements.table.loc[sorted(drift.drifted_rows)]
    assert set(zip(found["window"], found["quantity"], strict=True)) == {("2026-11-04", "brightness")}


@pytest.mark.slow
def test_fewer_than_one_in_twenty_quiet_weeks_raise_an_alarm(world: Callable[..., Any], profile: Profile) -> None:
    """One run of the suite decides about all weeks: each row of distances knows its week."""
    reference, rng = profile_reference(profile), np.random.default_rng(42)
    tables = []
    for week in range(WEEKS):
        table = measure(world().draw(WEEK_PICTURES, rng, days=7), reference, resamples=0).table
        tables.append(table.assign(week=week))
    table = pd.concat(tables, ignore_index=True)
    assert table["p_value"].notna().mean() > 0.9
    alarms = table.loc[sorted(check_distances(table).failed), "week"].nunique()
    assert alarms < 0.05 * WEEKS
    # The limits on distances silence most; the tests alone must hold their level, too.
    significant = table.loc[table["p_adjusted"] < ALPHA, "week"].nunique()
    assert significant < 0.05 * WEEKS


def test_the_interval_of_the_share_covers_the_truth(world: Callable[..., Any], profile: Profile) -> None:
    reference, rng = profile_reference(profile), np.random.default_rng(3)
    covered = 0
    for _ in range(100):
        stream = world(fake_share=0.1).draw(1000, rng)["p_fake"].dropna().to_numpy()
        share = estimate_fake_share(stream, reference.scores, rng, 100)
        covered += share is not None and share.low <= 0.1 <= share.high
    assert covered >= 88
