"""The stage `validate`, run as DVC runs it: its outputs when the data is good, bad, or a check crashes."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from deepfake_detector.config import Sample
from deepfake_detector.datasets.archive import KAGGLE_ROOT, LABELS_FILE, Entry, labels_file_bytes
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample, write_sample
from deepfake_detector.io import write_json
from deepfake_detector.paths import Workspace
from deepfake_detector.validation.manifest import read_manifest
from deepfake_detector.validation.older_reports import JSON_KEY, NOTICE
from pipelines.stage import run_stage
from pipelines.validate import main

# Great Expectations imports modules that Python 3.11 calls deprecated (sre_constants, sre_parse).
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    return {
        f"{KAGGLE_ROOT}/{split}/{label}/{n}.jpg": draw_sample(1, split, label, n)
        for split in ("train", "valid", "test")
        for label in ("real", "fake")
        for n in range(3)
    }


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Workspace, "enter", lambda self: self)  # leaves the environment of other tests alone
    params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    params["validate"]["min_images_per_class"] = 3
    params["validate"]["severity"]["near_duplicates_across_splits"] = "stop"
    workspace = Workspace()
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
    workspace.raw.mkdir(parents=True)
    shutil.copytree(PARAMS.parent / "gx", tmp_path / "gx")
    return workspace


def test_settings_shape_the_suites_that_a_user_opens(workspace: Workspace, pictures: dict[str, bytes]) -> None:
    write_zip(workspace.raw / "faces.zip", pictures.items())
    assert run_stage(main) == 0
    suites = workspace.root / "gx" / "expectations"
    assert (
        json.loads((suites / "classes.json").read_text(encoding="utf-8"))["expectations"][0]["kwargs"]["min_value"] == 3
    )
    files = json.loads((suites / "files.json").read_text(encoding="utf-8"))["expectations"]
    (near,) = [each for each in files if each["kwargs"].get("column") == "near_duplicate_in_other_split"]
    assert near["severity"] == "critical"


def failed(workspace: Workspace) -> list[str]:
    report = json.loads(workspace.report("validate").read_text(encoding="utf-8"))
    return [check["name"] for check in report["checks"] if not check["passed"]]


def test_good_data_gives_a_manifest_pages_and_a_stable_report(workspace: Workspace, pictures: dict[str, bytes]) -> None:
    write_zip(workspace.raw / "faces.zip", pictures.items())
    reports, outputs = [], []
    for _ in range(2):
        assert run_stage(main) == 0
        reports.append(workspace.report("validate").read_text(encoding="utf-8"))
        outputs.append({path: path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()})
    assert outputs[0] == outputs[1]  # Data Docs too: DVC compares their digests
    assert not any(str(workspace.root).encode() in content for content in outputs[0].values())
    assert list(read_manifest(workspace.manifest)["path"]) == sorted(f"faces/{path}" for path in pictures)
    assert (workspace.data_docs / "index.html").is_file()
    assert (workspace.figures("validate") / "probes.png").is_file()
    assert [probe["name"] for probe in json.loads(reports[0])["probes"]] == [
        "metadata",
        "thumbnail",
        "border",
        "centre",
        "sharpness",
        "compression",
    ]


def reencoded(data: bytes, kind: str, **options: int) -> bytes:
    stream = io.BytesIO()
    Image.open(io.BytesIO(data)).save(stream, kind, **options)
    return stream.getvalue()


def faceless() -> bytes:
    """A striped gradient: bright, sharp enough, and without a face."""
    y, x = np.indices((256, 256))
    stream = io.BytesIO()
    stripes = np.dstack([(x + y) // 2, y, 120 + x % 32 * 2]).astype(np.uint8)
    Image.fromarray(stripes).save(stream, "JPEG", quality=95, subsampling=2)
    return stream.getvalue()


def test_each_planted_fault_is_caught_by_name(
    workspace: Workspace, pictures: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    write_zip(workspace.raw / "faces.zip", pictures.items())
    assert run_stage(main) == 0
    older = workspace.figures("evaluate") / "report.html"
    older.parent.mkdir()
    older.write_text("<body>figures</body>", encoding="utf-8")
    capsys.readouterr()
    planted = {
        "test/real/0.jpg": pictures[f"{KAGGLE_ROOT}/train/real/0.jpg"],  # copied from train to test
        "valid/fake/0.jpg": reencoded(pictures[f"{KAGGLE_ROOT}/train/fake/1.jpg"], "JPEG", quality=60),
        "train/fake/0.jpg": pictures[f"{KAGGLE_ROOT}/train/fake/0.jpg"][:2000],  # truncated
        "train/real/2.jpg": faceless(),
    }
    folder_contradicts = b"path,label_str\ntest/real/1.jpg,fake\ntest/real/2.jpg,fake\ntest/fake/1.jpg,fake\n"
    bad = (
        pictures | {f"{KAGGLE_ROOT}/{name}": data for name, data in planted.items()} | {"test.csv": folder_contradicts}
    )
    write_zip(workspace.raw / "faces.zip", bad.items())
    assert run_stage(main) == 1
    report = json.loads(workspace.report("validate").read_text(encoding="utf-8"))
    named = {
        check["name"]: [path.removeprefix(f"faces/{KAGGLE_ROOT}/") for path in check["files"]]
        for check in report["checks"]
        if not check["passed"]
    }
    assert named == {
        "no duplicate across splits": ["test/real/0.jpg", "train/real/0.jpg"],
        "no near-duplicate across splits": ["train/fake/1.jpg", "valid/fake/0.jpg"],
        "readable": ["train/fake/0.jpg"],
        "faces found": ["train/real/2.jpg"],
        "labels agree with CSV": ["test/real/1.jpg", "test/real/2.jpg"],
        "enough pictures": ["train/fake"],
    }
    output = capsys.readouterr()
    assert "data_rejected" in output.err
    for name in planted.keys() - {"train/real/2.jpg"}:
        assert f"faces/{KAGGLE_ROOT}/{name}" in output.err
    assert "warned        faces found" in output.out
    assert "1 warned, 5 stopped" in output.out
    assert not workspace.manifest.exists()
    assert NOTICE in older.read_text(encoding="utf-8")
    assert "5 stopped, 1 warned" in (workspace.data_docs / "index.html").read_text(encoding="utf-8")


def test_a_class_saved_as_png_and_a_group_in_two_splits_are_caught(
    workspace: Workspace, pictures: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    files, entries = {}, []
    for path, data in pictures.items():
        *_, split, label, name = path.split("/")
        fake = label == "fake"
        inner = f"{split}-{label}-{name}" + (".png" if fake else "")
        files[inner] = reencoded(data, "PNG") if fake else data
        group = "video.mp4" if (split, name) in {("train", "1.jpg"), ("test", "2.jpg")} and fake else inner
        entries.append(Entry(inner, split, int(fake), group))
    write_zip(workspace.raw / "faces.zip", (files | {LABELS_FILE: labels_file_bytes(entries)}).items())
    assert run_stage(main) == 1
    assert failed(workspace) == ["groups within one split", "same file formats"]
    errors = capsys.readouterr().err
    assert "faces/test-fake-2.jpg.png" in errors
    assert "faces/train-fake-1.jpg.png" in errors
    assert errors.count(".png") >= 9


def test_an_unsafe_archive_ends_with_exit_1(
    workspace: Workspace, pictures: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    write_zip(workspace.raw / "faces.zip", pictures.items())
    assert run_stage(main) == 0
    write_json(workspace.report("train"), {"epochs": 3})
    write_zip(workspace.raw / "faces.zip", (pictures | {"../../x": b"x"}).items())
    assert run_stage(main) == 1
    assert "'../../x'" in capsys.readouterr().err
    assert json.loads(workspace.report("train").read_text(encoding="utf-8"))[JSON_KEY] == NOTICE
    for made_of_the_data_before in (
        workspace.manifest, workspace.report("validate"), workspace.data_docs, workspace.figures("validate"),
    ):  # fmt: skip
        assert not made_of_the_data_before.exists()


def test_a_zip_bomb_ends_with_exit_1(
    workspace: Workspace, pictures: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    write_zip(workspace.raw / "faces.zip", pictures.items())
    with zipfile.ZipFile(workspace.raw / "faces.zip", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{KAGGLE_ROOT}/train/real/bomb.jpg", bytes(4 * 2**20))
    assert run_stage(main) == 1
    errors = capsys.readouterr().err
    assert f"{KAGGLE_ROOT}/train/real/bomb.jpg" in errors
    assert "a zip bomb" in errors


@pytest.mark.slow
def test_no_check_fails_on_clean_samples(workspace: Workspace) -> None:
    for seed in range(2, 5):
        write_sample(Sample(seed=seed, train=12, valid=6, test=6), workspace.raw / "faces.zip")
        assert run_stage(main) == 0
        assert failed(workspace) == [], seed


def test_a_crashed_check_ends_with_exit_2(
    workspace: Workspace,
    pictures: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from deepfake_detector.validation import check_tables, checks

    write_zip(workspace.raw / "faces.zip", pictures.items())
    monkeypatch.setattr(
        checks, "file_table", lambda *inputs: check_tables.file_table(*inputs).drop(columns="duplicate_in_split")
    )
    assert run_stage(main) == 2
    assert "check_crashed" in capsys.readouterr().err
    assert not workspace.manifest.exists()
