"""Commands that serve -> their ports while the block lasts; they and their children end with the block."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from deepfake_detector.errors import ToolFailed

START_S, STOP_S = 300, 20  # TensorFlow takes 10 s to import on a quiet machine, and a minute and more on a busy one
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Server:
    """How to start one.

    Attributes:
        command: `{port}` in it is replaced.
        health: path that answers 200 when it is ready.
        log: file for what it prints.
        environment: set beside this process' own.
    """

    command: Sequence[str]
    health: str
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def serving(servers: Sequence[Server]) -> Iterator[list[int]]:
    """Run servers until the block ends; they start side by side.

    Raises:
        ToolFailed: one ended or did not answer in time.
    """
    ports = [_free_port() for _ in servers]
    with ExitStack() as stack:
        running = []
        for server, port in zip(servers, ports, strict=True):
            running.append(_start(server, port))
            stack.callback(_end, running[-1])
        for server, port, process in zip(servers, ports, running, strict=True):
            _wait(process, port, server)
        yield ports


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _start(server: Server, port: int) -> subprocess.Popen[bytes]:
    with server.log.open("wb") as stream:
        return subprocess.Popen(
            [part.format(port=port) for part in server.command],
            stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env={**os.environ, **server.environment}, start_new_session=True,
        )  # fmt: skip


def _wait(process: subprocess.Popen[bytes], port: int, server: Server) -> None:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s and process.poll() is None:
        with suppress(OSError, http.client.HTTPException), closing(http.client.HTTPConnection(HOST, port, 5)) as asked:
            asked.request("GET", server.health)
            if asked.getresponse().status == 200:
                return
        time.sleep(0.2)
    said = server.log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise ToolFailed(f"no server on port {port} within {START_S} s: {' '.join(server.command)}", f"it said: {said}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """The whole group, first asked, then made to."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
