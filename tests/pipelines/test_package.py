from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.errors import BundleCorrupt, ModelNotFound
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.scoring.choice import choose_bundle
from deepfake_detector.serving.bento import code_digest, read_champion

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of what packaging reads, without a champion."""
    copy = tmp_path / "repository"
    for folder in ("src", "pipelines"):
        shutil.copytree(REPOSITORY / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("bentofile.yaml", "params.yaml"):
        shutil.copy(REPOSITORY / file, copy)
    return copy


def register(root: Path, bundle: Bundle, version: str = "1", **changed: str) -> None:
    champion = {"version": version, "run_id": bundle.contract.run_id, "bundle_sha256": bundle.sha256}
    champion["bundle"] = bundle.path.relative_to(root).as_posix()
    (root / "reports").mkdir(exist_ok=True)
    (root / "reports" / "register.json").write_text(json.dumps({"champion": champion | changed}))


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("BENTOML_HOME", "PYTHONPATH")}


def package(root: Path) -> tuple[int, str, dict[str, str]]:
    command = [sys.executable, "-m", "pipelines.package"]
    done = subprocess.run(command, cwd=root, env=environment(), capture_output=True, text=True, check=False)
    report = root / "reports" / "package.json"
    return done.returncode, done.stdout + done.stderr, json.loads(report.read_text()) if report.is_file() else {}


@pytest.mark.slow
def test_a_champion_is_packaged_once_and_anew_when_it_or_the_code_changes(root: Path, tiny: Any) -> None:
    first = tiny.write_bundle(root / "models" / "first", run_id="1" * 32)
    second = tiny.write_bundle(root / "models" / "second", run_id="2" * 32)
    register(root, first)
    code, said, report = package(root)
    assert (code, report["bundle_sha256"]) == (0, first.sha256), said
    assert "built" in said

    assert package(root)[1:] == (f"{report['bento']}: nothing to do\n", report)
    assert str(root) not in json.dumps(report)
    assert choose_bundle(None, root).path == root / report["bundle"]
    assert choose_bundle(None, root).sha256 == first.sha256

    register(root, second, "2")
    _, _, promoted = package(root)
    assert (promoted["bundle_sha256"], promoted["version"]) == (second.sha256, "2")
    register(root, first)
    _, _, rolled_back = package(root)
    assert rolled_back["bundle_sha256"] == first.sha256
    assert len({report["bento"], promoted["bento"], rolled_back["bento"]}) == 3

    page = root / "src" / "deepfake_detector" / "errors.py"
    page.write_text(page.read_text() + "\n# changed\n")
    _, _, recoded = package(root)
    assert recoded["model"] == rolled_back["model"]
    assert recoded["bento"] != rolled_back["bento"]
    assert recoded["code_sha256"] != rolled_back["code_sha256"]

    served = loaded_elsewhere(root)
    assert served["sha256"] == first.sha256
    assert served["file"].startswith(str(root / ".bentoml" / "bentos"))
    assert served["foreign"] == []


def loaded_elsewhere(root: Path) -> dict[str, Any]:
    """Load the latest bento in an empty folder; which bundle answers, and from which files."""
    code = (
        "import bentoml, json, sys\n"
        "service = bentoml.load('deepfake-detector:latest').inner()\n"
        "ours = {m.__file__ for n, m in sys.modules.items() if n.startswith('deepfake_detector') and m.__file__}\n"
        "own = sys.modules['deepfake_detector.errors'].__file__\n"
        "foreign = sorted(f for f in ours if '.bentoml/bentos' not in f)\n"
        "print(json.dumps({'sha256': service.detector.bundle.sha256, 'file': own, 'foreign': foreign}))"
    )
    empty = root.parent / "empty"
    empty.mkdir()
    home = environment() | {"BENTOML_HOME": str(root / ".bentoml")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=empty, env=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(empty.iterdir()) == []
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_without_a_registered_champion_the_next_step_is_named(root: Path) -> None:
    code, said, report = package(root)
    assert (code, report) == (1, {})
    assert "dvc repro register" in said


def test_a_report_without_a_champion_is_bad_input(tmp_path: Path) -> None:
    report = tmp_path / "register.json"
    report.write_text('{"champion": null}')
    with pytest.raises(ModelNotFound, match="names no champion"):
        read_champion(report, tmp_path)


def test_another_bundle_than_the_registered_one_is_refused(tmp_path: Path, tiny: Any) -> None:
    bundle = tiny.write_bundle(tmp_path / "champion")
    register(tmp_path, bundle, bundle_sha256="0" * 64)
    with pytest.raises(BundleCorrupt, match="the report names 000"):
        read_champion(tmp_path / "reports" / "register.json", tmp_path)


def test_the_code_digest_sees_what_is_served_and_nothing_else(root: Path) -> None:
    before = code_digest(root)
    assert code_digest(root) == before
    (root / "src" / "deepfake_detector" / "settings.py").write_text("changed")
    (root / "pipelines" / "package.py").write_text("changed")
    assert code_digest(root) == before
    (root / "src" / "deepfake_detector" / "scoring" / "new.py").touch()
    assert code_digest(root) != before
