from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import deepfake_detector
from deepfake_detector.cli.app import require_supported_platform
from deepfake_detector.model.bundle import Bundle

if TYPE_CHECKING:
    from tests.cli.conftest import RunCli

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("arguments", [["predict"], ["predict", "--nope", "x"], ["nope"]])
def test_wrong_usage_is_bad_input(run_cli: RunCli, arguments: list[str]) -> None:
    code, _, stderr = run_cli(*arguments, model=None)
    assert code == 1
    assert "Usage" in stderr


@pytest.mark.parametrize("command", ["predict", "scan", "about", "serve", "jobs"])
def test_help_has_examples(run_cli: RunCli, command: str) -> None:
    code, stdout, _ = run_cli(command, "--help", model=None)
    assert code == 0
    assert f"deepfake {command} " in stdout.split("Examples:")[1]


def test_a_wrong_model_is_bad_input_and_one_message(run_cli: RunCli, red_file: Path, tmp_path: Path) -> None:
    code, stdout, stderr = run_cli("predict", str(red_file), model=str(tmp_path))
    assert (code, stdout) == (1, "")
    assert stderr.startswith("error: [model_not_found] no model bundle at")
    assert "Traceback" not in stderr


def test_a_changed_model_is_a_failure_of_the_tool(run_cli: RunCli, red_file: Path, tiny: Any, tmp_path: Path) -> None:
    bundle = tiny.write_bundle(tmp_path / "bundle")
    (bundle.path / "card.md").write_text("changed")
    assert run_cli("predict", str(red_file), model=str(bundle.path))[0] == 2


def test_without_a_model_the_error_names_the_next_step(
    run_cli: RunCli, red_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(red_file.parent)
    monkeypatch.setattr("deepfake_detector.inference.model_selection.CHECKOUT_ROOT", Path(os.sep, "nowhere"))
    code, _, stderr = run_cli("predict", str(red_file), model=None)
    assert code == 1
    assert "make repro" in stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("name", ["n\u00e4ive.png", "\u65e5\u672c.png"])
def test_file_names_beyond_the_encoding_of_the_terminal_are_escaped(
    red_file: Path, tiny_bundle: Bundle, tmp_path: Path, encoding: str, name: str
) -> None:
    shutil.copy(red_file, tmp_path / name)
    code = "import sys; from deepfake_detector.cli.app import main; sys.argv[0] = 'deepfake'; main()"
    command = [sys.executable, "-c", code, "predict", name, name + "x", "--model", str(tiny_bundle.path)]
    variables = os.environ | {"PYTHONIOENCODING": encoding, "COLUMNS": "200"}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (1, b"")  # the second file does not exist
    expected = name.encode(encoding, "backslashreplace")
    assert expected in done.stdout


def test_stages_escape_what_the_terminal_cannot_show(tmp_path: Path) -> None:
    code = "from pipelines.stage import run_stage; run_stage(lambda: print('\\u65e5'))"
    variables = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=variables, capture_output=True, check=False)
    assert (done.stdout.strip(), done.returncode) == (b"\\u65e5", 0), done.stderr


def test_the_version_is_that_of_the_package(run_cli: RunCli) -> None:
    assert run_cli("--version", model=None) == (0, f"deepfake-detector {version('deepfake-detector')}\n", "")
    assert deepfake_detector.__version__ == version("deepfake-detector")


def test_a_system_where_nothing_was_tried_is_refused_with_a_sentence(
    run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    code, _, stderr = run_cli("about", model=None)
    assert code == 2
    assert "error: [tool_failed] Linux and macOS are supported, win32 is not" in stderr
    assert "WSL" in stderr


@pytest.mark.parametrize(("system", "machine"), [("linux", "riscv64"), ("darwin", "i386")])
def test_a_processor_without_packages_is_refused_with_a_sentence(
    run_cli: RunCli, monkeypatch: pytest.MonkeyPatch, system: str, machine: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    code, _, stderr = run_cli("about", model=None)
    assert code == 2
    assert f"error: [tool_failed] processors x86_64, aarch64, arm64 are supported, {machine} is not" in stderr


@pytest.mark.parametrize(("system", "machine"), [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")])
def test_linux_and_macos_on_both_processors_are_supported(system: str, machine: str) -> None:
    require_supported_platform(system, machine)


def test_a_command_that_needs_another_extra_names_it(
    run_cli: RunCli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as if it were not installed
    code, _, stderr = run_cli("runs", model=None)
    assert code == 2
    assert "error: [missing_extra] this command needs the package mlflow" in stderr
    assert "deepfake-detector[train]" in stderr
