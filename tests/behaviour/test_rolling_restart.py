"""The steps of docs/rolling-restart.md under load: every request is answered, first by the old model, then by the new.

A small TCP proxy takes the place of nginx: it connects each new client to the current upstream and leaves open
connections where they are.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.media.image import encode_png
from tests.service_process import free_port

REPOSITORY = Path(__file__).parents[2]
CLIENTS = 3
START_S = 240

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Proxy:
    """A TCP proxy from 127.0.0.1:port to 127.0.0.1:upstream; `open` counts the connections to each upstream."""

    def __init__(self, upstream: int) -> None:
        self.port, self.upstream = free_port(), upstream
        self.open: dict[int, int] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        start = asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        time.sleep(0.2)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = self.upstream
        self.open[upstream] = self.open.get(upstream, 0) + 1
        try:
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", upstream)
            await asyncio.gather(_copy(reader, back_writer), _copy(back_reader, writer))
        except OSError:
            writer.close()
        finally:
            self.open[upstream] -= 1


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


class Load:
    """Clients that send requests without pause; `answers` holds (HTTP status, digest of the model that answered)."""

    def __init__(self, port: int, picture: bytes) -> None:
        self.port, self._stop = port, threading.Event()
        self.answers: list[tuple[int, str]] = []
        self._body = (
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
            + picture + b"\r\n--x--\r\n"
        )  # fmt: skip
        self._threads = [threading.Thread(target=self._run_client) for _ in range(CLIENTS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, count: int, sha256: str) -> None:
        """Wait for so many more answers of that model."""
        start, deadline = len(self.answers), time.monotonic() + START_S
        while sum(model == sha256 for _, model in self.answers[start:]) < count:
            assert time.monotonic() < deadline, self.answers[-3:]
            time.sleep(0.05)

    def _run_client(self) -> None:
        while not self._stop.is_set():
            try:
                self.answers.append(self._request())
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.answers.append((0, repr(error)))

    def _request(self) -> tuple[int, str]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            headers = {"Content-Type": "multipart/form-data; boundary=x", "Connection": "close"}
            connection.request("POST", "/predict_image", self._body, headers)
            answer = connection.getresponse()
            content = json.loads(answer.read())
            return answer.status, content.get("model", {}).get("sha256", json.dumps(content))


def ready(port: int) -> bool:
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
    except OSError:
        return False


@contextmanager
def serving(root: Path, bento: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Serve a bento on 127.0.0.1:port, away from the repository; it is ready when the block begins."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"BENTOML_HOME": str(root / ".bentoml")}
    command = [str(Path(sys.executable).parent / "bentoml"), "serve", bento, "--host", "127.0.0.1", "--port", str(port)]
    log = root / f"{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=root.parent, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_S
        while not ready(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def package(root: Path, bundle: Any, version: str) -> str:
    """Build the champion's bento, as `dvc repro package` does after a promotion."""
    champion = {"version": version, "run_id": bundle.contract.run_id, "bundle_sha256": bundle.sha256}
    champion["bundle"] = bundle.path.relative_to(root).as_posix()
    (root / "reports").mkdir(exist_ok=True)
    (root / "reports" / "register.json").write_text(json.dumps({"champion": champion}))
    environment = {k: v for k, v in os.environ.items() if k not in ("BENTOML_HOME", "PYTHONPATH")}
    subprocess.run([sys.executable, "-m", "pipelines.package"], cwd=root, env=environment, check=True)
    return str(json.loads((root / "reports" / "package.json").read_text())["bento"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    copy = tmp_path / "repository"
    for folder in ("src", "pipelines"):
        shutil.copytree(REPOSITORY / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("bentofile.yaml", "requirements-image.lock", "params.yaml"):
        shutil.copy(REPOSITORY / file, copy)
    return copy


def test_a_new_champion_takes_over_without_a_failed_request(root: Path, tiny: Any, red_portrait: Any) -> None:
    old = tiny.write_bundle(root / "models" / "old", run_id="1" * 32)
    new = tiny.write_bundle(root / "models" / "new", gain=6.0, run_id="2" * 32)
    first, second = free_port(), free_port()
    with (
        serving(root, package(root, old, "1"), first) as old_server,
        Proxy(first) as proxy,
        Load(proxy.port, encode_png(red_portrait)) as load,
    ):
        load.wait_for(10, old.sha256)
        with serving(root, package(root, new, "2"), second):  # 1. ready before it gets requests
            load.wait_for(5, old.sha256)  # the old model still answers
            proxy.upstream = second  # 2. new connections go to the new server
            while proxy.open[first]:  # 3. open connections end
                time.sleep(0.01)
            old_server.send_signal(signal.SIGTERM)  # 4. the old server stops
            old_server.wait(timeout=60)
            stopped = len(load.answers)
            load.wait_for(10, new.sha256)
            answers = list(load.answers)
    assert {status for status, _ in answers} == {200}, [answer for answer in answers if answer[0] != 200][:3]
    assert {model for _, model in answers} == {old.sha256, new.sha256}
    assert {model for _, model in answers[stopped:]} == {new.sha256}
    assert len(answers) >= 25
