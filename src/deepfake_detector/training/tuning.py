"""Settings and shards -> a hyperparameter search with Optuna: reports/tune.json, figures and MLflow runs.

The search is stored in a SQLite file after every epoch. An interrupted search continues with its unfinished trial and
then proposes the same trials as an uninterrupted one: the sampler's seed depends on the number of ended trials.
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
from deepfake_detector.tracking.runs import log_search_results, log_trial_result, start_search, trial_tags
from deepfake_detector.training.fit import MONITOR
from deepfake_detector.training.plan import plan_training, run_context, training_key
from deepfake_detector.training.search_figure import draw_search

TrialParams = dict[str, float | int]  # key of params.yaml's `train` -> value
State = Literal["complete", "pruned", "failed"]
STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
LOG_UNIFORM, UNIFORM = ("learning_rate", "weight_decay"), ("dropout", "self_blend")
CATEGORICAL = ("ema_momentum", "batch_size")
TUNED_SETTINGS = (*LOG_UNIFORM, *UNIFORM, *CATEGORICAL, "warmup_epochs")
PARENT_RUN_KEY = "parent_run_id"
_INTERRUPTED = "interrupted"  # such a trial is queued again under another number of Optuna's and is not counted


@dataclass(frozen=True)
class TrialResult:
    """The outcome of an ended trial."""

    number: int  # from 1
    state: State
    value: float | None  # the highest reported; None without any
    epochs: int  # that reported a value
    params: TrialParams
    run_id: str
    reason: str  # of a failed trial, else ""


class RunningTrial:
    """A trial in progress."""

    def __init__(self, trial: optuna.Trial, number: int, params: TrialParams) -> None:
        self.number, self.params = number, params
        self._trial, self._best_value = trial, -math.inf

    @property
    def best_value(self) -> float:
        """The highest value reported."""
        return self._best_value

    def set_user_attr(self, key: str, value: str) -> None:
        """Store a value with the trial, for example its MLflow run."""
        self._trial.set_user_attr(key, value)

    def report(self, epoch: int, value: float) -> None:
        """Report the value of an epoch, from 1.

        Raises:
            optuna.TrialPruned: half of the earlier trials were better at this epoch.
        """
        if not math.isfinite(value):
            return
        self._best_value = max(self._best_value, value)
        self._trial.report(value, epoch)
        if self._trial.should_prune():
            raise optuna.TrialPruned


class Search:
    """A hyperparameter search that maximises a value; a resumable Optuna study.

    Args:
        database: SQLite file; created if missing. It may hold searches of other names.
        name: of the search; it must differ wherever values are not comparable.
        ranges: params.yaml's `tune`.
        first: the current settings. They are the first trial, so that nothing worse is ever recommended.

    Raises:
        SettingsError: a current setting lies outside its range.
    """

    def __init__(self, database: Path, name: str, ranges: Tune, first: Mapping[str, float | int]) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        current: TrialParams = {key: first[key] for key in TUNED_SETTINGS}
        _check_ranges(ranges, current)
        database.parent.mkdir(parents=True, exist_ok=True)
        self.name, self._ranges, self._database = name, ranges, database
        pruner = optuna.pruners.MedianPruner(ranges.startup_trials, n_warmup_steps=ranges.grace_epochs + 1)
        self._study = optuna.create_study(
            storage=f"sqlite:///{database}", study_name=name, load_if_exists=True, direction="maximize", pruner=pruner
        )
        if not self._study.trials:
            self._study.enqueue_trial(current)

    def set_user_attr(self, key: str, value: str) -> None:
        """Store a value with the search."""
        self._study.set_user_attr(key, value)

    def user_attr(self, key: str) -> str | None:
        """The value stored under a key."""
        value: str | None = self._study.user_attrs.get(key)
        return value

    def results(self) -> list[TrialResult]:
        """The ended trials, in their order."""
        ended = [t for t in self._study.trials if t.state in STATES and _INTERRUPTED not in t.user_attrs]
        return [_trial_result(number, trial) for number, trial in enumerate(ended, start=1)]

    def best(self) -> TrialResult | None:
        """The complete trial of the highest value, the first of several."""
        complete = [t for t in self.results() if t.state == "complete" and t.value is not None]
        return max(complete, key=lambda t: t.value or 0.0, default=None)

    def run(
        self, trials: int, objective: Callable[[RunningTrial], None], on_result: Callable[[TrialResult], None]
    ) -> None:
        """Run trials until this many have ended, those of earlier calls included.

        Args:
            trials: in all.
            objective: runs one trial and reports its values. A `DetectorError` fails the trial and the search
                continues; any other exception ends both, and the next call runs that trial again.
            on_result: called after each trial.

        Raises:
            BadInput: another process runs this search.
        """
        with _exclusive(self._database.with_suffix(".lock")):
            self._requeue_interrupted()
            while (ended := len(self.results())) < trials:
                self._study.sampler = optuna.samplers.TPESampler(
                    seed=self._ranges.seed + ended, n_startup_trials=self._ranges.startup_trials
                )
                trial = self._study.ask()
                running = RunningTrial(trial, ended + 1, _suggest(trial, self._ranges))
                state = _run_objective(running, objective)
                self._study.tell(trial, running.best_value if state == TrialState.COMPLETE else None, state)
                on_result(self.results()[-1])

    def importance(self) -> dict[str, float]:
        """Setting -> share of the values' variance that it explains (fANOVA); empty if all values are equal."""
        values = {t.value for t in self.results() if t.state == "complete"}
        if len(values) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self._ranges.seed)
        return dict(optuna.importance.get_param_importances(self._study, evaluator=evaluator))

    def _requeue_interrupted(self) -> None:
        for stale in self._study.get_trials(states=(TrialState.RUNNING,)):
            trial = optuna.Trial(self._study, stale._trial_id)
            trial.set_user_attr(_INTERRUPTED, "true")
            self._study.tell(trial, state=TrialState.FAIL)
            if stale.params:
                self._study.enqueue_trial(stale.params)


