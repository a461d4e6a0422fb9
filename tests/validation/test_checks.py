"""Each fault planted into a good manifest fails its own check, and only that one; the files are named."""

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
from deepfake_detector.datasets.archive import LABELS, ROOT, SPLITS
from deepfake_detector.errors import CheckCrashed, DataRejected
from deepfake_detector.validation.check_tables import file_table
from deepfake_detector.validation.leak_probes import Probe
from deepfake_detector.validation.manifest import COLUMNS, Row
from deepfake_detector.validation.results import Check, refuse_if_stopped

# Great Expectations imports modules that Python 3.11 calls deprecated (sre_constants, sre_parse).
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

SETTINGS = replace(read_settings(Path(__file__).parents[2] / "params.yaml").validate, min_images_per_class=4)
GOOD = Row(
    path="", split="", label=0, sha256="", bytes=9, width_px=256, height_px=256, mode="RGB", format="JPEG",
    quantization="q", subsampling="4:2:0", phash="0" * 16, group="", source="faces", fake_kind="", error="",
    brightness=110.0, contrast=50.0, sharpness=90.0, exif=False, faces=1,
)  # fmt: skip


def good() -> pd.DataFrame:
    rows = []
    for split in SPLITS:
        for name, label in LABELS.items():
            for n in range(6):
                path = f"{ROOT}/{split}/{name}/{n}.jpg"
                row = replace(GOOD, path=path, group=path, split=split, label=label, sha256=f"{split}{name}{n}")
                rows.append(asdict(row))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def answers(manifest: pd.DataFrame, tmp_path: Path, settings: Validate = SETTINGS, **known: Any) -> dict[str, Check]:
    from deepfake_detector.validation.checks import check_manifest

    return {check.name: check for check in check_manifest(manifest, settings, tmp_path / "docs", **known)}


def failed(checks: dict[str, Check]) -> list[str]:
    return [name for name, check in checks.items() if not check.passed]


