"""Each fault planted into a good manifest fails its own check alone, and the files are named."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepfake_detector.config import Validate, read_settings
from deepfake_detector.datasets.archive import KAGGLE_ROOT, LABELS, SPLITS
from deepfake_detector.errors import CheckCrashed, DataRejected
from deepfake_detector.validation.check_tables import file_table
from deepfake_detector.validation.image_record import MANIFEST_COLUMNS, ImageRecord
from deepfake_detector.validation.leak_probes import LeakProbe
from deepfake_detector.validation.results import CheckResult, raise_if_stopped

# Great Expectations imports modules that Python 3.11 calls deprecated (sre_constants, sre_parse).
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

SETTINGS = replace(read_settings(Path(__file__).parents[2] / "params.yaml").validate, min_images_per_class=4)
GOOD = ImageRecord(
    path="", split="", label=0, sha256="", bytes=9, width_px=256, height_px=256, mode="RGB", format="JPEG",
    quantization="q", subsampling="4:2:0", phash="0" * 16, group="", source="faces", fake_kind="", error="",
    brightness=110.0, contrast=50.0, sharpness=90.0, exif=False, faces=1,
)  # fmt: skip


def good() -> pd.DataFrame:
    rows = []
    for split in SPLITS:
        for name, label in LABELS.items():
            for n in range(6):
                path = f"{KAGGLE_ROOT}/{split}/{name}/{n}.jpg"
                row = replace(GOOD, path=path, group=path, split=split, label=label, sha256=f"{split}{name}{n}")
                rows.append(asdict(row))
    return pd.DataFrame(rows, columns=list(MANIFEST_COLUMNS))


def cell(manifest: pd.DataFrame, row: int, column: str) -> Any:
    return manifest[column].iloc[row]


def check(
    manifest: pd.DataFrame, tmp_path: Path, settings: Validate = SETTINGS, **inputs: Any
) -> dict[str, CheckResult]:
    from deepfake_detector.validation.checks import check_manifest

    results = check_manifest(manifest, settings, tmp_path / "docs", **inputs)
    return {result.name: result for result in results}


def failed(checks: dict[str, CheckResult]) -> list[str]:
    return [name for name, check in checks.items() if not check.passed]


def test_good_data_passes_and_pages_are_written_to_their_folder_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    checks = check(good(), tmp_path)
    assert failed(checks) == []
    assert len(checks) == 26
    raise_if_stopped(list(checks.values()))
    front_page = (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")
    assert all(result.name in front_page and result.reason in front_page for result in checks.values())
    for written in (tmp_path / "docs").rglob("*.html"):
        # Opening a page must not call another host: as Great Expectations writes them they call six.
        assert not re.search(
            r"<script|(src|rel)=[^>]*https?://|url\([^)]*https?://", written.read_text(encoding="utf-8")
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["docs"]
    # A second run replaces the pages; their names hold the time, so they would pile up.
    check(good(), tmp_path)
    assert len(list((tmp_path / "docs" / "validations" / "files").rglob("*.html"))) == 1


def test_every_planted_fault_fails_its_own_check_and_is_named(tmp_path: Path) -> None:
    manifest = good()
    faults: list[tuple[str, int, str, Any]] = [
        ("readable", 0, "error", "the JPEG picture is cut short"),
        ("labels", 1, "label", 2),
        ("splits", 2, "split", "holdout"),
        ("large enough", 3, "height_px", 40),
        ("usual colour modes", 4, "mode", "CMYK"),
        ("brightness", 5, "brightness", 3.0),
        ("contrast", 6, "contrast", 2.0),
        ("sharpness", 7, "sharpness", 0.5),
        ("no duplicate across splits", 8, "sha256", "testfake5"),
        ("no duplicate within a split", 9, "sha256", "trainfake4"),
        ("groups within one split", 11, "group", cell(manifest, 30, "path")),
        ("faces found", 12, "faces", 0),
        ("faces found", 13, "faces", 0),
        ("brightness", 14, "brightness", 252.0),
    ]
    for _, row, column, value in faults:
        manifest.loc[row, column] = value
    rows = {name: {row for other, row, *_ in faults if other == name} for name, *_ in faults}
    rows["no duplicate across splits"] |= {35}
    rows["no duplicate within a split"] |= {10}
    rows["groups within one split"] |= {30}
    checks = check(manifest, tmp_path, replace(SETTINGS, max_class_imbalance=0.5, min_images_per_class=1))
    assert sorted(failed(checks)) == sorted(rows)
    for name, expected in rows.items():
        assert checks[name].files == tuple(sorted(manifest["path"][list(expected)])), name
    warnings = {name for name in rows if checks[name].severity == "warn"}
    assert warnings == {
        "usual colour modes", "brightness", "contrast", "sharpness", "no duplicate within a split", "faces found",
    }  # fmt: skip
    raise_if_stopped([checks[name] for name in warnings])
    for name in set(rows) - warnings:
        with pytest.raises(DataRejected, match=checks[name].files[0]):
            raise_if_stopped([checks[name]])


def test_a_path_that_names_two_pictures_is_found(tmp_path: Path) -> None:
    manifest = good()
    manifest.loc[3, "path"] = cell(manifest, 0, "path")
    checks = check(manifest, tmp_path)
    assert failed(checks) == ["unique paths"]
    assert checks["unique paths"].files == (cell(manifest, 0, "path"),)


def test_contradicting_labels_are_named(tmp_path: Path) -> None:
    manifest = good()
    manifest.loc[0, "sha256"] = cell(manifest, 6, "sha256")  # the same bytes are real and fake
    manifest.loc[9, "group"] = cell(manifest, 3, "group")  # a face swap resembles its original
    pairs = np.array([[2, 26], [1, 7], [3, 9]])  # train/real with test/real, and twice with train/fake
    csv_labels = manifest["label"].astype(float)
    csv_labels[30:36] = 0.0
    csv_labels[0:6] = np.nan  # the CSV file need not name all
    checks = check(manifest, tmp_path, near_duplicates=pairs, csv_labels=csv_labels)
    named = {
        "labels agree with CSV": range(30, 36),
        "no duplicate within a split": (0, 6),
        "one label per picture": (0, 6),
        "no near-duplicate across splits": (2, 26),
        "one label for near-duplicates": (1, 7),
    }
    assert failed(checks) == list(named)
    for name, rows in named.items():
        assert checks[name].files == tuple(sorted(manifest["path"][list(rows)])), name
    assert checks["labels agree with CSV"].observed == "6 of 30 fail, for example 1 against 0.0"
    assert [checks[name].severity for name in named] == ["stop", "warn", "stop", "warn", "warn"]


def test_a_class_saved_as_png_is_found(tmp_path: Path) -> None:
    manifest = good()
    fakes = manifest["label"] == 1
    manifest.loc[fakes, ["format", "quantization", "subsampling"]] = ("PNG", "", "")
    checks = check(manifest, tmp_path)
    assert failed(checks) == ["same file formats"]  # a PNG has no tables: that is no second fault
    assert checks["same file formats"].severity == "stop"
    assert checks["same file formats"].files == tuple(sorted(manifest.loc[fakes, "path"]))


def test_a_class_of_other_encoders_is_found_and_may_be_a_warning(tmp_path: Path) -> None:
    manifest = good()
    fakes = manifest["label"] == 1
    manifest.loc[fakes, "mode"] = "L"
    manifest.loc[fakes, "quantization"] = "other tables"
    manifest.loc[~fakes, "subsampling"] = "4:4:4"
    checks = check(manifest, tmp_path, replace(SETTINGS, severity=SETTINGS.severity | {"encoding": "warn"}))
    assert failed(checks) == ["same colour modes", "same quantization tables", "same chroma subsampling"]
    assert {checks[name].files_total for name in failed(checks)} == {18}
    raise_if_stopped(list(checks.values()))


def test_pages_show_severity_reason_and_match(tmp_path: Path) -> None:
    manifest = good()
    manifest.loc[0, "sha256"] = cell(manifest, 29, "sha256")
    probe = LeakProbe("metadata", 0.93, 0.91, 0.95, 0.6, "stop", False, "size alone separates", 72)
    checks = check(manifest, tmp_path, probes=[probe])
    (page,) = (tmp_path / "docs" / "validations" / "files").rglob("*.html")
    text = page.read_text(encoding="utf-8")
    result = checks["no duplicate across splits"]
    assert f"no duplicate across splits [stop]: {result.reason}" in text
    assert "df.filter" not in text
    assert all(text.count(path) >= 2 for path in result.files)  # once as the failing file, once as its match
    front = (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")
    assert "2 stopped, 0 warned, 25 passed" in front
    assert "probe metadata" in front
    assert "AUC 0.930 on 72 pictures" in front
    with pytest.raises(DataRejected, match="probe metadata: size alone separates"):
        raise_if_stopped([], [probe])


def test_a_missing_class_is_found_although_it_has_no_rows(tmp_path: Path) -> None:
    manifest = good()
    manifest = manifest[~((manifest["split"] == "valid") & (manifest["label"] == 1))]
    checks = check(manifest, tmp_path)
    assert failed(checks) == ["enough pictures", "balanced classes"]
    assert checks["enough pictures"].files == ("valid/fake",)


def test_an_unbalanced_split_is_found(tmp_path: Path) -> None:
    settings = replace(SETTINGS, min_images_per_class=1)
    checks = check(good().drop(index=[0, 1, 2]), tmp_path, settings)
    assert failed(checks) == ["balanced classes"]
    assert checks["balanced classes"].files == ("train/fake", "train/real")


def test_an_allowed_share_of_bad_files_passes_and_is_named(tmp_path: Path) -> None:
    manifest = good()
    manifest.loc[0, "error"] = "cut short"
    manifest.loc[4, "faces"] = 0
    settings = replace(SETTINGS, max_unreadable_share=0.05)
    checks = check(manifest, tmp_path, settings)
    assert failed(checks) == []
    assert checks["readable"].files == (cell(manifest, 0, "path"),)
    assert checks["faces found"].files == (cell(manifest, 4, "path"),)


def test_only_the_first_files_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    manifest = good()
    manifest["error"] = "cut short"
    result = check(manifest, tmp_path)["readable"]
    assert (len(result.files), result.files_total) == (20, 36)
    assert (result.rows_checked, result.rows_failed) == (36, 36)
    with pytest.raises(DataRejected, match="and 16 more"):
        raise_if_stopped([result])


def test_a_table_with_other_columns_is_not_checked_further(tmp_path: Path) -> None:
    checks = check(good().drop(columns="phash"), tmp_path)
    assert failed(checks) == ["columns"]
    assert "phash" in checks["columns"].observed


def test_a_crash_is_not_reported_as_bad_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deepfake_detector.validation import checks as module

    def without_column(*inputs: Any) -> pd.DataFrame:
        return file_table(*inputs).drop(columns="side_px")

    monkeypatch.setattr(module, "file_table", without_column)
    with pytest.raises(CheckCrashed, match="large enough") as caught:
        check(good(), tmp_path)
    assert caught.value.exit_code == 2


def test_both_forms_of_an_exception_are_found() -> None:
    from deepfake_detector.validation.checks import _check_result

    config = SimpleNamespace(meta={"name": "x", "severity": "stop", "reason": "r"})
    for info in (
        {"raised_exception": True, "exception_message": "boom"},
        {"metric": {"raised_exception": True, "exception_message": "boom"}},
    ):
        broken = SimpleNamespace(expectation_config=config, exception_info=info, result={}, success=False)
        with pytest.raises(CheckCrashed, match="boom"):
            _check_result(broken)  # type: ignore[arg-type]
