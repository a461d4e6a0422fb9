"""ROOT ROWS -> the seconds and the memory of the data checks of so many pictures, as JSON; a process of its own each.

`python -m benchmarks.check_manifest FOLDER 140000`: FOLDER holds gx/, as a checkout does, and gets the outputs.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detector.config import Validate, read_settings
from deepfake_detector.datasets.archive import LABELS, SPLITS
from deepfake_detector.paths import Workspace
from deepfake_detector.validation.image_record import MANIFEST_COLUMNS, ImageRecord


def main() -> None:
    """Check a drawn manifest by the checkpoint, and once more by the suites alone."""
    root, rows = Path(sys.argv[1]), int(sys.argv[2])
    from deepfake_detector.validation.checks import check_manifest

    settings, manifest = read_settings(Workspace().params).validate, drawn_manifest(rows)
    checks = seconds(lambda: check_manifest(manifest, settings, Workspace(root)))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    alone = seconds(lambda: _suites_alone(root, settings))
    print(json.dumps({"checks_s": checks, "suites_s": alone, "peak_mib": peak_mib}))


def drawn_manifest(rows: int) -> pd.DataFrame:
    """Rows of pictures that pass: both classes and all splits, statistics and perceptual hashes at random."""
    rng = np.random.default_rng(0)
    record = ImageRecord(
        path="", split="", label=0, sha256="", bytes=9000, width_px=256, height_px=256, mode="RGB", format="JPEG",
        quantization="q", subsampling="4:2:0", phash="", group="", source="faces", fake_kind="", error="",
        brightness=110.0, contrast=50.0, sharpness=90.0, exif=False, faces=1,
    )  # fmt: skip
    table = pd.DataFrame([asdict(record)], columns=list(MANIFEST_COLUMNS)).iloc[np.zeros(rows, int)]
    labels = rng.integers(0, len(LABELS), rows)
    names = [f"faces/{number:06}.jpg" for number in range(rows)]
    columns: dict[str, Any] = {
        "path": names,
        "group": names,
        "label": labels,
        "split": np.array(SPLITS)[rng.integers(0, 3, rows)],
    }
    columns["sha256"] = [f"{number:064x}" for number in range(rows)]
    columns["phash"] = [f"{number:016x}" for number in rng.integers(0, 2**63, rows)]
    columns["brightness"], columns["bytes"] = rng.uniform(20, 240, rows), rng.integers(5000, 50_000, rows)
    return table.reset_index(drop=True).assign(**columns)


def seconds(work: Callable[[], object]) -> float:
    """Of one run."""
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def _suites_alone(root: Path, settings: Validate) -> None:
    """The same expectations on the same tables, read before: no context, no pages, only what people are shown."""
    import great_expectations as gx

    from deepfake_detector.validation.suite import suites

    files = {"manifest": root / "data" / "manifest_rejected.parquet"}
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    for name, suite in suites(settings).items():
        table = pd.read_parquet(files.get(name, root / "reports" / "validate" / f"{name}.parquet"))
        asset = context.data_sources.add_pandas(name).add_dataframe_asset(name)
        batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": table})
        batch.validate(suite, result_format="SUMMARY")


if __name__ == "__main__":
    main()
