"""reports, models/bundle, models/trained -> MLflow run and version, models/champion, reports/register.json.

A candidate that the gate refuses is a recorded decision, with or without a champion: the stage succeeds.
"""

from __future__ import annotations

import sys

from deepfake_detector.config import read_settings
from deepfake_detector.io import suppress_native_stderr, write_json
from deepfake_detector.paths import Workspace
from deepfake_detector.registry.candidate import read_candidate
from deepfake_detector.registry.decisions import is_settled
from deepfake_detector.registry.model_registry import read_registry
from deepfake_detector.registry.record import record_candidate
from deepfake_detector.registry.registration import register_candidate
from deepfake_detector.registry.report import export_champion, registration_report, registration_summary
from deepfake_detector.tracking.lineage import read_lineage
from pipelines.stage import run_stage


def main() -> None:
    """Register the candidate unless that is done; then copy the champion to where `package` looks for it."""
    workspace = Workspace().enter()
    settings = read_settings(workspace.params)
    candidate, snapshot = read_candidate(workspace), read_registry(settings.register.model_name)
    if not is_settled(snapshot, candidate, settings.register):
        with suppress_native_stderr():  # imports of TensorFlow and OpenVINO take 10 s, so only when needed
            from deepfake_detector.evaluation.rescoring import EngineRescorer
            from deepfake_detector.model.export import load_trained

        lineage = read_lineage(workspace.root, candidate.weights_sha256)
        recorded = record_candidate(candidate, settings.register.experiment, lineage, load_trained)
        rescorer = EngineRescorer(workspace, settings)
        snapshot = register_candidate(candidate, recorded, lineage, settings.register, rescorer)
    champion = export_champion(snapshot, workspace.champion)
    report = registration_report(snapshot, candidate, champion, workspace.root)
    write_json(workspace.report("register"), report)
    write_json(workspace.registered, {"bundle_sha256": candidate.bundle.sha256})
    print(registration_summary(report))


if __name__ == "__main__":
    sys.exit(run_stage(main))
