from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.code_digest import import_closure
from deepfake_detector.errors import BundleCorrupt, ModelNotFound
from deepfake_detector.inference.model_selection import select_model
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.packaging import bento_files, code_digest, read_champion

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the files that packaging reads, without a champion."""
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


def package(root: Path) -> tuple[int, str, dict[str, Any]]:
    """Run the stage; return its exit code, its output and its report."""
    command = [sys.executable, "-m", "pipelines.package"]
    done = subprocess.run(command, cwd=root, env=environment(), capture_output=True, text=True, check=False)
    report = root / "reports" / "package.json"
    return done.returncode, done.stdout + done.stderr, json.loads(report.read_text()) if report.is_file() else {}


@pytest.mark.slow
def test_the_champion_is_packaged_again_only_when_it_or_the_code_changes(root: Path, tiny: Any) -> None:
    first = tiny.write_bundle(root / "models" / "first", run_id="1" * 32)
    second = tiny.write_bundle(root / "models" / "second", run_id="2" * 32)
    register(root, first)
    code, output, report = package(root)
    assert (code, report["bundle_sha256"]) == (0, first.sha256), output
    assert "built" in output

    _, output, second_report = package(root)
    assert f"{report['bento']}: up to date\n" in output
    assert second_report == report
    assert str(root) not in json.dumps(report)
    assert report["serves"]["name"] == "champion"
    assert select_model(None, root).bundle.path == root / report["bundle"]
    assert select_model(None, root).bundle.sha256 == first.sha256

    register(root, second, "2")
    _, _, promoted = package(root)
    assert (promoted["bundle_sha256"], promoted["version"]) == (second.sha256, "2")
    register(root, first)
    _, _, rolled_back = package(root)
    assert rolled_back["bundle_sha256"] == first.sha256
    assert len({report["bento"], promoted["bento"], rolled_back["bento"]}) == 3

    code_file = root / "src" / "deepfake_detector" / "errors.py"
    code_file.write_text(code_file.read_text() + "\n# changed\n")
    _, _, recoded = package(root)
    assert recoded["model"] == rolled_back["model"]
    assert recoded["bento"] != rolled_back["bento"]
    assert recoded["code_sha256"] != rolled_back["code_sha256"]

    served = load_bento(root, "deepfake-detector:latest")
    assert (served["about"]["name"], served["about"]["reason"]) == ("champion", "the registry's champion, version 1")
    assert served["sha256"] == first.sha256
    assert served["file"].startswith(str(root / ".bentoml" / "bentos"))
    assert served["files_outside_the_bento"] == []


@pytest.mark.slow
def test_the_pretrained_model_is_packaged_and_served_unless_the_champion_knows_photographs(
    root: Path, tiny: Any
) -> None:
    pretrained = tiny.write_bundle(root / "pretrained", run_id="9" * 32)
    code, output, alone = package(root)
    assert (code, alone["bento"], alone["serves"]["name"]) == (0, None, "pretrained"), output
    assert alone["serves"]["bento"] == alone["pretrained"]["bento"]

    drawn = tiny.write_bundle(root / "models" / "drawn", run_id="1" * 32, trained_on="drawn sample")
    register(root, drawn)
    code, output, both = package(root)
    assert (code, both["serves"]["name"], both["pretrained"]) == (0, "pretrained", alone["pretrained"]), output
    assert "drawn sample" in both["serves"]["reason"]

    photographs = tiny.write_bundle(root / "models" / "photographs", run_id="2" * 32)
    register(root, photographs, "2")
    code_file = root / "src" / "deepfake_detector" / "errors.py"
    code_file.write_text(code_file.read_text() + "\n# changed, so that both bentos are built in one process\n")
    _, _, best = package(root)
    assert (best["serves"]["name"], best["serves"]["bento"]) == ("champion", best["bento"])

    # Each bento serves its own model, even when a newer one is the latest in the store.
    expected = {both["bento"]: drawn, best["bento"]: photographs, best["pretrained"]["bento"]: pretrained}
    for bento, bundle in expected.items():
        assert load_bento(root, bento)["sha256"] == bundle.sha256
    about = load_bento(root, best["pretrained"]["bento"])["about"]
    assert (about["name"], about["reason"]) == ("pretrained", "the model that ships with the code")


def load_bento(root: Path, bento: str) -> dict[str, Any]:
    """Load a bento in an empty folder; return which model it serves and which code files it loaded."""
    code = (
        "import bentoml, json, sys\n"
        "service = bentoml.load(sys.argv[1]).inner()\n"
        "ours = {m.__file__ for n, m in sys.modules.items() if n.startswith('deepfake_detector') and m.__file__}\n"
        "own = sys.modules['deepfake_detector.errors'].__file__\n"
        "outside = sorted(f for f in ours if '.bentoml/bentos' not in f)\n"
        "about = service.dispatcher.about.model_dump(mode='json')\n"
        "service.stop()\n"
        "found = {'sha256': about['sha256'], 'file': own, 'files_outside_the_bento': outside, 'about': about}\n"
        "print(json.dumps(found))"
    )
    empty = root.parent / "empty"
    empty.mkdir(exist_ok=True)
    variables = environment() | {"BENTOML_HOME": str(root / ".bentoml")}
    command = [sys.executable, "-c", code, bento]
    done = subprocess.run(command, cwd=empty, env=variables, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert list(empty.iterdir()) == []
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_without_a_registered_champion_the_error_names_the_next_step(root: Path) -> None:
    code, output, report = package(root)
    assert (code, report) == (1, {})
    assert "dvc repro register" in output


def test_a_report_without_a_champion_is_rejected(tmp_path: Path) -> None:
    report = tmp_path / "register.json"
    report.write_text('{"champion": null}')
    with pytest.raises(ModelNotFound, match="names no champion"):
        read_champion(report, tmp_path)


def test_a_bundle_other_than_the_registered_one_is_rejected(tmp_path: Path, tiny: Any) -> None:
    bundle = tiny.write_bundle(tmp_path / "champion")
    register(tmp_path, bundle, bundle_sha256="0" * 64)
    with pytest.raises(BundleCorrupt, match="the report names 000"):
        read_champion(tmp_path / "reports" / "register.json", tmp_path)


def test_the_code_digest_covers_the_served_code_only(root: Path) -> None:
    before = code_digest(root)
    assert code_digest(root) == before
    (root / "src" / "deepfake_detector" / "config.py").write_text("changed")
    (root / "pipelines" / "package.py").write_text("changed")
    assert code_digest(root) == before
    (root / "src" / "deepfake_detector" / "inference" / "new.py").touch()
    assert code_digest(root) != before


def test_the_bento_includes_exactly_the_code_that_serving_imports() -> None:
    imported = import_closure("deepfake_detector.serving.service", "deepfake_detector.serving.worker")
    expected = {path.relative_to(REPOSITORY).as_posix() for path in imported}
    included = {name for name in bento_files(REPOSITORY) if name.endswith(".py")}
    assert {name for name in included if not name.endswith("__init__.py")} == expected
    packages = {Path(name).parent for name in included} | {Path("src/deepfake_detector")}
    assert {package / "__init__.py" for package in packages} <= set(map(Path, included))
