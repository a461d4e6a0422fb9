"""One name, five places: stage = pipelines file = params section = report = test file."""

from pathlib import Path

import pytest
import yaml

from deepfake_detector.code_digest import import_closure, imported_names
from deepfake_detector.config import read_settings
from deepfake_detector.paths import Workspace

ROOT = Path(__file__).parents[2]
STAGE_NAMES = ["download", "validate", "prepare", "train", "evaluate", "register", "package"]
CHANGE_STORES = ["register", "package"]  # their reports name versions, run ids and tags of this machine's stores
COMMANDS = ["tune"]  # with settings and a report of their own, not run by DVC
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def paths(entries: list) -> set[str]:
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


def outputs(stage: str) -> set[str]:
    return paths(STAGES[stage].get("outs", [])) | paths(STAGES[stage].get("metrics", []))


def test_the_pipeline_has_seven_stages_in_order() -> None:
    assert list(STAGES) == STAGE_NAMES


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_a_stage_has_one_name_in_five_places(stage: str) -> None:
    assert (ROOT / "pipelines" / f"{stage}.py").is_file()
    assert STAGES[stage]["cmd"] == f"python -m pipelines.{stage}"
    assert hasattr(read_settings(ROOT / "params.yaml"), stage)
    assert (f"reports/{stage}.json" in outputs(stage)) is (stage not in CHANGE_STORES)
    assert (ROOT / "tests" / "pipelines" / f"test_{stage}.py").is_file()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_one_name_in_four_places(command: str) -> None:
    assert (ROOT / "pipelines" / f"{command}.py").is_file()
    assert hasattr(read_settings(ROOT / "params.yaml"), command)
    assert Workspace(ROOT).report(command).name == f"{command}.json"
    assert (ROOT / "tests" / "pipelines" / f"test_{command}.py").is_file()
    assert not any(
        command in paths(stage.get("params", [])) for stage in STAGES.values()
    )  # else every stage would run again


def test_every_section_of_params_has_its_stage_or_command() -> None:
    assert list(PARAMS) == STAGE_NAMES + COMMANDS


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_dependencies_exist_or_are_made_by_an_earlier_stage(stage: str) -> None:
    made = {path for earlier in STAGE_NAMES[: STAGE_NAMES.index(stage)] for path in outputs(earlier)}
    for dependency in paths(STAGES[stage].get("deps", [])):
        dependency = dependency.replace("${prepare.drop}", PARAMS["prepare"]["drop"])
        assert dependency in made or (ROOT / dependency).exists(), dependency


# Code that a stage reaches and that does not shape its outputs.
ALLOWED_BESIDE_DEPENDENCIES = {
    "code_digest.py": "names cached work; the code it digests is a dependency itself",
    "config.py": "reads params.yaml, whose values DVC compares itself",
    "errors.py": "what is said when there is no output",
    "io.py": "how files are written, not what is in them",
    "parallel.py": "in which process a result is computed; results come in the order of the items",
    "paths.py": "where outputs lie; dvc.yaml names the same places",
    "renamed_settings.py": "what is said about settings of an older version",
    "tracking/lineage.py": "tags of the MLflow run",
    "tracking/runs.py": "the MLflow run, which is no output of the stage",
    "tracking/store.py": "the address of the MLflow store",
    "yaml_file.py": "reads params.yaml, whose values DVC compares itself",
}
WITH_OUTPUTS_FROM_CODE = ["download", "validate", "prepare", "train", "evaluate"]


@pytest.mark.parametrize("stage", WITH_OUTPUTS_FROM_CODE)
def test_all_code_that_shapes_an_output_is_a_dependency(stage: str) -> None:
    package = ROOT / "src" / "deepfake_detector"
    entry = ROOT / "pipelines" / f"{stage}.py"
    names = {name for name in imported_names(entry) if name.startswith("deepfake_detector.")}
    modules = [name for name in names if (ROOT / "src" / name.replace(".", "/")).with_suffix(".py").is_file()]
    reached = {str(path.relative_to(package)) for path in import_closure(*modules)}
    declared = {path.removeprefix("src/deepfake_detector/") for path in paths(STAGES[stage]["deps"])}
    missing = {
        path
        for path in reached - set(ALLOWED_BESIDE_DEPENDENCIES)
        if path not in declared and not any(path.startswith(f"{folder}/") for folder in declared)
    }
    assert not missing, f"dvc.yaml does not name them among the deps of {stage}"
    assert f"pipelines/{stage}.py" in paths(STAGES[stage]["deps"])


def test_the_allow_list_names_only_what_exists() -> None:
    assert all((ROOT / "src" / "deepfake_detector" / path).is_file() for path in ALLOWED_BESIDE_DEPENDENCIES)


def test_workspace_and_dvc_name_the_same_paths() -> None:
    workspace = Workspace(ROOT)
    made = {path for stage in STAGE_NAMES for path in outputs(stage)}
    ours = [workspace.raw, workspace.manifest, workspace.shards, workspace.trained, workspace.bundle]
    ours += [workspace.data_docs, workspace.registered, workspace.figures("train"), workspace.figures("evaluate")]
    for path in ours:
        assert str(path.relative_to(ROOT)) in made


def test_the_lock_file_holds_nothing_that_depends_on_a_store() -> None:
    """Else it would differ after every `dvc repro` on another machine, and `dvc status` would never be up to date."""
    made = {path for stage in STAGE_NAMES for path in outputs(stage)}
    reports = {f"reports/{stage}.json" for stage in CHANGE_STORES}
    assert not made & reports
    assert not any("always_changed" in stage for stage in STAGES.values())
    assert outputs("register") == {"reports/registered.json"} <= paths(STAGES["package"]["deps"])


def test_no_output_lies_outside_the_repository() -> None:
    assert all(not path.startswith(("/", "..")) for stage in STAGE_NAMES for path in outputs(stage))


def test_every_number_in_params_has_its_reason() -> None:
    for line in (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines():
        value = line.partition(":")[2].split("#")[0].strip()
        if line.startswith(" ") and value.replace(".", "").isdigit():
            assert "#" in line or "sample" in line or "seed" in line, f"no reason beside: {line}"


LOCKS = (
    "requirements.lock",
    "requirements-image.lock",
    "requirements-uv.lock",
    "deploy/mlflow/requirements.lock",
)


def test_lock_and_project_name_no_registry() -> None:
    for name in (*LOCKS, "pyproject.toml", "Makefile", "bentofile.yaml"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text.replace("http://127.0.0.1", "").replace("sqlite:///", ""), name
