"""reports, models/bundle, models/trained -> MLflow run and version, models/champion and reports/register.json."""

from __future__ import annotations

import sys

from deepfake_detector.registry.candidate import read_candidate
from deepfake_detector.registry.decisions import is_settled
from deepfake_detector.registry.lineage import read_lineage
from deepfake_detector.registry.outcome import export_champion, summary
from deepfake_detector.registry.record import record
from deepfake_detector.registry.shelf import read_shelf
from deepfake_detector.registry.versions import register
from deepfake_detector.settings import read_settings
from deepfake_detector.workspace import Workspace
from pipelines.stage import quietly, run_stage, write_report


def main() -> None:
    """Register the candidate unless that was done before; then put the champion where `package` looks for it."""
    workspace = Workspace().enter()
    settings = read_settings(workspace.params)
    candidate, shelf = read_candidate(workspace), read_shelf(settings.register.model_name)
    if not is_settled(shelf, candidate, settings.register):
        with quietly():  # TensorFlow and OpenVINO, 10 s: only when something is to be done
            from deepfake_detector.model.export import load_trained
            from deepfake_detector.rescoring import TestPictures

        lineage = read_lineage(workspace.root, candidate.weights_sha256)
        recorded = record(candidate, settings.register.experiment, lineage, load_trained)
        pictures = TestPictures(workspace, settings)
        shelf = register(candidate, recorded, lineage, settings.register, pictures)
    champion = export_champion(shelf, candidate, workspace.champion)
    report = summary(shelf, candidate, champion, workspace.root)
    write_report(workspace.report("register"), report)
    print("\n".join([*report["decision"].get("reasons", ()), f"champion: version {report['champion']['version']}"]))


if __name__ == "__main__":
    sys.exit(run_stage(main))
