"""A search finds good settings, prunes bad trials, and continues after an interruption with the same trials."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from deepfake_detector.config import Tune, read_settings
from deepfake_detector.errors import BadInput, DataRejected, DetectorError, SettingsError
from deepfake_detector.training.tuning import TUNED_SETTINGS, RunningTrial, Search, TrialResult

Params = dict[str, float | int]
PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def ranges() -> Tune:
    return replace(read_settings(PARAMS).tune, startup_trials=3, grace_epochs=1)


@pytest.fixture
def first() -> Params:
    current = vars(read_settings(PARAMS).train)
    return {key: current[key] for key in TUNED_SETTINGS}


def ignore(_: object) -> None: ...


def value(trial: RunningTrial) -> float:
    """Best at a learning rate of 0.001 and no dropout."""
    return 1 - abs(math.log10(trial.params["learning_rate"]) + 3) - 0.2 * trial.params["dropout"]


def one_epoch(trial: RunningTrial) -> None:
    trial.report(1, value(trial))


def test_the_first_trial_has_the_current_settings_and_all_lie_in_their_ranges(
    tmp_path: Path, ranges: Tune, first: Params
) -> None:
    search = Search(tmp_path / "s.db", "a", ranges, first)
    search.run(12, one_epoch, ignore)
    results = search.results()
    assert results[0].params == first
    assert [t.number for t in results] == list(range(1, 13))
    for result in results:
        for key in ("learning_rate", "weight_decay", "dropout", "self_blend", "warmup_epochs"):
            low, high = getattr(ranges, key)
            assert low <= result.params[key] <= high
        assert result.params["batch_size"] in ranges.batch_size
        assert result.params["ema_momentum"] in ranges.ema_momentum
        assert isinstance(result.params["warmup_epochs"], int)
    assert len({str(t.params) for t in results}) == 12


def test_the_value_of_a_trial_is_the_highest_of_its_epochs(tmp_path: Path, ranges: Tune, first: Params) -> None:
    def rise_and_fall(trial: RunningTrial) -> None:
        for epoch, value in enumerate((0.5, 0.6 + trial.number / 100, 0.4), start=1):
            trial.report(epoch, value)

    search = Search(tmp_path / "s.db", "a", ranges, first)
    assert search.best() is None
    search.run(3, rise_and_fall, ignore)
    best = search.best()
    assert best is not None
    assert (best.number, best.epochs) == (3, 3)
    assert best.value == pytest.approx(0.63)


def test_later_trials_lie_closer_to_the_optimum(tmp_path: Path, ranges: Tune, first: Params) -> None:
    search = Search(tmp_path / "s.db", "a", replace(ranges, startup_trials=8), first | {"learning_rate": 0.0002})
    search.run(40, one_epoch, ignore)
    distance = [abs(math.log10(t.params["learning_rate"]) + 3) for t in search.results()[1:]]
    assert sum(distance[-15:]) < sum(distance[:15])
    importance = search.importance()
    assert set(importance) == set(TUNED_SETTINGS)
    assert sum(importance.values()) == pytest.approx(1)
    assert max(importance, key=importance.__getitem__) == "learning_rate"


def test_trials_below_the_median_are_pruned(tmp_path: Path, ranges: Tune, first: Params) -> None:
    def steady(trial: RunningTrial) -> None:
        for epoch in range(1, 6):
            trial.report(epoch, 0.9 if trial.number <= 3 else 0.1)

    search = Search(tmp_path / "s.db", "a", ranges, first)
    search.run(5, steady, ignore)
    assert [t.state for t in search.results()] == ["complete"] * 3 + ["pruned"] * 2
    assert [t.epochs for t in search.results()] == [5, 5, 5, 2, 2]  # grace_epochs is 1
    best = search.best()
    assert best is not None
    assert best.number == 1


def test_a_failed_trial_has_a_reason_and_is_never_the_best(tmp_path: Path, ranges: Tune, first: Params) -> None:
    def second_fails(trial: RunningTrial) -> None:
        trial.report(1, 0.5 + trial.number / 10)
        if trial.number == 2:
            raise DataRejected("too little data")

    def third_reports_nan(trial: RunningTrial) -> None:
        trial.report(1, math.nan if trial.number == 3 else 0.6)

    search = Search(tmp_path / "s.db", "a", ranges, first)
    search.run(2, second_fails, ignore)
    search.run(4, third_reports_nan, ignore)
    assert [(t.state, t.reason) for t in search.results()] == [
        ("complete", ""), ("failed", "too little data"), ("failed", "it reported no finite value"), ("complete", ""),
    ]  # fmt: skip
    best = search.best()
    assert best is not None
    assert best.number == 1  # the first of two equal ones


def test_the_number_of_trials_includes_those_of_earlier_calls(tmp_path: Path, ranges: Tune, first: Params) -> None:
    reported: list[TrialResult] = []
    Search(tmp_path / "s.db", "a", ranges, first).run(2, one_epoch, reported.append)
    second_call = Search(tmp_path / "s.db", "a", ranges, first)
    second_call.run(2, one_epoch, reported.append)
    assert len(reported) == 2
    second_call.run(3, one_epoch, reported.append)
    assert [t.number for t in reported] == [1, 2, 3]
    assert len(Search(tmp_path / "s.db", "another", ranges, first).results()) == 0


@pytest.mark.parametrize("interrupted_in", [1, 2, 4])
def test_an_interrupted_search_runs_the_same_trials_as_an_uninterrupted_one(
    tmp_path: Path, ranges: Tune, first: Params, interrupted_in: int
) -> None:
    started: list[Params] = []

    def interrupt(trial: RunningTrial) -> None:
        started.append(trial.params)
        trial.report(1, value(trial))
        if trial.number == interrupted_in:
            raise KeyboardInterrupt

    uninterrupted = Search(tmp_path / "whole.db", "a", ranges, first)
    uninterrupted.run(6, one_epoch, ignore)
    with pytest.raises(KeyboardInterrupt):
        Search(tmp_path / "s.db", "a", ranges, first).run(6, interrupt, ignore)
    search = Search(tmp_path / "s.db", "a", ranges, first)
    assert len(search.results()) == interrupted_in - 1
    search.run(6, one_epoch, ignore)
    assert search.results()[interrupted_in - 1].params == started[-1]
    assert search.results() == uninterrupted.results()


def test_two_processes_cannot_run_the_same_search(tmp_path: Path, ranges: Tune, first: Params) -> None:
    other = Search(tmp_path / "s.db", "a", ranges, first)

    def run_other(trial: RunningTrial) -> None:
        with pytest.raises(BadInput, match="another process"):
            other.run(5, one_epoch, ignore)
        one_epoch(trial)

    Search(tmp_path / "s.db", "a", ranges, first).run(1, run_other, ignore)
    other.run(2, one_epoch, ignore)  # the lock is released
    assert len(other.results()) == 2


def one_epoch_with_run_id(trial: RunningTrial) -> None:
    trial.set_user_attr("run_id", "child")
    one_epoch(trial)


def test_user_attributes_are_stored(tmp_path: Path, ranges: Tune, first: Params) -> None:
    search = Search(tmp_path / "s.db", "a", ranges, first)
    assert search.user_attr("parent") is None
    search.set_user_attr("parent", "run 1")
    search.run(1, one_epoch_with_run_id, ignore)
    second_call = Search(tmp_path / "s.db", "a", ranges, first)
    assert second_call.user_attr("parent") == "run 1"
    assert second_call.results()[0].run_id == "child"


@pytest.mark.parametrize(("key", "value"), [("learning_rate", 0.1), ("batch_size", 48), ("warmup_epochs", 9)])
def test_current_settings_outside_the_ranges_are_rejected(
    tmp_path: Path, ranges: Tune, first: Params, key: str, value: float
) -> None:
    with pytest.raises(SettingsError, match=rf"train\.{key} is {value}, outside tune\.{key}"):
        Search(tmp_path / "s.db", "a", ranges, first | {key: value})


def test_equal_values_give_no_importance(tmp_path: Path, ranges: Tune, first: Params) -> None:
    search = Search(tmp_path / "s.db", "a", ranges, first)
    assert search.importance() == {}
    search.run(4, lambda trial: trial.report(1, 0.5), ignore)
    assert search.importance() == {}


def test_pruning_does_not_fail_a_trial() -> None:
    assert not issubclass(optuna.TrialPruned, DetectorError)
