from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deepfake_detector.errors import BadInput, ModelNotFound, ToolFailed
from pipelines import mlflow_server, serve

ROOT = Path(__file__).parents[2]
REPORT = {
    "bento": "deepfake-detector:c",
    "pretrained": {"bento": "deepfake-detector-pretrained:p"},
    "serves": {"name": "pretrained", "bento": "deepfake-detector-pretrained:p", "reason": "it knows photographs"},
}


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would replace this process."""
    commands: list[list[str]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(os, "execvp", lambda _, command: commands.append(command))
    monkeypatch.setattr(sys, "argv", ["serve"])
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "package.json").write_text(json.dumps(REPORT))
    return commands


@pytest.mark.parametrize(
    ("arguments", "bento"),
    [
        ([], "deepfake-detector-pretrained:p"),
        (["champion"], "deepfake-detector:c"),
        (["pretrained"], "deepfake-detector-pretrained:p"),
    ],
)
def test_the_chosen_model_is_served_on_the_local_interface(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, arguments: list[str], bento: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["serve", *arguments])
    monkeypatch.setattr(serve, "require_free_port", lambda port, target: None)  # the default may be in use
    serve.main()
    assert commands == [["bentoml", "serve", bento, "--host", "127.0.0.1", "--port", "3000"]]


def test_another_port_is_served(commands: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    monkeypatch.setattr(sys, "argv", ["serve", "champion", "--port", port])
    serve.main()
    assert commands[0][-1] == port


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x", "", "²"])
def test_a_number_that_is_no_port_is_rejected(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["serve", f"--port={port}"])
    with pytest.raises(BadInput, match="is not a port"):
        serve.main()
    assert commands == []


def test_help_is_printed_without_serving(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["serve", "--help"])
    with pytest.raises(SystemExit) as stopped:
        serve.main()
    assert (stopped.value.code, commands) == (0, [])
    assert "--port" in capsys.readouterr().out


@pytest.mark.parametrize("interface", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_one_sentence_with_exit_code_1(tmp_path: Path, interface: str) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "package.json").write_text(json.dumps(REPORT))
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    with socket.create_server((interface, 0)) as taken:
        port = str(taken.getsockname()[1])
        for target, arguments in (
            ("serve", ["pipelines.serve", "--port", port]),
            ("serve", ["pipelines.port", port]),
            ("mlflow", ["pipelines.mlflow_server", "--port", port]),
        ):
            command = [sys.executable, "-m", *arguments]
            done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
            sentence, hint = done.stderr.strip().splitlines()
            assert (done.returncode, done.stdout) == (1, "")
            assert sentence == f"error [bad_input]: port {port} of 127.0.0.1 cannot be used: Address already in use"
            assert hint.strip() == f"hint: make {target} PORT={int(port) % 65535 + 1}"


def test_mlflow_shows_the_store_of_the_checkout(
    commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPFAKE_STORE_ROOT", str(tmp_path / "stores"))
    monkeypatch.setattr(sys, "argv", ["mlflow_server", "--port", "4321"])
    mlflow_server.main()
    stores = tmp_path / "stores"
    options = f"--backend-store-uri sqlite:///{stores}/mlflow.db --artifacts-destination {stores}/mlartifacts"
    assert commands == [f"mlflow server {options} --host 127.0.0.1 --port 4321".split()]


def test_mlflow_is_not_started_on_a_broken_store(
    commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPFAKE_STORE_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["mlflow_server", "--port", "4321"])
    (tmp_path / "mlflow.db").write_bytes(b"")
    with pytest.raises(ToolFailed, match="is empty"):
        mlflow_server.main()
    assert commands == []


@pytest.mark.parametrize(("target", "default"), [("serve", "3000"), ("mlflow", "5000")])
def test_make_hands_the_port_on_and_checks_it_before_it_packages(target: str, default: str) -> None:
    for given, port in (([], default), (["PORT=4321"], "4321")):
        command = ["make", "--no-print-directory", "--dry-run", "--always-make", target, *given]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1].endswith(f'--port "{port}"')
        assert target == "mlflow" or done.stdout.index(f'pipelines.port "{port}"') < done.stdout.index(
            "pipelines.package"
        )


def test_make_ignores_a_variable_named_port_of_the_environment() -> None:
    variables = os.environ | {"PORT": "80"}
    done = subprocess.run(
        ["make", "--dry-run", "serve"], cwd=ROOT, env=variables, capture_output=True, text=True, check=True
    )
    assert '--port "3000"' in done.stdout


def test_a_model_that_is_unknown_or_not_packaged_is_rejected(
    commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reports" / "package.json").write_text(json.dumps(REPORT | {"bento": None}))
    monkeypatch.setattr(sys, "argv", ["serve", "champion"])
    with pytest.raises(ModelNotFound, match="no champion"):
        serve.main()
    monkeypatch.setattr(sys, "argv", ["serve", "best"])
    with pytest.raises(BadInput, match="'best'"):
        serve.main()
    (tmp_path / "reports" / "package.json").unlink()
    with pytest.raises(ModelNotFound, match="nothing is packaged"):
        serve.main()
    assert commands == []
