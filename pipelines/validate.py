"""data/raw/faces.zip -> data/manifest.parquet if the data is fit to train on; reports/validate.json in every case."""

from __future__ import annotations

import sys
from dataclasses import asdict

from deepfake_detector.data.answers import refuse_if_stopped
from deepfake_detector.data.manifest import build_manifest, write_manifest
from deepfake_detector.settings import read_settings
from deepfake_detector.workspace import Workspace
from pipelines.stage import run_stage, write_report

FAKE_KINDS = {"sample": "simulated generator", "kaggle": "StyleGAN", "archive": "unknown"}


def main() -> None:
    """Look at every picture, ask every question, write the answers down, and only then refuse."""
    workspace = Workspace().enter()
    settings = read_settings(workspace.params)
    # Here, not above: every worker process imports this file, and Great Expectations takes 7-10 s.
    from deepfake_detector.data.checks import check_manifest

    source, limit_bytes = settings.download.source, int(settings.download.max_unpacked_gib * 2**30)
    for old in (workspace.manifest, workspace.report("validate")):
        old.unlink(missing_ok=True)  # never an old answer beside a refusal
    manifest = build_manifest(workspace.archive, source, FAKE_KINDS[source], limit_bytes)
    checks = check_manifest(manifest, settings.validate, workspace.data_docs)
    write_report(workspace.report("validate"), {"pictures": len(manifest), "checks": [asdict(c) for c in checks]})
    refuse_if_stopped(checks)
    write_manifest(manifest, workspace.manifest)


if __name__ == "__main__":
    sys.exit(run_stage(main))
