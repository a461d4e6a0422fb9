"""A search finds what is good, gives up what is not, and survives a kill as if nothing had happened."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from deepfake_detector.config import Tune, read_settings
from deepfake_detector.errors import BadInput, DataRejected, SettingsError
from deepfake_detector.training.tuning import SEARCHED, Attempt, GivenUp, Search, Tried

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def ranges() -> Tune:
    return replace(read_settings(PARAMS).tune, startup_trials=3, grace_epochs=1)


@pytest.fixture
def first() -> dict[str, float | int]:
    present = vars(read_settings(PARAMS).train)
    return {key: present[key] for key in SEARCHED}


def nothing(_: object) -> None: ...


def value(attempt: Attempt) -> float:
    """Best at a learning rate of 0.001 and no dropout."""
    return 1 - abs(math.log10(attempt.params["learning_rate"]) + 3) - 0.2 * attempt.params["dropout"]


def one_epoch(attempt: Attempt) -> None:
    attempt.report(1, value(attempt))


def test_the_present_settings_come_first_and_the_rest_lies_in_its_range(tmp_path, ranges, first) -> None:
    search = Search(tmp_path / "s.db", "a", ranges, first)
    search.run(12, one_epoch, nothing)
    tried = search.tried()
    assert tried[0].params == first
    assert [t.number for t in tried] == list(range(1, 13))
    for trial in tried:
        for key in ("learning_rate", "weight_decay", "dropout", "blend", "warmup_epochs"):
            low, high = getattr(ranges, key)
            assert low <= trial.params[key] <= high
        assert trial.params["batch_size"] in ranges.batch_size
        assert trial.params["ema_momentum"] in ranges.ema_momentum
        assert isinstance(trial.params["warmup_epochs"], int)
    assert len({str(t.params) for t in tried}) == 12


def test_the_best_is_the_highest_value_of_all_epochs_of_a_finished_trial(tmp_path, ranges, first) -> None:
    def rise_and_fall(attempt: Attempt) -> None:
        for epoch, value in enumerate((0.5, 0.6 + attempt.number / 100, 0.4), start=1):
            attempt.report(epoch, value)

    search = Search(tmp_path / "s.db", "a", ranges, first)
    assert search.best() is None
    search.run(3, rise_and_fall, nothing)
    best = search.best()
    assert (best.number, best.value, best.epochs) == (3, pytest.approx(0.63), 3)


def test_it_learns_where_to_look(tmp_path, ranges, first) -> None:
    search = Search(tmp_path / "s.db", "a", replace(ranges, startup_trials=8), first | {"learning_rate": 0.0002})
    search.run(40, one_epoch, nothing)
    away = [abs(math.log10(t.params["learning_rate"]) + 3) for t in search.tried()[1:]]
    assert sum(away[-15:]) < sum(away[:15])
    importance = search.importance()
    assert set(importance) == set(SEARCHED)
    assert sum(importance.values()) == pytest.approx(1)
    assert max(importance, key=importance.__getitem__) == "learning_rate"


def test_half_of_the_trials_is_given_up_when_it_lies_behind(tmp_path, ranges, first) -> None:
    def steady(attempt: Attempt) -> None:
        for epoch in range(1, 6):
            attempt.report(epoch, 0.9 if attempt.number <= 3 else 0.1)

    search = Search(tmp_path / "s.db", "a", ranges, first)
    search.run(5, steady, nothing)
    assert [t.state for t in search.tried()] == ["finished"] * 3 + ["given up"] * 2
    assert [t.epochs for t in search.tried()] == [5, 5, 5, 2, 2]  # after one epoch of grace
    assert search.best().number == 1


def test_a_failed_trial_is_counted_with_its_reason_and_never_the_best(tmp_path, ranges, first) -> None:
    def second_fails(attempt: Attempt) -> None:
        attempt.report(1, 0.5 + attempt.number / 10)
        if attempt.number == 2:
            raise DataRejected("too little data")

    def third_is_no_number(attempt: Attempt) -> None:
        attempt.report(1, math.nan if attempt.number == 3 else 0.6)

    search = Search(tmp_path / "s.db", "a", ranges, first)
    search.run(2, second_fails, nothing)
    search.run(4, third_is_no_number, nothing)
    assert [(t.state, t.reason) for t in search.tried()] == [
        ("finished", ""), ("failed", "too little data"), ("failed", "its values are no numbers"), ("finished", ""),
    ]  # fmt: skip
    assert search.best().number == 1  # the first of two equal ones


def test_trials_in_all_not_more(tmp_path, ranges, first) -> None:
    told: list[Tried] = []
    Search(tmp_path / "s.db", "a", ranges, first).run(2, one_epoch, told.append)
    again = Search(tmp_path / "s.db", "a", ranges, first)
    again.run(2, one_epoch, told.append)
    assert len(told) == 2
    again.run(3, one_epoch, told.append)
    assert [t.number for t in told] == [1, 2, 3]
    assert len(Search(tmp_path / "s.db", "another", ranges, first).tried()) == 0


@pytest.mark.parametrize("killed_in", [1, 2, 4])
def test_a_killed_search_goes_on_with_its_trial_and_ends_the_same(tmp_path, ranges, first, killed_in: int) -> None:
    begun: list[dict[str, float | int]] = []

    def killed(attempt: Attempt) -> None:
        begun.append(attempt.params)
        attempt.report(1, value(attempt))
        if attempt.number == killed_in:
            raise KeyboardInterrupt

    whole = Search(tmp_path / "whole.db", "a", ranges, first)
    whole.run(6, one_epoch, nothing)
    with pytest.raises(KeyboardInterrupt):
        Search(tmp_path / "s.db", "a", ranges, first).run(6, killed, nothing)
    search = Search(tmp_path / "s.db", "a", ranges, first)
    assert len(search.tried()) == killed_in - 1
    search.run(6, one_epoch, nothing)
    assert search.tried()[killed_in - 1].params == begun[-1]
    assert search.tried() == whole.tried()


def test_two_processes_do_not_search_at_once(tmp_path, ranges, first) -> None:
    other = Search(tmp_path / "s.db", "a", ranges, first)

    def meanwhile(attempt: Attempt) -> None:
        with pytest.raises(BadInput, match="another process"):
            other.run(5, one_epoch, nothing)
        one_epoch(attempt)

    Search(tmp_path / "s.db", "a", ranges, first).run(1, meanwhile, nothing)
    other.run(2, one_epoch, nothing)  # the lock is free again
    assert len(other.tried()) == 2


def test_notes_outlast_the_process(tmp_path, ranges, first) -> None:
    search = Search(tmp_path / "s.db", "a", ranges, first)
    assert search.recall("parent") is None
    search.remember("parent", "run 1")
    search.run(1, lambda attempt: (attempt.note("run_id", "child"), one_epoch(attempt)), nothing)
    again = Search(tmp_path / "s.db", "a", ranges, first)
    assert again.recall("parent") == "run 1"
    assert again.tried()[0].run_id == "child"


@pytest.mark.parametrize(("key", "value"), [("learning_rate", 0.1), ("batch_size", 48), ("warmup_epochs", 9)])
def test_present_settings_outside_the_ranges_are_refused(tmp_path, ranges, first, key: str, value: float) -> None:
    with pytest.raises(SettingsError, match=rf"train\.{key} is {value}, outside tune\.{key}"):
        Search(tmp_path / "s.db", "a", ranges, first | {key: value})


def test_values_that_tell_nothing_have_no_importance(tmp_path, ranges, first) -> None:
    search = Search(tmp_path / "s.db", "a", ranges, first)
    assert search.importance() == {}
    search.run(4, lambda attempt: attempt.report(1, 0.5), nothing)
    assert search.importance() == {}


def test_given_up_is_no_error_of_the_tree() -> None:
    assert not issubclass(GivenUp, BadInput)
