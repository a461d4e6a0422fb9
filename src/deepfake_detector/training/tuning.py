"""Ranges of settings and what earlier trials gave -> what to try next, and when to give a trial up (Optuna).

A search is kept in a SQLite file after every epoch. One that was killed goes on with the trial that was running, and
then draws what it would have drawn: the sampler's seed hangs on the number of trials behind it.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from deepfake_detector.config import Settings, Tune
from deepfake_detector.errors import BadInput, DataRejected, DetectorError, SettingsError
from deepfake_detector.io import write_json
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.shards import Shards
from deepfake_detector.tracking.lineage import read_lineage
from deepfake_detector.tracking.runs import log_findings, note_outcome, start_search, trial_tags
from deepfake_detector.training.fit import WATCHED
from deepfake_detector.training.plan import course, follow, same_training
from deepfake_detector.training.search_figure import draw_search

Chosen = dict[str, float | int]  # key of params.yaml's `train` -> value
State = Literal["finished", "given up", "failed"]
_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "given up",
    TrialState.FAIL: "failed",
}
LOGARITHMIC, EVEN, CHOICES = ("learning_rate", "weight_decay"), ("dropout", "blend"), ("ema_momentum", "batch_size")
SEARCHED = (*LOGARITHMIC, *EVEN, *CHOICES, "warmup_epochs")
_KILLED = "killed"  # such a trial is tried again under another number of Optuna's and is not counted


class GivenUp(Exception):  # noqa: N818 - nothing is wrong
    """A trial that falls behind the earlier ones."""


@dataclass(frozen=True)
class Tried:
    """What became of one trial."""

    number: int  # from 1
    state: State
    value: float | None  # highest reported; None without any
    epochs: int  # that were reported
    params: Chosen
    run_id: str
    reason: str  # of a failed one, else ""


class Attempt:
    """A trial in progress."""

    def __init__(self, trial: optuna.Trial, number: int, params: Chosen) -> None:
        self.number, self.params = number, params
        self._trial, self._best = trial, -math.inf

    @property
    def best(self) -> float:
        """The highest value reported."""
        return self._best

    def note(self, key: str, value: str) -> None:
        """Keep something with the trial, for example where it is followed."""
        self._trial.set_user_attr(key, value)

    def report(self, epoch: int, value: float) -> None:
        """Tell a value of an epoch, from 1.

        Raises:
            GivenUp: half of the earlier trials were better at this epoch.
        """
        if not math.isfinite(value):
            return
        self._best = max(self._best, value)
        self._trial.report(value, epoch)
        if self._trial.should_prune():
            raise GivenUp


class Search:
    """A search in progress; higher values are better.

    Args:
        database: SQLite file; made if it is not there. Searches of other names in it are left alone.
        name: of the search; what it goes by must say all that makes values comparable.
        ranges: params.yaml's `tune`.
        first: the present settings, which are tried first, so that nothing worse is ever recommended.

    Raises:
        SettingsError: a present setting lies outside its range.
    """

    def __init__(self, database: Path, name: str, ranges: Tune, first: Mapping[str, float | int]) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        present: Chosen = {key: first[key] for key in SEARCHED}
        _check(ranges, present)
        database.parent.mkdir(parents=True, exist_ok=True)
        self.name, self._ranges, self._database = name, ranges, database
        pruner = optuna.pruners.MedianPruner(ranges.startup_trials, n_warmup_steps=ranges.grace_epochs + 1)
        self._study = optuna.create_study(
            storage=f"sqlite:///{database}", study_name=name, load_if_exists=True, direction="maximize", pruner=pruner
        )
        if not self._study.trials:
            self._study.enqueue_trial(present)

    def remember(self, key: str, value: str) -> None:
        """Keep something with the search."""
        self._study.set_user_attr(key, value)

    def recall(self, key: str) -> str | None:
        """What was kept under a key."""
        found: str | None = self._study.user_attrs.get(key)
        return found

    def tried(self) -> list[Tried]:
        """The trials behind the search, in their order."""
        ended = [t for t in self._study.trials if t.state in _STATES and _KILLED not in t.user_attrs]
        return [_tried(number, trial) for number, trial in enumerate(ended, start=1)]

    def best(self) -> Tried | None:
        """The finished trial of the highest value, the first of several."""
        finished = [t for t in self.tried() if t.state == "finished" and t.value is not None]
        return max(finished, key=lambda t: t.value or 0.0, default=None)

    def run(self, trials: int, try_out: Callable[[Attempt], None], on_tried: Callable[[Tried], None]) -> None:
        """Try until so many trials are behind the search, those of earlier calls included.

        Args:
            trials: in all.
            try_out: does one; what it reports is its value. An error of the tree in errors.py fails the trial and the
                search goes on; any other ends both, and the next call begins that trial again.
            on_tried: called after each.

        Raises:
            BadInput: another process is at it.
        """
        with _alone(self._database.with_suffix(".lock")):
            self._take_up()
            while (behind := len(self.tried())) < trials:
                self._study.sampler = optuna.samplers.TPESampler(
                    seed=self._ranges.seed + behind, n_startup_trials=self._ranges.startup_trials
                )
                trial = self._study.ask()
                attempt = Attempt(trial, behind + 1, _draw(trial, self._ranges))
                state = _outcome(attempt, try_out)
                self._study.tell(trial, attempt.best if state == TrialState.COMPLETE else None, state)
                on_tried(self.tried()[-1])

    def importance(self) -> dict[str, float]:
        """Share of the values' variance that each setting explains (fANOVA); empty when the values tell nothing yet."""
        values = {t.value for t in self.tried() if t.state == "finished"}
        if len(values) < 2:
            return {}
        judge = optuna.importance.FanovaImportanceEvaluator(seed=self._ranges.seed)
        return dict(optuna.importance.get_param_importances(self._study, evaluator=judge))

    def _take_up(self) -> None:
        """Put the trial of a killed process in front of the queue."""
        for stale in self._study.get_trials(states=(TrialState.RUNNING,)):
            trial = optuna.Trial(self._study, stale._trial_id)
            trial.set_user_attr(_KILLED, "true")
            self._study.tell(trial, state=TrialState.FAIL)
            if stale.params:
                self._study.enqueue_trial(stale.params)