def _run_objective(trial: RunningTrial, objective: Callable[[RunningTrial], None]) -> TrialState:
    try:
        objective(trial)
    except optuna.TrialPruned:
        return TrialState.PRUNED
    except DetectorError as error:
        trial.set_user_attr("reason", error.message)
        return TrialState.FAIL
    if math.isfinite(trial.best_value):
        return TrialState.COMPLETE
    trial.set_user_attr("reason", "it reported no finite value")
    return TrialState.FAIL


def _suggest(trial: optuna.Trial, ranges: Tune) -> TrialParams:
    # The order decides which random numbers each setting gets.
    params: TrialParams = {key: trial.suggest_float(key, *getattr(ranges, key), log=True) for key in LOG_UNIFORM}
    params |= {key: trial.suggest_float(key, *getattr(ranges, key)) for key in UNIFORM}
    params |= {key: trial.suggest_categorical(key, getattr(ranges, key)) for key in CATEGORICAL}
    return params | {"warmup_epochs": trial.suggest_int("warmup_epochs", *ranges.warmup_epochs)}


def _check_ranges(ranges: Tune, current: Mapping[str, float | int]) -> None:
    for key, value in current.items():
        allowed: tuple[Any, ...] = getattr(ranges, key)
        if value not in allowed if key in CATEGORICAL else not allowed[0] <= value <= allowed[1]:
            raise SettingsError(
                f"train.{key} is {value}, outside tune.{key} {list(allowed)}",
                "widen the range: the first trial has the current settings",
            )


def _trial_result(number: int, trial: FrozenTrial) -> TrialResult:
    values = [value for value in trial.intermediate_values.values() if math.isfinite(value)]
    return TrialResult(
        number, STATES[trial.state], max(values, default=None), len(values), dict(trial.params),
        str(trial.user_attrs.get("run_id", "")), str(trial.user_attrs.get("reason", "")),
    )  # fmt: skip


