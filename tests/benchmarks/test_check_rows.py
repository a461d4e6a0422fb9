"""The rows of the data checks: measured in processes of their own, time and memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.check_manifest import drawn_manifest
from benchmarks.data_rows import check_rows
from benchmarks.material import Material
from benchmarks.timing import MIB
from deepfake_detector.paths import Workspace
from deepfake_detector.validation.image_record import MANIFEST_COLUMNS

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.slow
def test_check_rows(tmp_path: Path) -> None:
    material = Material(Workspace(REPOSITORY), tmp_path, None, scale=0.004)
    rows = list(check_rows(material, rounds=1))
    assert [(row.name, row.other) for row in rows] == [
        ("check 560 pictures", "the suites alone"),
        ("data checks grow in line with the pictures", "56 pictures"),
        ("memory of the data checks", "56 pictures"),
    ]
    assert all(row.ours_figure > 0 and row.other_figure > 0 for row in rows)
    assert rows[-1].unit == MIB
    assert (tmp_path / "checks" / "reports" / "data_docs" / "index.html").is_file()


def test_a_drawn_manifest_has_the_columns_of_a_real_one_and_no_duplicates() -> None:
    manifest = drawn_manifest(600)
    assert tuple(manifest.columns) == MANIFEST_COLUMNS
    assert manifest["path"].is_unique
    assert manifest["sha256"].is_unique
    assert drawn_manifest(600).equals(manifest)
