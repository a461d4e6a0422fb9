"""Each fault planted into a good manifest fails its own check alone, and the files are named."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepfake_detector.config import Validate, read_settings
from deepfake_detector.datasets.archive import KAGGLE_ROOT, LABELS, SPLITS
from deepfake_detector.errors import CheckCrashed, DataRejected, ToolFailed
from deepfake_detector.paths import Workspace
from deepfake_detector.validation.check_tables import file_table
from deepfake_detector.validation.image_record import MANIFEST_COLUMNS, ImageRecord
from deepfake_detector.validation.leak_probes import LeakProbe
from deepfake_detector.validation.results import CheckResult, raise_if_stopped

# Great Expectations imports modules that Python 3.11 calls deprecated (sre_constants, sre_parse).
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

ROOT = Path(__file__).parents[2]
DEFAULTS = read_settings(ROOT / "params.yaml").validate
SETTINGS = replace(DEFAULTS, min_images_per_class=4)
EXAMPLE = ROOT / "docs" / "examples" / "great_expectations_checkpoint.py"
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

    if not (tmp_path / "gx").exists():
        shutil.copytree(ROOT / "gx", tmp_path / "gx")
    results = check_manifest(manifest, settings, Workspace(tmp_path), **inputs)
    return {result.name: result for result in results}


def page(tmp_path: Path, name: str) -> str:
    return (tmp_path / "reports" / "data_docs" / f"{name}.html").read_text(encoding="utf-8")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def failed(checks: dict[str, CheckResult]) -> list[str]:
    return [name for name, check in checks.items() if not check.passed]


def test_good_data_passes_and_files_are_written_to_their_folders_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    checks = check(good(), tmp_path)
    assert failed(checks) == []
    assert len(checks) == 27
    raise_if_stopped(list(checks.values()))
    front_page = page(tmp_path, "index")
    assert all(result.name in front_page and result.reason in front_page for result in checks.values())
    for written in (tmp_path / "reports" / "data_docs").rglob("*.html"):
        # Opening a page must not call another host: as Great Expectations writes them they call six.
        assert not re.search(
            r"<script|(src|rel)=[^>]*https?://|url\([^)]*https?://", written.read_text(encoding="utf-8")
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "gx", "reports"]
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["manifest_rejected.parquet"]
    assert sorted(p.name for p in (tmp_path / "gx").iterdir()) == [
        "checkpoints", "expectations", "great_expectations.yml", "validation_definitions",
    ]  # fmt: skip


def test_the_same_data_give_the_same_pages_in_any_folder(tmp_path: Path) -> None:
    written = []
    for name in ("first", "second"):
        check(good(), tmp_path / name)
        written.append(contents(tmp_path / name))
    assert written[0] == written[1]
    assert len([name for name in written[0] if name.endswith(".html")]) == 9
    for name, content in written[0].items():
        assert str(tmp_path).encode() not in content, name
        assert not re.search(rb"20\d\d-?\d\d-?\d\dT\d\d", content), f"{name} holds a time"


def test_links_between_pages_lead_to_pages(tmp_path: Path) -> None:
    check(good(), tmp_path)
    for written in (tmp_path / "reports" / "data_docs").rglob("*.html"):
        links = re.findall(r'href="([^"#]+)', written.read_text(encoding="utf-8"))
        assert links or written.parent.name == "expectations"
        for link in links:
            assert (written.parent / link).resolve().is_file(), f"{written.name}: {link}"


def test_committed_suites_are_those_of_the_default_settings(tmp_path: Path) -> None:
    from deepfake_detector.validation.suite import write_suites

    write_suites(DEFAULTS, tmp_path)
    assert contents(tmp_path / "expectations") == contents(ROOT / "gx" / "expectations")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "expectations").iterdir()}
    write_suites(DEFAULTS, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    write_suites(replace(DEFAULTS, min_side_px=80), tmp_path)
    changed = [path.name for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert changed == ["files.json"]


def test_the_committed_context_names_no_absolute_path() -> None:
    for path in (ROOT / "gx").rglob("*"):
        if path.is_file():
            assert not re.search(r"[:=\"'] *\"?(/|[A-Za-z]:\\|~)", path.read_text(encoding="utf-8")), path


def test_the_checkpoint_runs_again_in_a_fresh_process(tmp_path: Path) -> None:
    manifest = good()
    manifest.loc[5, "brightness"] = 3.0
    probe = LeakProbe("metadata", 0.53, 0.51, 0.55, 0.6, "stop", True, "size alone does not separate", 72)
    check(manifest, tmp_path, probes=[probe])
    before = contents(tmp_path)
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 20
    example = subprocess.run([sys.executable, EXAMPLE], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert example.returncode == 0, example.stderr
    assert "brightness" in example.stdout
    assert str(manifest["path"][5]) in example.stdout
    assert contents(tmp_path) == before


def test_the_checkpoint_finds_its_files_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import great_expectations as gx

    check(good(), tmp_path / "project")
    before = contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    context = gx.get_context(mode="file", project_root_dir=tmp_path / "project")
    run = context.checkpoints.get("data_checks").run()
    assert run.success
    assert sorted(result.suite_name for result in run.run_results.values()) == [
        "classes", "files", "manifest", "splits",
    ]  # fmt: skip
    assert contents(tmp_path) == before
    (site,) = context.get_docs_sites_urls()
    assert Path(str(site["site_url"]).removeprefix("file://")).resolve() == (
        tmp_path / "project" / "reports" / "data_docs" / "index.html"
    )


def test_a_user_may_add_an_asset_and_the_saved_context_names_no_absolute_path(tmp_path: Path) -> None:
    import great_expectations as gx
    from great_expectations.datasource.fluent.pandas_filesystem_datasource import PandasFilesystemDatasource

    check(good(), tmp_path / "project")
    context = gx.get_context(mode="file", project_root_dir=tmp_path / "project")
    derived = context.data_sources.get("derived")
    assert isinstance(derived, PandasFilesystemDatasource)
    derived.add_parquet_asset("own").add_batch_definition_path("all", "files.parquet")
    text = (tmp_path / "project" / "gx" / "great_expectations.yml").read_text(encoding="utf-8")
    assert "own:" in text
    assert str(tmp_path) not in text
    assert (
        gx.get_context(mode="file", project_root_dir=tmp_path / "project").checkpoints.get("data_checks").run().success
    )


def test_the_checkpoint_reads_the_accepted_manifest(tmp_path: Path) -> None:
    import great_expectations as gx

    from deepfake_detector.validation.checks import accept_manifest
    from deepfake_detector.validation.manifest import read_manifest, write_manifest

    check(good(), tmp_path)
    workspace = Workspace(tmp_path)
    accept_manifest(workspace)
    manifest = read_manifest(workspace.manifest)
    assert not workspace.manifest.with_name("manifest_rejected.parquet").exists()
    checkpoint = gx.get_context(mode="file", project_root_dir=tmp_path).checkpoints.get("data_checks")
    assert checkpoint.run().success
    manifest.loc[0, "label"] = 7
    write_manifest(manifest, workspace.manifest)
    assert not checkpoint.run().success
    assert "1 stopped" in page(tmp_path, "index")


def test_what_was_not_measured_is_grey(tmp_path: Path) -> None:
    probe = LeakProbe("thumbnail", None, None, None, 0.85, "warn", True, "not measured: too few", 36)
    checks = check(good(), tmp_path, probes=[probe])
    unmeasured = [name for name, result in checks.items() if not result.measured]
    assert unmeasured == [
        "labels agree with CSV", "balanced classes in each source", "both classes in each source",
        "consistent labels across splits",
    ]  # fmt: skip
    assert all(checks[name].observed == "nothing to compare" for name in unmeasured)
    front = page(tmp_path, "index")
    assert "0 stopped, 0 warned, 23 passed, 5 not measured" in front
    for name in (*unmeasured, "probe thumbnail"):
        assert re.search(rf'<td class="not-measured">not measured</td><td>{name} <span', front), name
    for suite, name in (("files", unmeasured[0]), ("classes", unmeasured[1]), ("splits", unmeasured[3])):
        (row,) = [row for row in re.findall(r"<tr>.*?</tr>", page(tmp_path, f"validations/{suite}"), re.DOTALL)
                  if f"{name} [" in row]  # fmt: skip
        assert "text-success" not in row, name
        assert "fa-minus-circle" in row, name
    assert "text-success" in page(tmp_path, "validations/files")  # the others were measured
    assert "text-success" not in page(
        tmp_path, "validations/splits"
    )  # nothing was, so the page as a whole did not pass
    assert "Nothing to compare" in page(tmp_path, "validations/splits")


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
    text = page(tmp_path, "validations/files")
    result = checks["no duplicate across splits"]
    assert f"no duplicate across splits [stop]: {result.reason}" in text
    assert "df.filter" not in text
    assert all(text.count(path) >= 2 for path in result.files)  # once as the failing file, once as its match
    front = page(tmp_path, "index")
    assert "2 stopped, 0 warned, 22 passed, 4 not measured" in front
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


def test_one_class_sources_are_named_and_a_left_out_one_counts_nowhere(tmp_path: Path) -> None:
    """Fakes alone, all of the test split and encoded in a way of their own: nothing can be learnt from it."""
    sources = {"celeba": ("train", 0, 6), "studio": ("train", 1, 6), "portraits": ("test", 1, 40)}
    extra = [
        asdict(replace(GOOD, path=f"{name}/{n}", group=f"{name}/{n}", split=split, label=label, sha256=f"{name}{n}",
                       source=name, quantization="another" if name == "portraits" else "q"))
        for name, (split, label, count) in sources.items() for n in range(count)
    ]  # fmt: skip
    manifest = pd.concat([good(), pd.DataFrame(extra)], ignore_index=True)
    checks = check(manifest, tmp_path, left_out={"portraits"})
    assert failed(checks) == ["both classes in each source"]
    assert checks["both classes in each source"].files == ("train/fake of studio", "train/real of celeba")
    trained = check(manifest, tmp_path)
    assert {"balanced classes", "same quantization tables"} <= set(failed(trained))


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


def test_without_a_context_the_command_that_restores_it_is_named(tmp_path: Path) -> None:
    from deepfake_detector.validation.checks import check_manifest

    with pytest.raises(ToolFailed, match="git restore gx"):
        check_manifest(good(), SETTINGS, Workspace(tmp_path))


def test_a_crash_is_not_reported_as_bad_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deepfake_detector.validation import checks as module

    def without_column(*inputs: Any) -> pd.DataFrame:
        return file_table(*inputs).drop(columns="side_px")

    monkeypatch.setattr(module, "file_table", without_column)
    with pytest.raises(CheckCrashed, match="large enough") as caught:
        check(good(), tmp_path)
    assert caught.value.exit_code == 2


def test_both_forms_of_an_exception_are_found() -> None:
    from deepfake_detector.validation.check_results import suite_results

    config = SimpleNamespace(meta={"name": "x", "severity": "stop", "reason": "r"})
    for info in (
        {"raised_exception": True, "exception_message": "boom"},
        {"metric": {"raised_exception": True, "exception_message": "boom"}},
    ):
        broken = SimpleNamespace(expectation_config=config, exception_info=info, result={}, success=False)
        with pytest.raises(CheckCrashed, match="boom"):
            suite_results(SimpleNamespace(results=[broken]))  # type: ignore[arg-type]
