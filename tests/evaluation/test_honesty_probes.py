"""Probes raise an alarm when they must, and only then."""

import numpy as np
import pytest

from deepfake_detector.evaluation.honesty_probes import (
    probe_background,
    probe_drift,
    probe_false_alarms,
    probe_resaving,
)
from deepfake_detector.evaluation.slices import measure_slices

LABELS = np.tile([0, 1], 200)
RIGHT = np.where(LABELS == 1, 0.9, 0.1)


def test_a_model_that_knows_the_file_loses_when_files_become_alike() -> None:
    coin = np.random.default_rng(0).random(400)
    probe = probe_resaving(RIGHT, coin, LABELS, 0.005)
    assert probe.alarm
    assert probe.certain
    assert probe.value.value == pytest.approx(((coin >= 0.5) == LABELS).mean() - 1)
    assert "points" in probe.told


def test_a_change_within_noise_is_an_uncertain_alarm() -> None:
    after = RIGHT.copy()
    after[:3] = 1 - after[:3]
    probe = probe_resaving(RIGHT, after, LABELS, 0.005)
    assert probe.alarm  # three of four hundred are 0.75 points
    assert not probe.certain


def test_no_change_is_no_alarm() -> None:
    probe = probe_resaving(RIGHT, RIGHT, LABELS, 0.005)
    assert (probe.alarm, probe.certain, probe.value.value) == (False, True, 0.0)


@pytest.mark.parametrize(("moved", "alarm"), [(0.01, False), (0.2, True)])
def test_drift_counts_distance_in_either_direction(moved: float, alarm: bool) -> None:
    signs = np.tile([1, 1, -1, -1], 100)
    probe = probe_drift("flipped", np.full(400, 0.5), 0.5 + moved * signs, 0.05)
    assert probe.value.value == pytest.approx(moved)
    assert (probe.alarm, probe.certain) == (alarm, True)
    assert "200 of 400 answers change sides" in probe.told


def test_a_background_as_good_as_the_whole_is_an_alarm() -> None:
    rng = np.random.default_rng(1)
    coin = rng.random(400)
    honest = probe_background(RIGHT, coin, RIGHT, LABELS, 0.05)
    shortcut = probe_background(RIGHT, RIGHT, coin, LABELS, 0.05)
    assert (honest.alarm, honest.certain) == (False, True)
    assert (shortcut.alarm, shortcut.certain) == (True, True)
    assert shortcut.value.value == 0.0
    assert "AUC 1.000 with the face covered" in shortcut.told


def test_false_alarms_of_every_source_and_their_mean() -> None:
    p = np.where(LABELS == 1, 0.9, 0.1)
    p[:40:2] = 0.95  # twenty of a hundred real ones of the first source
    slices = measure_slices(p, LABELS, {"source": ["a"] * 200 + ["b"] * 200, "size": ["s"] * 400}, 0.7)
    a, b, both = probe_false_alarms(slices, 0.05)
    assert (a.value.value, b.value.value, both.value.value) == (0.2, 0.0, 0.1)
    assert (a.alarm, a.certain) == (True, True)
    assert not b.alarm
    assert both.alarm
    assert both.value.low < 0.1 < both.value.high


def test_one_source_needs_no_mean() -> None:
    slices = measure_slices(RIGHT, LABELS, {"source": ["a"] * 400}, 0.7)
    assert [probe.name for probe in probe_false_alarms(slices, 0.05)] == ["real faces of a"]
