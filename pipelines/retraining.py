"""reports/download.json, a drift report and the registry -> reports/retraining.json; the report -> MLflow.

`champion` exports the champion, with whose profile `deepfake drift` compares; `decide` looks for reasons to train.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from deepfake_detector.config import read_settings
from deepfake_detector.io import write_json
from deepfake_detector.paths import Workspace
from deepfake_detector.registry.alias_history import CHAMPION
from deepfake_detector.registry.model_registry import read_registry
from deepfake_detector.registry.report import export_champion
from deepfake_detector.registry.retraining import decide_retraining, keep_drift_report, read_drift, trained_data
from pipelines.stage import run_stage


def main() -> None:
    """Export the champion, or decide."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.retraining", description=__doc__)
    parser.add_argument("step", choices=("champion", "decide"))
    parser.add_argument("--drift", type=Path, default=Path("drift"), help="folder with drift.json and its page")
    parser.add_argument("--requested", default="", help="settings that a person asked for")
    arguments, workspace = parser.parse_args(), Workspace().enter()
    settings = read_settings(workspace.params)
    name, snapshot = settings.register.model_name, read_registry(settings.register.model_name)
    if arguments.step == "champion":
        print("champion exported" if export_champion(snapshot, workspace.champion) else "there is no champion yet")
        return
    champion, drift = snapshot.version_of(CHAMPION), read_drift(arguments.drift, datetime.now(UTC).date())
    if champion and drift:
        keep_drift_report(arguments.drift, drift, champion, name)
    data, feedback = trained_data(workspace), settings.download.feedback
    decision = decide_retraining(data, feedback, champion, drift, arguments.requested)
    write_json(workspace.report("retraining"), decision.as_dict())
    print(decision.as_markdown())


if __name__ == "__main__":
    sys.exit(run_stage(main))
