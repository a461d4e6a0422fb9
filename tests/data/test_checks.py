"""Each fault planted into a good manifest fails its own check, and only that one; the files are named."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from deepfake_detector.data.answers import Check, refuse_if_stopped
from deepfake_detector.data.archives import LABELS, ROOT, SPLITS
from deepfake_detector.data.manifest import COLUMNS, Row
from deepfake_detector.data.tables import class_table, file_table
from deepfake_detector.errors import CheckCrashed, DataRejected
from deepfake_detector.settings import Validate

# Great Expectations imports modules that Python 3.11 calls deprecated (sre_constants, sre_parse).
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

SETTINGS = Validate(min_images_per_class=4, max_class_imbalance=0.2, max_unreadable_share=0.0, min_side_px=64)


def good() -> pd.DataFrame:
    rows = [
        Row(
            f"{ROOT}/{split}/{name}/{n}.jpg",
            split,
            label,
            f"{split}{name}{n}",
            9,
            256,
            256,
            "RGB",
            "JPEG",
            "q",
            "4:2:0",
            "0" * 16,
            "g",
            "sample",
            "",
            "",
        )
        for split in SPLITS
        for name, label in LABELS.items()
        for n in range(6)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def answers(manifest: pd.DataFrame, tmp_path: Path, settings: Validate = SETTINGS) -> dict[str, Check]:
    from deepfake_detector.data.checks import check_manifest

    return {check.name: check for check in check_manifest(manifest, settings, tmp_path / "docs")}


def failed(checks: dict[str, Check]) -> list[str]:
    return [name for name, check in checks.items() if not check.passed]


def test_good_data_passes_and_leaves_pages_only_in_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    checks = answers(good(), tmp_path)
    assert failed(checks) == []
    assert len(checks) == 10
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


def plant(column: str, value: object) -> Callable[[pd.DataFrame], None]:
    def change(manifest: pd.DataFrame) -> None:
        manifest.loc[3, column] = value

    return change


@pytest.mark.parametrize(
    ("name", "change", "severity"),
    [
        ("readable", plant("error", "the JPEG picture is cut short"), "stop"),
        ("labels", plant("label", 2), "stop"),
        ("splits", plant("split", "holdout"), "stop"),
        ("large enough", plant("height_px", 40), "stop"),
        ("no copy across splits", plant("sha256", "testfake5"), "stop"),
        ("no copy within a split", plant("sha256", "trainreal0"), "warn"),
        ("unique paths", plant("path", f"{ROOT}/train/real/0.jpg"), "stop"),
    ],
)
def test_a_planted_fault_fails_its_own_check_and_is_named(
    tmp_path: Path, name: str, change: Callable[[pd.DataFrame], None], severity: str
) -> None:
    manifest = good()
    change(manifest)
    checks = answers(manifest, tmp_path)
    assert failed(checks) == [name]
    assert checks[name].severity == severity
    assert manifest.loc[3, "path"] in checks[name].files
    if severity == "warn":
        refuse_if_stopped(list(checks.values()))
    else:
        with pytest.raises(DataRejected, match=str(manifest.loc[3, "path"])):
            refuse_if_stopped(list(checks.values()))


def test_both_copies_are_named(tmp_path: Path) -> None:
    manifest = good()
    manifest.loc[0, "sha256"] = manifest.loc[35, "sha256"]
    check = answers(manifest, tmp_path)["no copy across splits"]
    assert check.files == tuple(sorted([manifest.loc[0, "path"], manifest.loc[35, "path"]]))


def test_a_missing_class_is_found_although_it_has_no_rows(tmp_path: Path) -> None:
    manifest = good()
    manifest = manifest[~((manifest["split"] == "valid") & (manifest["label"] == 1))]
    checks = answers(manifest, tmp_path)
    assert failed(checks) == ["enough pictures", "even classes"]
    assert checks["enough pictures"].files == ("valid/fake",)


def test_an_uneven_split_is_found(tmp_path: Path) -> None:
    settings = Validate(min_images_per_class=1, max_class_imbalance=0.2, max_unreadable_share=0.0, min_side_px=64)
    checks = answers(good().drop(index=[0, 1, 2]), tmp_path, settings)
    assert failed(checks) == ["even classes"]
    assert checks["even classes"].files == ("train/fake", "train/real")


def test_a_share_of_unreadable_files_may_be_allowed(tmp_path: Path) -> None:
    manifest = good()
    manifest.loc[0, "error"] = "cut short"
    settings = Validate(min_images_per_class=4, max_class_imbalance=0.2, max_unreadable_share=0.05, min_side_px=64)
    checks = answers(manifest, tmp_path, settings)
    assert failed(checks) == []
    assert checks["readable"].files == (manifest.loc[0, "path"],)


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
    from deepfake_detector.data import checks as module

    def without_column(manifest: pd.DataFrame) -> pd.DataFrame:
        return file_table(manifest).drop(columns="side_px")

    monkeypatch.setattr(module, "file_table", without_column)
    with pytest.raises(CheckCrashed, match="large enough") as caught:
        answers(good(), tmp_path)
    assert caught.value.exit_code == 2


def test_both_shapes_of_a_crash_are_seen() -> None:
    from deepfake_detector.data.checks import _answer

    told = SimpleNamespace(meta={"name": "x", "severity": "stop", "reason": "r"})
    for info in (
        {"raised_exception": True, "exception_message": "boom"},
        {"metric": {"raised_exception": True, "exception_message": "boom"}},
    ):
        broken = SimpleNamespace(expectation_config=told, exception_info=info, result={}, success=False)
        with pytest.raises(CheckCrashed, match="boom"):
            _answer(broken)  # type: ignore[arg-type]


def test_tables_count_what_is_readable() -> None:
    manifest = good()
    manifest.loc[0, "error"] = "cut short"
    counted = class_table(manifest).set_index("path")
    assert counted.loc["train/real", "images"] == 5
    assert counted.loc["train/real", "imbalance"] == pytest.approx(1 / 11)
    assert pd.isna(file_table(manifest).loc[0, "side_px"])
