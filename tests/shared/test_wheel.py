"""The wheel: it brings the shipped model, and needs no more than the packages that pyproject.toml requires."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deepfake_detector.media.image import encode_png

ROOT = Path(__file__).parents[2]
SOURCES = ("src", "pretrained", "pyproject.toml", "README.md", "LICENSE", "LICENSE-WEIGHTS", "CHANGELOG.md")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Runs the command line as in an environment with nothing but the necessary packages.
COMMAND = """
import importlib.abc, json, sys
hidden = set(json.loads(sys.argv.pop(1)))
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
sys.argv[0] = "deepfake"
from deepfake_detector.cli.app import main
main()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built from its source distribution, as a release is."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__")
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copyfile(ROOT / name, source / name)
    build(source, "sdist", folder)
    shutil.unpack_archive(next(folder.glob("*.tar.gz")), folder, filter="data")
    build(next(folder.glob("deepfake_detector-*/")), "wheel", folder)
    return next(folder.glob("*.whl"))


def build(source: Path, target: str, into: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """A folder for PYTHONPATH; its package comes before that of the editable install."""
    folder = wheel.with_name("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def unnecessary_modules() -> set[str]:
    """Modules of all installed packages that a plain `pip install` would not bring."""
    needed: set[str] = set()
    names = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    while names:
        needed |= names
        wanted = [Requirement(text) for name in names for text in requires(name) or []]
        names = {canonicalize_name(r.name) for r in wanted if not r.marker or r.marker.evaluate({"extra": ""})} - needed
    owners = {module: {canonicalize_name(name) for name in names} for module, names in packages_distributions().items()}
    keep = {"deepfake_detector", "_distutils_hack", "pip", "setuptools"}
    return {module for module, names in owners.items() if not names & needed} - keep


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", COMMAND, json.dumps(sorted(unnecessary_modules())), *arguments]
    variables = os.environ | {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=280)


def test_the_necessary_packages_are_few() -> None:
    hidden = unnecessary_modules()
    assert {"av", "c2pa", "bentoml", "mlflow", "tensorflow", "pandas", "dvc", "scipy"} <= hidden
    assert not {"numpy", "cv2", "openvino", "pydantic", "typer", "PIL"} & hidden


def test_the_metadata_name_both_licences_and_hold_their_texts(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        fields = message_from_bytes(archive.read(metadata))
    assert fields["License-Expression"] == "MIT AND LicenseRef-Weights-NonCommercial"
    assert fields.get_all("License-File") == ["LICENSE", "LICENSE-WEIGHTS"]
    assert sum(re.search(r"dist-info/licenses/LICENSE(-WEIGHTS)?$", name) is not None for name in names) == 2
    assert "non-commercial" in (ROOT / "LICENSE-WEIGHTS").read_text(encoding="utf-8")


def test_the_wheel_holds_the_shipped_model_unchanged(installed: Path) -> None:
    shipped, package = ROOT / "pretrained", installed / "deepfake_detector" / "pretrained"
    assert {path.name: path.read_bytes() for path in package.iterdir()} == {
        path.name: path.read_bytes() for path in shipped.iterdir()
    }


@pytest.mark.slow
def test_a_picture_is_answered_in_any_folder_with_the_necessary_packages_only(
    installed: Path, tmp_path: Path, portrait: NDArray[np.uint8]
) -> None:
    (tmp_path / "portrait.png").write_bytes(encode_png(portrait))
    done = run(installed, tmp_path, "predict", "portrait.png", "--json")
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)
    assert answer["verdict"] in ("fake", "real", "inconclusive")
    assert answer["faces"]
    done = run(installed, tmp_path, "scan", ".", "--out", "verdicts.csv")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "verdicts.csv").read_text(encoding="utf-8").count("portrait.png") == 1
    done = run(installed, tmp_path, "about")
    assert f"model       pretrained ({installed / 'deepfake_detector' / 'pretrained'})" in done.stdout, done.stderr
    assert "weights: non-commercial use only" in done.stdout


@pytest.mark.slow
def test_what_needs_more_packages_names_the_extra(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(100))
    done = run(installed, tmp_path, "predict", "clip.mp4")
    assert (done.returncode, "deepfake-detector[video]" in done.stdout) == (2, True), done.stdout + done.stderr
    done = run(installed, tmp_path, "serve", "--port", "39999")
    assert (done.returncode, "deepfake-detector[serve]" in done.stderr) == (2, True), done.stderr
