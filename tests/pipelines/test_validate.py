"""The stage `validate`, run as DVC runs it: what is left behind when the data is good, bad, or the tool breaks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from deepfake_detector.data.archives import ROOT, pack
from deepfake_detector.data.manifest import read_manifest
from deepfake_detector.data.sample import draw_sample
from deepfake_detector.workspace import Workspace
from pipelines.stage import run_stage
from pipelines.validate import main

# Great Expectations imports modules that Python 3.11 calls deprecated (sre_constants, sre_parse).
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    return {
        f"{ROOT}/{split}/{label}/{n}.jpg": draw_sample(1, split, label, n)
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
    workspace = Workspace()
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
    workspace.archive.parent.mkdir(parents=True)
    return workspace


def failed(workspace: Workspace) -> list[str]:
    report = json.loads(workspace.report("validate").read_text(encoding="utf-8"))
    return [check["name"] for check in report["checks"] if not check["passed"]]


def test_good_data_leaves_a_manifest_pages_and_a_stable_report(
    workspace: Workspace, pictures: dict[str, bytes]
) -> None:
    pack(workspace.archive, pictures.items())
    reports = []
    for _ in range(2):
        assert run_stage(main) == 0
        reports.append(workspace.report("validate").read_text(encoding="utf-8"))
    assert reports[0] == reports[1]
    assert str(workspace.root) not in reports[0]
    assert list(read_manifest(workspace.manifest)["path"]) == sorted(pictures)
    assert (workspace.data_docs / "index.html").is_file()


def test_bad_data_ends_with_exit_1_names_the_files_and_leaves_no_manifest(
    workspace: Workspace, pictures: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    pack(workspace.archive, pictures.items())
    assert run_stage(main) == 0
    cut, moved = f"{ROOT}/train/fake/0.jpg", f"{ROOT}/test/real/0.jpg"
    bad = pictures | {cut: pictures[cut][:2000], moved: pictures[f"{ROOT}/train/real/0.jpg"]}
    pack(workspace.archive, bad.items())
    assert run_stage(main) == 1
    told = capsys.readouterr().err
    assert "data_rejected" in told
    assert cut in told
    assert moved in told
    assert failed(workspace) == ["readable", "no copy across splits", "enough pictures"]
    assert not workspace.manifest.exists()


def test_an_unsafe_archive_ends_with_exit_1(
    workspace: Workspace, pictures: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    pack(workspace.archive, (pictures | {"../../evil.jpg": b"x"}).items())
    assert run_stage(main) == 1
    assert "../../evil.jpg" in capsys.readouterr().err


def test_a_broken_check_ends_with_exit_2(
    workspace: Workspace,
    pictures: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from deepfake_detector.data import checks

    pack(workspace.archive, pictures.items())
    whole = checks.file_table
    monkeypatch.setattr(checks, "file_table", lambda manifest: whole(manifest).drop(columns="copies"))
    assert run_stage(main) == 2
    assert "check_crashed" in capsys.readouterr().err
    assert not workspace.manifest.exists()
