"""data/raw -> reports/validate.json, and data/manifest.parquet if no check of severity `stop` failed."""

from __future__ import annotations

import sys
from dataclasses import asdict

from deepfake_detector.io import write_json
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage


def main() -> None:
    """Describe every picture, run all checks, write the report, and then reject the data if a check failed."""
    workspace = Workspace().enter()
    # Worker processes import this file, and need neither Great Expectations (7-10 s) nor pandas.
    from deepfake_detector.config import read_settings
    from deepfake_detector.datasets.label_csv import labels_from_csv
    from deepfake_detector.validation.checks import accept_manifest, check_manifest, delete_earlier_run
    from deepfake_detector.validation.leak_figure import draw_leak_probes
    from deepfake_detector.validation.leak_probes import probe_leaks
    from deepfake_detector.validation.manifest import build_manifest
    from deepfake_detector.validation.near_duplicates import find_near_duplicates
    from deepfake_detector.validation.older_reports import marking_older_reports
    from deepfake_detector.validation.results import print_summary, raise_if_stopped

    settings = read_settings(workspace.params)
    raw, data, rules, limit = workspace.raw, settings.download, settings.validate, settings.download.max_unpacked_bytes
    delete_earlier_run(workspace)
    with marking_older_reports(workspace):
        manifest = build_manifest(raw, data.fake_kinds, limit, workspace.partial_manifest, data.left_out)
        near_duplicates = find_near_duplicates(manifest, raw, rules.near_duplicate_bits, limit)
        csv_labels = labels_from_csv(manifest, raw, limit)
        probes = probe_leaks(manifest[~manifest["source"].isin(data.left_out)], raw, rules, limit)
        checks = check_manifest(manifest, rules, workspace, near_duplicates, csv_labels, probes, data.left_out)
        draw_leak_probes(workspace.figures("validate"), probes)
        results = {"checks": [asdict(check) for check in checks], "probes": [asdict(probe) for probe in probes]}
        write_json(workspace.report("validate"), {"pictures": len(manifest), **results})
        print_summary(checks, probes)
        raise_if_stopped(checks, probes)
        accept_manifest(workspace)


if __name__ == "__main__":
    sys.exit(run_stage(main))