def test_good_data_passes_and_leaves_pages_only_in_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    checks = answers(good(), tmp_path)
    assert failed(checks) == []
    assert len(checks) == 26
    refuse_if_stopped(list(checks.values()))
    page = (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")
    assert all(check.name in page and check.reason in page for check in checks.values())
    for written in (tmp_path / "docs").rglob("*.html"):
        # Opening a page must tell nobody: as Great Expectations writes them they call six hosts.
        assert not re.search(
            r"<script|(src|rel)=[^>]*https?://|url\([^)]*https?://", written.read_text(encoding="utf-8")
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["docs"]
    # A second run replaces the pages; their names hold the time, so they would pile up.
    answers(good(), tmp_path)
    assert len(list((tmp_path / "docs" / "validations" / "files").rglob("*.html"))) == 1


def test_every_planted_fault_fails_its_own_check_and_is_named(tmp_path: Path) -> None:
    manifest = good()
    faults: list[tuple[str, int, str, object]] = [
        ("readable", 0, "error", "the JPEG picture is cut short"),
        ("labels", 1, "label", 2),
        ("splits", 2, "split", "holdout"),
        ("large enough", 3, "height_px", 40),
        ("plain colours", 4, "mode", "CMYK"),
        ("brightness", 5, "brightness", 3.0),
        ("contrast", 6, "contrast", 2.0),
        ("sharpness", 7, "sharpness", 0.5),
        ("no copy across splits", 8, "sha256", "testfake5"),
        ("no copy within a split", 9, "sha256", "trainfake4"),
        ("groups on one side", 11, "group", manifest.loc[30, "path"]),
        ("faces found", 12, "faces", 0),
        ("faces found", 13, "faces", 0),
        ("brightness", 14, "brightness", 252.0),
    ]
    for _, row, column, value in faults:
        manifest.loc[row, column] = value
    rows = {name: {row for other, row, *_ in faults if other == name} for name, *_ in faults}
    rows["no copy across splits"] |= {35}
    rows["no copy within a split"] |= {10}
    rows["groups on one side"] |= {30}
    checks = answers(manifest, tmp_path, replace(SETTINGS, max_class_imbalance=0.5, min_images_per_class=1))
    assert sorted(failed(checks)) == sorted(rows)
    for name, expected in rows.items():
        assert checks[name].files == tuple(sorted(manifest["path"][list(expected)])), name
    warnings = {name for name in rows if checks[name].severity == "warn"}
    assert warnings == {
        "plain colours", "brightness", "contrast", "sharpness", "no copy within a split", "faces found",
    }  # fmt: skip
    refuse_if_stopped([checks[name] for name in warnings])
    for name in set(rows) - warnings:
        with pytest.raises(DataRejected, match=checks[name].files[0]):
            refuse_if_stopped([checks[name]])


def test_a_path_that_names_two_pictures_is_found(tmp_path: Path) -> None:
    manifest = good()
    manifest.loc[3, "path"] = manifest.loc[0, "path"]
    checks = answers(manifest, tmp_path)
    assert failed(checks) == ["unique paths"]
    assert checks["unique paths"].files == (manifest.loc[0, "path"],)


def test_witnesses_that_contradict_a_label_are_named(tmp_path: Path) -> None:
    manifest = good()
    manifest.loc[0, "sha256"] = manifest.loc[6, "sha256"]  # the same bytes are real and fake
    manifest.loc[9, "group"] = manifest.loc[3, "group"]  # a swapped face looks like the picture it was put into
    pairs = np.array([[2, 26], [1, 7], [3, 9]])  # train/real with test/real, and twice with train/fake
    listed = manifest["label"].astype(float)
    listed[30:36] = 0.0
    listed[0:6] = np.nan  # the list need not name them all
    checks = answers(manifest, tmp_path, lookalikes=pairs, listed=listed)
    named = {
        "labels as listed": range(30, 36),
        "no copy within a split": (0, 6),
        "one label per picture": (0, 6),
        "no lookalike across splits": (2, 26),
        "lookalikes share a label": (1, 7),
    }
    assert failed(checks) == list(named)
    for name, rows in named.items():
        assert checks[name].files == tuple(sorted(manifest["path"][list(rows)])), name
    assert checks["labels as listed"].observed == "6 of 30 break it, for example 1 against 0.0"
    assert [checks[name].severity for name in named] == ["stop", "warn", "stop", "warn", "warn"]


def test_a_class_saved_as_png_is_found(tmp_path: Path) -> None:
    manifest = good()
    fakes = manifest["label"] == 1
    manifest.loc[fakes, ["format", "quantization", "subsampling"]] = ("PNG", "", "")
    checks = answers(manifest, tmp_path)
    assert failed(checks) == ["file formats alike"]  # a PNG has no tables, which is no second fault
    assert checks["file formats alike"].severity == "stop"
    assert checks["file formats alike"].files == tuple(sorted(manifest.loc[fakes, "path"]))


def test_a_class_of_other_encoders_is_found_and_may_be_let_pass(tmp_path: Path) -> None:
    manifest = good()
    fakes = manifest["label"] == 1
    manifest.loc[fakes, "mode"] = "L"
    manifest.loc[fakes, "quantization"] = "other tables"
    manifest.loc[~fakes, "subsampling"] = "4:4:4"
    checks = answers(manifest, tmp_path, replace(SETTINGS, severity=SETTINGS.severity | {"encoding": "warn"}))
    assert failed(checks) == ["colour modes alike", "quantization tables alike", "chroma subsampling alike"]
    assert {checks[name].files_total for name in failed(checks)} == {18}
    refuse_if_stopped(list(checks.values()))


def test_pages_show_severity_reason_and_partner(tmp_path: Path) -> None:
    manifest = good()
    manifest.loc[0, "sha256"] = manifest.loc[29, "sha256"]
    probe = Probe("metadata", 0.93, 0.91, 0.95, 0.6, "stop", False, "size alone tells", 72)
    checks = answers(manifest, tmp_path, probes=[probe])
    (page,) = (tmp_path / "docs" / "validations" / "files").rglob("*.html")
    text = page.read_text(encoding="utf-8")
    check = checks["no copy across splits"]
    assert f"no copy across splits [stop]: {check.reason}" in text
    assert "df.filter" not in text
    assert all(text.count(path) >= 2 for path in check.files)  # once as the one at fault, once as the partner
    front = (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")
    assert "2 stopped, 0 warned, 25 passed" in front
    assert "probe metadata" in front
    assert "AUC 0.930 on 72 pictures" in front
    with pytest.raises(DataRejected, match="probe metadata: size alone tells"):
        refuse_if_stopped([], [probe])


def test_a_missing_class_is_found_although_it_has_no_rows(tmp_path: Path) -> None:
    manifest = good()
    manifest = manifest[~((manifest["split"] == "valid") & (manifest["label"] == 1))]
    checks = answers(manifest, tmp_path)
    assert failed(checks) == ["enough pictures", "even classes"]
    assert checks["enough pictures"].files == ("valid/fake",)


def test_an_uneven_split_is_found(tmp_path: Path) -> None:
    settings = replace(SETTINGS, min_images_per_class=1)
    checks = answers(good().drop(index=[0, 1, 2]), tmp_path, settings)
    assert failed(checks) == ["even classes"]
    assert checks["even classes"].files == ("train/fake", "train/real")


def test_a_share_of_bad_files_may_be_allowed_and_is_named_all_the_same(tmp_path: Path) -> None:
    manifest = good()
    manifest.loc[0, "error"] = "cut short"
    manifest.loc[4, "faces"] = 0
    settings = replace(SETTINGS, max_unreadable_share=0.05)
    checks = answers(manifest, tmp_path, settings)
    assert failed(checks) == []
    assert checks["readable"].files == (manifest.loc[0, "path"],)
    assert checks["faces found"].files == (manifest.loc[4, "path"],)


def test_only_the_first_files_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    manifest = good()
    manifest["error"] = "cut short"
    check = answers(manifest, tmp_path)["readable"]
    assert (len(check.files), check.files_total) == (20, 36)
    with pytest.raises(DataRejected, match="and 16 more"):
        refuse_if_stopped([check])


def test_another_table_is_refused_before_its_rows_are_asked(tmp_path: Path) -> None:
    checks = answers(good().drop(columns="phash"), tmp_path)
    assert failed(checks) == ["columns"]
    assert "phash" in checks["columns"].observed


def test_a_crash_is_not_taken_for_bad_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deepfake_detector.validation import checks as module

    def without_column(*known: Any) -> pd.DataFrame:
        return file_table(*known).drop(columns="side_px")

    monkeypatch.setattr(module, "file_table", without_column)
    with pytest.raises(CheckCrashed, match="large enough") as caught:
        answers(good(), tmp_path)
    assert caught.value.exit_code == 2


def test_both_shapes_of_a_crash_are_seen() -> None:
    from deepfake_detector.validation.checks import _answer

    told = SimpleNamespace(meta={"name": "x", "severity": "stop", "reason": "r"})
    for info in (
        {"raised_exception": True, "exception_message": "boom"},
        {"metric": {"raised_exception": True, "exception_message": "boom"}},
    ):
        broken = SimpleNamespace(expectation_config=told, exception_info=info, result={}, success=False)
        with pytest.raises(CheckCrashed, match="boom"):
            _answer(broken)  # type: ignore[arg-type]
