"""A command that serves -> the address at which it answers; its processes are killed at the end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

START_S, REQUEST_S = 200, 30


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def running_service(script: Path, bundle: Path, log: Path, variables: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of a service that answers; it and its workers are killed afterwards.

    Args:
        script: takes a bundle's folder and the number of a listening socket.
        bundle: folder.
        log: file for what the service prints.
        variables: of its environment, beside those of this process.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening, log.open("wb") as out:
        address, number = f"http://127.0.0.1:{listening.getsockname()[1]}", listening.fileno()
        process = subprocess.Popen(
            [sys.executable, str(script), str(bundle), str(number)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=os.environ | dict(variables or {}),
            pass_fds=[number],
            start_new_session=True,
        )
    try:
        wait_until_ready(address, process, log)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def wait_until_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until /readyz answers 200; fail with the end of the log if that takes over START_S or the process ends."""
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=REQUEST_S):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the service did not start within {START_S} s: {log.read_text(errors='replace')[-2000:]}")
