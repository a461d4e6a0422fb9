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
from deepfake_detector.inference.model_selection import choose
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.packaging import code_digest, read_champion

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

    _, said, again = package(root)
    assert f"{report['bento']}: nothing to do\n" in said
    assert again == report
    assert str(root) not in json.dumps(report)
    assert report["serves"]["name"] == "champion"
    assert choose(None, root).bundle.path == root / report["bundle"]
    assert choose(None, root).bundle.sha256 == first.sha256

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

    served = loaded_elsewhere(root, "deepfake-detector:latest")
    assert (served["about"]["name"], served["about"]["reason"]) == ("champion", "the registry's champion, version 1")
    assert served["sha256"] == first.sha256
    assert served["file"].startswith(str(root / ".bentoml" / "bentos"))
    assert served["foreign"] == []


@pytest.mark.slow
def test_pretrained_is_packaged_beside_the_champion_and_serves_photographs(root: Path, tiny: Any) -> None:
    pretrained = tiny.write_bundle(root / "pretrained", run_id="9" * 32)
    code, said, alone = package(root)
    assert (code, alone["bento"], alone["serves"]["name"]) == (0, None, "pretrained"), said
    assert alone["serves"]["bento"] == alone["pretrained"]["bento"]

    drawn = tiny.write_bundle(root / "models" / "drawn", run_id="1" * 32, trained_on="drawn sample")
    register(root, drawn)
    code, said, both = package(root)
    assert (code, both["serves"]["name"], both["pretrained"]) == (0, "pretrained", alone["pretrained"]), said
    assert "drawn sample" in both["serves"]["reason"]

    photographs = tiny.write_bundle(root / "models" / "photographs", run_id="2" * 32)
    register(root, photographs, "2")
    code_file = root / "src" / "deepfake_detector" / "errors.py"
    code_file.write_text(code_file.read_text() + "\n# changed, so that both bentos are built in one process\n")
    _, _, best = package(root)
    assert (best["serves"]["name"], best["serves"]["bento"]) == ("champion", best["bento"])

    # Each bento keeps its own model, also when another one became the latest since.
    asked = {both["bento"]: drawn, best["bento"]: photographs, best["pretrained"]["bento"]: pretrained}
    for bento, bundle in asked.items():
        assert loaded_elsewhere(root, bento)["sha256"] == bundle.sha256
    about = loaded_elsewhere(root, best["pretrained"]["bento"])["about"]
    assert (about["name"], about["reason"]) == ("pretrained", "the model that ships with the code")


def loaded_elsewhere(root: Path, bento: str) -> dict[str, Any]:
    """Load a bento in an empty folder; which bundle answers, and from which files."""
    code = (
        "import bentoml, json, sys\n"
        "service = bentoml.load(sys.argv[1]).inner()\n"
        "ours = {m.__file__ for n, m in sys.modules.items() if n.startswith('deepfake_detector') and m.__file__}\n"
        "own = sys.modules['deepfake_detector.errors'].__file__\n"
        "foreign = sorted(f for f in ours if '.bentoml/bentos' not in f)\n"
        "about = service.desk.about.model_dump(mode='json')\n"
        "service.stop()\n"
        "print(json.dumps({'sha256': about['sha256'], 'file': own, 'foreign': foreign, 'about': about}))"
    )
    empty = root.parent / "empty"
    empty.mkdir(exist_ok=True)
    home = environment() | {"BENTOML_HOME": str(root / ".bentoml")}
    command = [sys.executable, "-c", code, bento]
    done = subprocess.run(command, cwd=empty, env=home, capture_output=True, text=True, check=False, timeout=240)
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