@contextmanager
def _exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock that the operating system releases when the process dies."""
    with closing(sqlite3.connect(lock, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise BadInput("another process runs this search", "wait until it ends, or stop it") from error
        yield


def tune(workspace: Workspace, settings: Settings, shards: Shards, trials: int) -> None:
    """Search until `trials` trials have ended in all; write the report after each.

    Raises:
        DataRejected: none of them is complete.
    """
    fixed = {key: value for key, value in asdict(settings.train).items() if key not in TUNED_SETTINGS}
    name = training_key(workspace, settings, shards, "tune", [fixed, asdict(settings.tune)])
    search = Search(workspace.tuning / "searches.db", name, settings.tune, asdict(settings.train))
    params = fixed | {f"range_{key}": value for key, value in asdict(settings.tune).items()}
    title, lineage = f"tune-{settings.train.network}-{settings.train.epochs}ep", read_lineage(workspace.root)
    parent_run = search.user_attr(PARENT_RUN_KEY)
    with start_search(settings.register.experiment, title, params, lineage, parent_run) as parent:
        search.set_user_attr(PARENT_RUN_KEY, parent.run_id)

        def on_result(result: TrialResult) -> None:
            print(_summary(result, search.best()), flush=True)
            if result.run_id:
                log_trial_result(result.run_id, result.state, result.value)
            if search.best():
                _write_report(workspace, settings, search, parent.run_id)

        print(f"{len(search.results())} of {trials} trials have ended in earlier calls", flush=True)
        search.run(trials, lambda trial: _train_trial(workspace, settings, shards, parent.run_id, trial), on_result)
    best = search.best()
    if best is None:
        raise DataRejected(
            f"none of {trials} trials is complete; the last one failed: {search.results()[-1].reason}",
            "correct the cause and run the command again",
        )
    _write_report(workspace, settings, search, parent.run_id)
    print(f"\nbest of {len(search.results())} trials: {MONITOR} {best.value:.4f}\n{dvc_command(best.params, settings)}")


def dvc_command(params: Mapping[str, float | int], settings: Settings) -> str:
    """The shell command that trains with these settings."""
    # Without exponent: YAML 1.1 parsers read 1e-05 as a string.
    numbers = {key: value if isinstance(value, int) else np.format_float_positional(value, trim="0")
               for key, value in params.items()}  # fmt: skip
    changed = numbers | {"epochs": settings.train.epochs}
    return "dvc exp run " + " ".join(f"-S train.{key}={value}" for key, value in sorted(changed.items()))


def _train_trial(
    workspace: Workspace, settings: Settings, shards: Shards, parent_run_id: str, trial: RunningTrial
) -> None:
    """One training as in the stage `train`, without its output files."""
    params: dict[str, Any] = {**trial.params}
    settings = replace(settings, train=replace(settings.train, **params))
    print(f"\ntrial {trial.number}: {_describe(trial.params)}", flush=True)
    plan, pruned = plan_training(workspace, settings, shards), False
    with run_context(workspace, settings, shards, "trial", trial_tags(parent_run_id, trial.number)) as run:
        trial.set_user_attr("run_id", run.run_id)

        def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
            run.log_epoch(epoch, metrics)
            trial.report(epoch, metrics[MONITOR])

        try:
            plan.fit(run, on_epoch)
        except optuna.TrialPruned:
            pruned = True  # its MLflow run is FINISHED, not FAILED
        run.checkpoint.clear()
    if pruned:
        raise optuna.TrialPruned


def _write_report(workspace: Workspace, settings: Settings, search: Search, parent_run_id: str) -> None:
    best, results, importance = search.best(), search.results(), search.importance()
    assert best is not None
    report: dict[str, Any] = {
        "search": search.name,
        "run_id": parent_run_id,
        "objective": f"highest {MONITOR} of all epochs, on the validation split",
        "epochs": settings.train.epochs,
        "best": asdict(best) | {"command": dvc_command(best.params, settings)},
        "importance": importance,
        "trials": [asdict(result) for result in results],
    }
    write_json(workspace.report("tune"), report)
    figures = draw_search(workspace.figures("tune"), results, importance, MONITOR)
    counts = {f"trials_{state}": float(sum(r.state == state for r in results)) for state in STATES.values()}
    log_search_results(
        parent_run_id, counts | {"best_val_auc": best.value or 0.0}, [*figures, workspace.report("tune")]
    )


def _summary(result: TrialResult, best: TrialResult | None) -> str:
    outcome = (
        f"{MONITOR} {result.value:.4f} after {result.epochs} epochs" if result.value is not None else result.reason
    )
    best_so_far = f"; best so far {best.value:.4f}, trial {best.number}" if best else ""
    return f"trial {result.number} {result.state}: {outcome}{best_so_far}"


def _describe(params: Mapping[str, float | int]) -> str:
    return ", ".join(f"{key} {value:.3g}" for key, value in sorted(params.items()))
