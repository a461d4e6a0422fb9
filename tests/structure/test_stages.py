"""One name, five places: stage = pipelines file = params section = report = test file."""

import re
from pathlib import Path

import pytest
import yaml

from deepfake_detector.settings import read_settings
from deepfake_detector.workspace import Workspace

ROOT = Path(__file__).parents[2]
ROAD = ["download", "validate", "prepare", "train", "evaluate", "register", "package"]
OFF_THE_ROAD = ["tune"]  # commands with settings and a report of their own, which DVC does not run
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def paths(entries: list) -> set[str]:
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


def outputs(stage: str) -> set[str]:
    return paths(STAGES[stage].get("outs", [])) | paths(STAGES[stage].get("metrics", []))


def test_the_road_has_seven_stages_in_order() -> None:
    assert list(STAGES) == ROAD


@pytest.mark.parametrize("stage", ROAD)
def test_one_name_five_places(stage: str) -> None:
    assert (ROOT / "pipelines" / f"{stage}.py").is_file()
    assert STAGES[stage]["cmd"] == f"python -m pipelines.{stage}"
    assert hasattr(read_settings(ROOT / "params.yaml"), stage)
    assert f"reports/{stage}.json" in outputs(stage)
    assert (ROOT / "tests" / "pipelines" / f"test_{stage}.py").is_file()


@pytest.mark.parametrize("command", OFF_THE_ROAD)
def test_one_name_four_places_off_the_road(command: str) -> None:
    assert (ROOT / "pipelines" / f"{command}.py").is_file()
    assert hasattr(read_settings(ROOT / "params.yaml"), command)
    assert Workspace(ROOT).report(command).name == f"{command}.json"
    assert (ROOT / "tests" / "pipelines" / f"test_{command}.py").is_file()
    assert not any(command in paths(stage.get("params", [])) for stage in STAGES.values())  # else the road runs anew


def test_every_section_of_params_has_its_stage_or_command() -> None:
    assert list(PARAMS) == ROAD + OFF_THE_ROAD


@pytest.mark.parametrize("stage", ROAD + OFF_THE_ROAD)
def test_stage_files_are_thin(stage: str) -> None:
    assert len((ROOT / "pipelines" / f"{stage}.py").read_text(encoding="utf-8").splitlines()) <= 45


@pytest.mark.parametrize("stage", ROAD)
def test_dependencies_exist_or_are_made_by_an_earlier_stage(stage: str) -> None:
    made = {path for earlier in ROAD[: ROAD.index(stage)] for path in outputs(earlier)}
    for dependency in paths(STAGES[stage].get("deps", [])):
        dependency = dependency.replace("${prepare.drop}", PARAMS["prepare"]["drop"])
        assert dependency in made or (ROOT / dependency).exists(), dependency


def test_train_is_run_anew_when_code_that_shapes_a_training_changes() -> None:
    """Every module of `model` and `media` that network, input or loss reach is one of its dependencies."""
    package = ROOT / "src" / "deepfake_detector"
    pending = [package / "model" / "training.py", package / "model" / "augment.py", package / "data" / "batches.py"]
    reached: set[Path] = set()
    while pending:
        path = pending.pop()
        reached.add(path)
        named = re.findall(
            r"deepfake_detector\.(media|model)(?:\.(\w+))? import (\w+)", path.read_text(encoding="utf-8")
        )
        found = {package / folder / f"{module or name}.py" for folder, module, name in named}
        pending.extend(found - reached)
    assert len(reached) > 8
    assert {str(path.relative_to(ROOT)) for path in reached} <= paths(STAGES["train"]["deps"])


def test_workspace_and_dvc_name_the_same_paths() -> None:
    workspace = Workspace(ROOT)
    made = {path for stage in ROAD for path in outputs(stage)}
    ours = [workspace.raw, workspace.manifest, workspace.shards, workspace.trained, workspace.bundle]
    for path in [*ours, workspace.data_docs, workspace.figures("train"), workspace.figures("evaluate")]:
        assert str(path.relative_to(ROOT)) in made


def test_no_output_lies_outside_the_repository() -> None:
    assert all(not path.startswith(("/", "..")) for stage in ROAD for path in outputs(stage))


def test_every_number_in_params_has_its_reason() -> None:
    for line in (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines():
        value = line.partition(":")[2].split("#")[0].strip()
        if line.startswith(" ") and value.replace(".", "").isdigit():
            assert "#" in line or "sample" in line or "seed" in line, f"no reason beside: {line}"


def test_lock_and_project_name_no_registry() -> None:
    for name in ("requirements.lock", "pyproject.toml", "Makefile", "bentofile.yaml"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text.replace("http://127.0.0.1", "").replace("sqlite:///", ""), name
