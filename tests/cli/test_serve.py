"""`deepfake serve`: the service from any folder, without a repository; what is missing is one sentence."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from deepfake_detector.model.bundle import Bundle
from tests.service_process import free_port, wait_until_ready

if TYPE_CHECKING:
    from tests.cli.conftest import RunCli

COMMAND = "import sys; sys.argv[0] = 'deepfake'; from deepfake_detector.cli.app import main; main()"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("stopped_by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_serves_a_bundle_from_an_empty_folder_until_it_is_stopped(
    tiny_bundle: Bundle, red_file: Path, tmp_path: Path, stopped_by: signal.Signals
) -> None:
    port, folder, log = free_port(), tmp_path / "empty", tmp_path / "log.txt"
    folder.mkdir()
    (tmp_path / "tmp").mkdir()
    options = ["serve", "--port", str(port), "--workers", "1", "--model", str(tiny_bundle.path)]
    variables = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *options], cwd=folder, env=variables, stdout=out, stderr=out
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(address, process, log)
        answer = httpx.post(f"{address}/predict_image", files={"image": red_file.read_bytes()}, timeout=60).json()
        assert answer["verdict"] == "fake"
        about = httpx.get(f"{address}/about").json()
        assert (about["name"], about["version"]) == ("named", tiny_bundle.sha256[:12])
        assert httpx.get(f"{address}/ui/").status_code == 200
    finally:
        process.send_signal(stopped_by)
        code = process.wait(60)
    assert code == (-9 if stopped_by == signal.SIGKILL else 0), log.read_text(encoding="utf-8")
    assert list(folder.iterdir()) == []
    wait_until_closed(port)
    if stopped_by != signal.SIGKILL:
        assert list((tmp_path / "tmp").glob("deepfake-serve-*")) == []


def wait_until_closed(port: int) -> None:
    """The server ends with the command, however that ends."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.2)
    raise AssertionError(f"port {port} still answers")


def test_elsewhere_than_on_linux_it_is_refused_with_a_sentence(
    run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    code, _, stderr = run_cli("serve")
    assert code == 2
    assert "the service runs on Linux only, not on darwin" in stderr
    assert "container image" in stderr


def test_without_bentoml_the_error_names_the_extra(run_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setitem(sys.modules, "bentoml", None)  # as if it were not installed
    code, _, stderr = run_cli("serve", "--port", str(free_port()))
    assert code == 2
    assert "error: [missing_extra] services need the package bentoml" in stderr
    assert "deepfake-detector[serve]" in stderr


def test_a_taken_port_is_bad_input(run_cli: RunCli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, stderr = run_cli("serve", "--port", str(port))
    assert code == 1
    assert f"port {port} of 127.0.0.1 cannot be used: Address already in use" in stderr
    assert f"hint: deepfake serve --port {port % 65535 + 1}" in stderr


def test_an_address_of_another_machine_is_bad_input(run_cli: RunCli) -> None:
    code, _, stderr = run_cli("serve", "--host", "192.0.2.1", "--port", str(free_port()))
    assert code == 1
    assert "of 192.0.2.1 cannot be used" in stderr