def _outcome(attempt: Attempt, try_out: Callable[[Attempt], None]) -> TrialState:
    try:
        try_out(attempt)
    except GivenUp:
        return TrialState.PRUNED
    except DetectorError as error:
        attempt.note("reason", error.message)
        return TrialState.FAIL
    if math.isfinite(attempt.best):
        return TrialState.COMPLETE
    attempt.note("reason", "its values are no numbers")
    return TrialState.FAIL


def _draw(trial: optuna.Trial, ranges: Tune) -> Chosen:
    chosen: Chosen = {key: trial.suggest_float(key, *getattr(ranges, key), log=True) for key in LOGARITHMIC}
    chosen |= {key: trial.suggest_float(key, *getattr(ranges, key)) for key in EVEN}
    chosen |= {key: trial.suggest_categorical(key, getattr(ranges, key)) for key in CHOICES}
    return chosen | {"warmup_epochs": trial.suggest_int("warmup_epochs", *ranges.warmup_epochs)}


def _check(ranges: Tune, present: Mapping[str, float | int]) -> None:
    for key, value in present.items():
        allowed: tuple[Any, ...] = getattr(ranges, key)
        if value not in allowed if key in CHOICES else not allowed[0] <= value <= allowed[1]:
            raise SettingsError(
                f"train.{key} is {value}, outside tune.{key} {list(allowed)}",
                "widen the range: the search begins with the present settings, so as never to end with worse ones",
            )


