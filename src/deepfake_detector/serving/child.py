"""One worker process, seen from the HTTP process: start it, give it a job and an open file, have its answer, end it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import IO

from deepfake_detector.errors import ToolFailed
from deepfake_detector.serving.options import PREFIX
from deepfake_detector.serving.refusals import TooCostly
from deepfake_detector.serving.wire import Done, Job, Report

START_S = 180.0  # until a worker has loaded the model: 2 s, on a machine that is overrun 40
JOB_S = {"image": 30.0, "video": 60.0}  # a picture takes 0.02 s, a video of ten minutes 2 s: thirty times as much
END_S = 5.0  # for its exit code, once its end of the line is closed


class Died(Exception):  # noqa: N818
    """The process ended while it was needed."""


class Child:
    """A running worker that has passed its self-test.

    Args:
        bundle: the model's folder.

    Raises:
        ToolFailed: it does not start, or the self-test fails.
    """

    def __init__(self, bundle: Path) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-m", "deepfake_detector.serving.worker"]
            # A fresh interpreter: nothing of this process (sockets, tokens, threads) is in it but one end of a pair.
            self._process = subprocess.Popen(
                [*command, str(bundle), str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._line = Connection(ours.detach())
        try:
            self._await_ready()
        except ToolFailed:
            self.end()
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def do(self, job: Job, file: IO[bytes]) -> Done:
        """Have a file judged.

        Raises:
            Died: the process ended on the way.
            TooCostly: no answer in the time that a file may take; the process has been ended.
        """
        limit_s = JOB_S[job.kind]
        try:
            self._line.send_bytes(job.model_dump_json().encode())
            send_handle(self._line, file.fileno(), self.pid)
            if not self._line.poll(limit_s):
                self.end()
                raise TooCostly(f"the {job.kind} took more than {limit_s:.0f} seconds", "send a smaller or shorter one")
            return Done(Report.model_validate_json(self._line.recv_bytes()), self._line.recv_bytes())
        except (EOFError, OSError) as error:
            raise Died from error

    def end(self) -> None:
        """End the process, which has nothing to tidy up."""
        self._line.close()
        self._process.kill()
        self._process.wait()

    def _await_ready(self) -> None:
        try:
            said = self._line.recv_bytes() if self._line.poll(START_S) else None
        except (EOFError, OSError):
            code = self._process.wait(END_S)
            raise ToolFailed(f"a worker ended with {code} while it loaded the model", "see the machine's log") from None
        failure = f"nothing heard in {START_S:.0f} s" if said is None else json.loads(said).get("failure")
        if failure:
            raise ToolFailed(f"a worker did not pass its self-test: {failure}", "run `deepfake about` with the model")


def _environment() -> dict[str, str]:
    """Ours without the service's settings (the token is none of a worker's business), with the code's place."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
