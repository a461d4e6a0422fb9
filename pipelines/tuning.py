"""Settings and shards -> a search whose trials are trainings like any other, its report and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from deepfake_detector.data.shards import Shards
from deepfake_detector.errors import DataRejected
from deepfake_detector.evidence.search_figure import draw_search
from deepfake_detector.model.search import SEARCHED, Attempt, GivenUp, Search, Tried
from deepfake_detector.model.training import WATCHED
from deepfake_detector.registry.lineage import read_lineage
from deepfake_detector.registry.trials import log_findings, note_outcome, start_search, trial_tags
from deepfake_detector.settings import Settings
from deepfake_detector.workspace import Workspace
from pipelines.stage import write_report
from pipelines.training_run import course, follow, same_training

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
    write_report(workspace.report("tune"), report)
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
