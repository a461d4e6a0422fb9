"""reports, models/bundle, models/trained -> MLflow run and version, models/champion and reports/register.json."""

from __future__ import annotations

import sys

from deepfake_detector.config import read_settings
from deepfake_detector.io import native_stderr_held_back, write_json
from deepfake_detector.paths import Workspace
from deepfake_detector.registry.candidate import read_candidate
from deepfake_detector.registry.decisions import is_settled
from deepfake_detector.registry.model_registry import read_shelf
from deepfake_detector.registry.record import record
from deepfake_detector.registry.registration import register
from deepfake_detector.registry.report import export_champion, summary
from deepfake_detector.tracking.lineage import read_lineage
from pipelines.stage import run_stage


def main() -> None:
    """Register the candidate unless that was done before; then put the champion where `package` looks for it."""
    workspace = Workspace().enter()
    settings = read_settings(workspace.params)
    candidate, shelf = read_candidate(workspace), read_shelf(settings.register.model_name)
    if not is_settled(shelf, candidate, settings.register):
        with native_stderr_held_back():  # TensorFlow and OpenVINO, 10 s: only when something is to be done
            from deepfake_detector.evaluation.rescoring import TestPictures
            from deepfake_detector.model.export import load_trained

        lineage = read_lineage(workspace.root, candidate.weights_sha256)
        recorded = record(candidate, settings.register.experiment, lineage, load_trained)
        pictures = TestPictures(workspace, settings)
        shelf = register(candidate, recorded, lineage, settings.register, pictures)
    champion = export_champion(shelf, candidate, workspace.champion)
    report = summary(shelf, candidate, champion, workspace.root)
    write_json(workspace.report("register"), report)
    print("\n".join([*report["decision"].get("reasons", ()), f"champion: version {report['champion']['version']}"]))


if __name__ == "__main__":
    sys.exit(run_stage(main))
