"""data/raw -> data/manifest.parquet if the data is fit to train on; reports/validate.json in every case."""

from __future__ import annotations

import sys
from dataclasses import asdict

from deepfake_detector.io import write_json
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage


def main() -> None:
    """Look at every picture, ask every question, write the answers down, and only then refuse."""
    workspace = Workspace().enter()
    # Here, not above: every worker process imports this file, and needs neither Great Expectations (7-10 s) nor pandas.
    from deepfake_detector.config import read_settings
    from deepfake_detector.datasets.label_csv import listed_labels
    from deepfake_detector.validation.checks import check_manifest
    from deepfake_detector.validation.leak_figure import draw_probes
    from deepfake_detector.validation.leak_probes import probe_leaks
    from deepfake_detector.validation.manifest import build_manifest, write_manifest
    from deepfake_detector.validation.near_duplicates import find_lookalikes
    from deepfake_detector.validation.results import print_summary, refuse_if_stopped

    settings = read_settings(workspace.params)
    for old in (workspace.manifest, workspace.report("validate")):
        old.unlink(missing_ok=True)  # never an old answer beside a refusal
    raw, limit, rules = workspace.raw, settings.download.max_unpacked_bytes, settings.validate
    manifest = build_manifest(raw, settings.download.fake_kinds, limit, workspace.manifest_pieces)
    lookalikes = find_lookalikes(manifest, raw, rules.near_duplicate_bits, limit)
    listed = listed_labels(manifest, raw, limit)
    probes = probe_leaks(manifest, raw, rules, limit)
    checks = check_manifest(manifest, rules, workspace.data_docs, lookalikes, listed, probes)
    draw_probes(workspace.figures("validate"), probes)
    answers = {"checks": [asdict(check) for check in checks], "probes": [asdict(probe) for probe in probes]}
    write_json(workspace.report("validate"), {"pictures": len(manifest), **answers})
    print_summary(checks, probes)
    refuse_if_stopped(checks, probes)
    write_manifest(manifest, workspace.manifest)


if __name__ == "__main__":
    sys.exit(run_stage(main))