def _tried(number: int, trial: FrozenTrial) -> Tried:
    values = [value for value in trial.intermediate_values.values() if math.isfinite(value)]
    return Tried(
        number, _STATES[trial.state], max(values, default=None), len(values), dict(trial.params),
        str(trial.user_attrs.get("run_id", "")), str(trial.user_attrs.get("reason", "")),
    )  # fmt: skip


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock that the system gives back when its holder dies."""
    with closing(sqlite3.connect(lock, timeout=0, isolation_level=None)) as held:
        try:
            held.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise BadInput("another process is at this search", "wait for it, or stop it") from error
        yield


PARENT_RUN = "parent_run_id"


def tune(workspace: Workspace, settings: Settings, shards: Shards, trials: int) -> None:
    """Search until `trials` trials are behind it in all, and write down what was found after each.

    Raises:
        DataRejected: no trial of them finished.
    """
    fixed = {key: value for key, value in asdict(settings.train).items() if key not in SEARCHED}
    name = same_training(workspace, settings, shards, "tune", [fixed, asdict(settings.tune)])
    search = Search(workspace.tuning / "searches.db", name, settings.tune, asdict(settings.train))
    shared = fixed | {f"range_{key}": value for key, value in asdict(settings.tune).items()}
    title, lineage = f"tune-{settings.train.network}-{settings.train.epochs}ep", read_lineage(workspace.root)
    with start_search(settings.register.experiment, title, shared, lineage, search.recall(PARENT_RUN)) as parent:
        search.remember(PARENT_RUN, parent.run_id)

        def tell(tried: Tried) -> None:
            print(_line(tried, search.best()), flush=True)
            if tried.run_id:
                note_outcome(tried.run_id, tried.state, tried.value)
            if search.best():
                _write(workspace, settings, search, parent.run_id)

        print(f"{len(search.tried())} of {trials} trials are known from earlier calls", flush=True)
        search.run(trials, lambda attempt: _try_out(workspace, settings, shards, parent.run_id, attempt), tell)
    best = search.best()
    if best is None:
        raise DataRejected(
            f"none of {trials} trials finished: {search.tried()[-1].reason}", "mend what the reason says"
        )
    _write(workspace, settings, search, parent.run_id)
    print(f"\nbest of {len(search.tried())} trials: {WATCHED} {best.value:.4f}\n{command(best.params, settings)}")


def command(params: Mapping[str, float | int], settings: Settings) -> str:
    """What trains with these settings, as one types it."""
    # YAML takes 1e-05 for a word, so numbers are written out.
    numbers = {key: value if isinstance(value, int) else np.format_float_positional(value, trim="0")
               for key, value in params.items()}  # fmt: skip
    changed = numbers | {"epochs": settings.train.epochs}
    return "dvc exp run " + " ".join(f"-S train.{key}={value}" for key, value in sorted(changed.items()))


def _try_out(workspace: Workspace, settings: Settings, shards: Shards, parent_run_id: str, attempt: Attempt) -> None:
    """One training, as the stage `train` does it, but that nothing is delivered."""
    chosen: dict[str, Any] = {**attempt.params}
    how = replace(settings.train, **chosen)
    print(f"\ntrial {attempt.number}: {_said(attempt.params)}", flush=True)
    planned = course(how, shards)
    own, given_up = replace(settings, train=how), False
    with follow(workspace, own, shards, "trial", trial_tags(parent_run_id, attempt.number)) as run:
        attempt.note("run_id", run.run_id)

        def on_epoch(epoch: int, row: Mapping[str, float]) -> None:
            run.log_epoch(epoch, row)
            attempt.report(epoch, row[WATCHED])

        try:
            planned.fit(run, on_epoch)
        except GivenUp:
            given_up = True  # an end like any other for its run
        run.checkpoint.clear()
    if given_up:
        raise GivenUp


def _write(workspace: Workspace, settings: Settings, search: Search, parent_run_id: str) -> None:
    best, tried, importance = search.best(), search.tried(), search.importance()
    assert best is not None
    report: dict[str, Any] = {
        "search": search.name,
        "run_id": parent_run_id,
        "measure": f"highest {WATCHED} of all epochs, on the validation split",
        "epochs": settings.train.epochs,
        "best": asdict(best) | {"command": command(best.params, settings)},
        "importance": importance,
        "trials": [asdict(trial) for trial in tried],
    }
    write_json(workspace.report("tune"), report)
    pictures = draw_search(workspace.figures("tune"), tried, importance, WATCHED)
    counts = {f"trials_{state.replace(' ', '_')}": float(sum(t.state == state for t in tried))
              for state in ("finished", "given up", "failed")}  # fmt: skip
    log_findings(parent_run_id, counts | {"best_val_auc": best.value or 0.0}, [*pictures, workspace.report("tune")])


def _line(tried: Tried, best: Tried | None) -> str:
    reached = f"{WATCHED} {tried.value:.4f} after {tried.epochs} epochs" if tried.value is not None else tried.reason
    so_far = f"; best so far {best.value:.4f}, trial {best.number}" if best else ""
    return f"trial {tried.number} {tried.state}: {reached}{so_far}"


def _said(params: Mapping[str, float | int]) -> str:
    return ", ".join(f"{key} {value:.3g}" for key, value in sorted(params.items()))
