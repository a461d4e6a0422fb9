"""A Redis, replicas of the service and worker processes for the tests of jobs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from numpy.typing import NDArray

WAIT_S = 150.0
LONG_CLIP_S = 4800


@contextmanager
def running_redis() -> Iterator[str]:
    """A Redis of the test's own on a socket file, with nothing on disk; its address."""
    program = shutil.which("redis-server")
    if program is None:
        (pytest.fail if os.environ.get("REQUIRE_REDIS") == "1" else pytest.skip)("no redis-server (Debian's package)")
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        path = f"{folder}/socket"
        command = [program, "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                client = redis.Redis(unix_socket_path=path)
                wait_for(lambda: Path(path).exists() and client.ping())
                yield f"unix://{path}"
            finally:
                process.terminate()


def wait_for(condition: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
    """Wait until a condition holds, and return its value."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.02)
    return value


class WorkerCommand:
    """`deepfake jobs` as the image starts it, in a process of its own."""

    def __init__(self, bundle: Path, redis_url: str, alive: Path, **variables: str) -> None:
        names = {"DEEPFAKE_SERVE_REDIS": redis_url, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        command = [sys.executable, "-m", "deepfake_detector.serving.jobs_command", "--bundle", str(bundle)]
        self.log, self.alive = alive.with_suffix(".log"), alive
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--alive-file", str(alive)], env=os.environ | names | variables, stderr=log
            )

    @property
    def children(self) -> list[int]:
        """Ids of the processes that decode."""
        listing = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(each) for each in listing.read_text().split()]

    def wait_ready(self) -> None:
        """Wait until it takes jobs."""
        wait_for(self.alive.exists)

    def end(self) -> None:
        """End it, however it is."""
        self.process.kill()
        self.process.wait()


def write_long_clip(path: Path, portrait: NDArray[np.uint8], seconds: int = LONG_CLIP_S) -> Path:
    """Write a video of 80 minutes with a person in it, and one frame every 30 s: 128 are asked for, 160 are there."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(1, 30), options={"g": "1"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 1280, 720, "yuv420p", 2_000_000
        page = np.full((720, 1280, 3), 90, np.uint8)
        page[:512, :512] = np.kron(portrait, np.ones((2, 2, 1), np.uint8))
        frame = av.VideoFrame.from_ndarray(page, format="rgb24").reformat(format="yuv420p")
        for number in range(seconds // 30):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
