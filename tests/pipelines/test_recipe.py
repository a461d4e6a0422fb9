"""`make kaggle` and `make recipe`: expected hours from measured rates, then DVC with the settings of the recipe."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides

from deepfake_detector.config import read_settings
from deepfake_detector.datasets.sources import fetch
from deepfake_detector.errors import SettingsError
from deepfake_detector.recipe import describe_plan, expected_hours, experiment_command, read_recipe
from pipelines import recipe as command
from pipelines.stage import run_stage

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
RATES = {"training step, input included": 100.0, "validate": 1000.0, "prepare": 500.0}
BENCHMARKS = {"machine": "2 cores", "rows": [{"name": name, "ours_figure": rate} for name, rate in RATES.items()]}
TEXT = """
description: my pictures
needs_login: false
pictures: {train: 3600, held_out: 400}
crops_per_second: 0
settings:
  train: {network: residual, epochs: 10}
"""


def write_recipe(folder: Path, text: str = TEXT) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_dvc_reads_the_settings_of_the_recipe_from_the_command(path: Path, tmp_path: Path) -> None:
    recipe, settings = read_recipe(path, ROOT / "params.yaml")
    words = experiment_command(recipe, path.stem)
    assert words[:5] == ["dvc", "exp", "run", "--name", path.stem]
    shutil.copy(ROOT / "params.yaml", tmp_path)
    apply_overrides(tmp_path / "params.yaml", words[6::2])
    assert read_settings(tmp_path / "params.yaml") == settings
    assert settings != read_settings(ROOT / "params.yaml")


def test_the_recipes_are_those_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"recipes/{path.name}" in makefile for path in RECIPES)
    assert {path.stem for path in RECIPES} == {"kaggle", "one_gpu", "own_pictures", "photographs"}


def test_hours_follow_from_the_measured_rates(tmp_path: Path) -> None:
    recipe, settings = read_recipe(write_recipe(tmp_path), ROOT / "params.yaml")
    hours = expected_hours(recipe, settings, BENCHMARKS)
    assert hours == pytest.approx({"validate": 4 / 3600, "prepare": 8 / 3600, "train": 0.1})
    text = describe_plan(recipe, settings, BENCHMARKS)
    assert "3,600 training pictures, 10 epochs" in text
    assert "expected on two cores: 6.2 minutes (validate 0.1, prepare 0.1, train 6.0)" in text
    slow = describe_plan(recipe.model_copy(update={"crops_per_second": 1.0}), settings, BENCHMARKS)
    assert "expected on two cores: 10.0 hours (validate 0.0, prepare 0.0, train 10.0)" in slow
    assert "Kaggle" not in text
    of_its_own = recipe.model_copy(update={"crops_per_second": 50.0})
    assert expected_hours(of_its_own, settings, BENCHMARKS)["train"] == pytest.approx(0.2)
    balanced = replace(settings, train=replace(settings.train, steps_per_epoch=10, batch_size=36))
    assert expected_hours(recipe, balanced, BENCHMARKS)["train"] == pytest.approx(0.01)


def test_a_network_without_a_measured_rate_has_no_hours(tmp_path: Path) -> None:
    recipe, settings = read_recipe(write_recipe(tmp_path, TEXT.replace("residual", "original")), ROOT / "params.yaml")
    assert expected_hours(recipe, settings, BENCHMARKS)["train"] is None
    text = describe_plan(recipe, settings, BENCHMARKS)
    assert "train not measured" in text
    assert "`crops_per_second` of `original` is not set" in text


def test_the_kaggle_recipe_names_the_login() -> None:
    recipe, settings = read_recipe(ROOT / "recipes" / "kaggle.yaml", ROOT / "params.yaml")
    assert "KAGGLE_USERNAME" in describe_plan(recipe, settings, BENCHMARKS)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (TEXT.replace("epochs: 10", "epoch: 10"), "train.epoch"),
        (TEXT.replace("train: {network", "trian: {network"), "trian"),
        (TEXT.replace("needs_login: false\n", ""), "needs_login"),
        ("- 1", "is no recipe"),
        (TEXT.replace("{train: 3600", "{train: *x"), "is no recipe"),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_key(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        read_recipe(write_recipe(tmp_path, text), ROOT / "params.yaml")


def test_a_missing_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no recipe"):
        read_recipe(tmp_path / "none.yaml", ROOT / "params.yaml")


@pytest.mark.parametrize("plan", [True, False])
def test_the_plan_is_printed_and_dvc_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], plan: bool
) -> None:
    commands: list[list[Any]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(os, "execvp", lambda _, words: commands.append(words))
    monkeypatch.setattr(sys, "argv", ["recipe", str(write_recipe(tmp_path)), *(["--plan"] if plan else [])])
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "benchmarks.json").write_text(json.dumps(BENCHMARKS))
    command.main()
    assert "expected on two cores" in capsys.readouterr().out
    options = ["-S", "train.network=residual", "-S", "train.epochs=10"]
    names = [words.pop(4) for words in commands]
    assert commands == ([] if plan else [["dvc", "exp", "run", "--name", *options]])
    assert all(name.startswith("mine-20") for name in names)


def own_folder(folder: Path, reals: int, fakes: int) -> Path:
    """A folder, with blanks and a comma in its name, of pictures below real/ and fake/."""
    for label, images in (("real", reals), ("fake", fakes)):
        (folder / "my, own faces" / label).mkdir(parents=True)
        for i in range(images):
            (folder / "my, own faces" / label / f"{i}.jpg").write_bytes(f"{label} {i}".encode())
    return folder / "my, own faces"


def run_own(root: Path, monkeypatch: pytest.MonkeyPatch, pictures: Path, *options: str) -> tuple[list[list[str]], int]:
    """Commands that would have replaced the process, and the exit code."""
    commands: list[list[str]] = []
    monkeypatch.chdir(root)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(os, "execvp", lambda _, words: commands.append(words))
    recipe = str(ROOT / "recipes" / "own_pictures.yaml")
    monkeypatch.setattr(sys, "argv", ["recipe", recipe, "--pictures", str(pictures), *options])
    shutil.copy(ROOT / "params.yaml", root)
    (root / "reports").mkdir(exist_ok=True)
    (root / "reports" / "benchmarks.json").write_text(json.dumps(BENCHMARKS))
    return commands, run_stage(command.main)


def test_own_pictures_become_the_source_of_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = own_folder(tmp_path, 30, 30)
    (words,), code = run_own(tmp_path, monkeypatch, pictures, "--fakes", "swap")
    assert code == 0
    assert "36 training pictures" in capsys.readouterr().out
    apply_overrides(tmp_path / "params.yaml", words[6::2])
    (source,) = read_settings(tmp_path / "params.yaml").download.sources
    assert (source.name, source.kind, source.fake_kind, source.location) == ("own", "labelled", "swap", str(pictures))
    assert words[4].startswith("own_pictures-20")
    assert fetch(source, read_settings(tmp_path / "params.yaml").download, tmp_path / "own.zip").sha256 == source.sha256


def test_another_picture_changes_the_settings_so_that_dvc_reads_the_folder_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = own_folder(tmp_path, 30, 30)
    (first,), _ = run_own(tmp_path, monkeypatch, pictures)
    (again,), _ = run_own(tmp_path, monkeypatch, pictures)
    (pictures / "real" / "new.jpg").write_bytes(b"new")
    (other,), _ = run_own(tmp_path, monkeypatch, pictures)
    assert first[5:] == again[5:]
    assert first[5:] != other[5:]


@pytest.mark.parametrize(("reals", "fakes"), [(30, 19), (4, 30), (0, 30)])
def test_too_few_own_pictures_are_refused_before_dvc_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reals: int, fakes: int
) -> None:
    commands, code = run_own(tmp_path, monkeypatch, own_folder(tmp_path, reals, fakes))
    printed = capsys.readouterr().err
    assert (commands, code) == ([], 1)
    assert f"{reals} real and {fakes} fake pictures" in printed
    assert "20 pictures of each class are enough" in printed
    assert "validate.min_images_per_class" in printed
