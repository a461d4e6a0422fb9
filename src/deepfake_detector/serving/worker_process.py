"""A model's folder -> a worker process; a job and an open file -> its result, in limited processor and wall time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from deepfake_detector.errors import ToolFailed
from deepfake_detector.serving import confined_worker
from deepfake_detector.serving.errors import TooCostly
from deepfake_detector.serving.messages import Job, JobReport, JobResult, Progress, SandboxState

START_TIMEOUT_S = 180.0  # to load the model: it takes 2 s, and 40 s on an overloaded machine
# Processor time, which other programs cannot use up: an image takes 0.02 s, one of 50 megapixels 1.5 s, a video of ten
# minutes 2 s.
JOB_CPU_S = {"image": 5.0, "video": 30.0}
JOB_TIMEOUT_S = {"image": 45.0, "video": 60.0}  # wall time, for files that wait for something
# The same for a long video, of up to four hours.
LONG_CPU_S, LONG_TIMEOUT_S = 900.0, 1800.0
PING_TIMEOUT_S = 5.0  # an idle worker answers within a millisecond
EXIT_TIMEOUT_S = 5.0  # for the exit code of a worker that closed its connection
MESSAGE_TIMEOUT_S, MAX_REPORT_BYTES, MAX_ANSWER_BYTES = 10, 2**20, 256 * 2**20
CHECK_S = 0.1  # between looks at a worker's processor time and state
# What libraries of a worker read; the rest of our environment, with tokens and addresses, is not passed on.
ENVIRONMENT = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "DEEPFAKE_C2PA_TRUST",
)  # fmt: skip
_STOPPED = ("T", "t", "Z", "X")  # states of a process: stopped, traced, ended
PROGRESS_START = b'{"progress":'

Watch = Callable[[float | None], None]


class WorkerDied(Exception):  # noqa: N818
    """The worker process ended, or hangs, and has been killed."""


class WorkerProcess:
    """One worker process that has passed its self-test.

    Args:
        bundle: folder of the model.
        uploads: folder of the files that it may open.

    Raises:
        ToolFailed: the process does not start, or its self-test fails.
    """

    def __init__(self, bundle: Path, uploads: Path) -> None:
        self._uploads = uploads
        ours, theirs = socket.socketpair()
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):  # a worker that stops within a message
            ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", MESSAGE_TIMEOUT_S, 0))
        with theirs:
            command = [sys.executable, "-P", "-m", confined_worker.__name__]
            # A new interpreter inherits one end of the socket pair, and no other socket, token or thread of ours. Its
            # group is its own, so that `kill` ends whatever it might have started.
            self._process = subprocess.Popen(
                [*command, str(bundle), str(uploads), str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                env=_worker_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._connection = Connection(ours.detach())
        try:
            self.sandbox = self._wait_until_ready()
        except ToolFailed:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs and is not stopped."""
        return self._process.poll() is None and _state_and_cpu_s(self.pid)[0] not in _STOPPED

    def ping(self) -> bool:
        """Whether the process, which has no job, answers."""
        if not self.alive:
            return False
        try:
            self._connection.send_bytes(b"")
            return self._connection.poll(PING_TIMEOUT_S) and not self._connection.recv_bytes(MAX_REPORT_BYTES)
        except (EOFError, OSError):
            return False

    def run(self, job: Job, file: IO[bytes], watch: Watch | None = None) -> JobResult:
        """Process one file and wait for the result.

        Args:
            job: how to analyse it.
            file: with its content.
            watch: called every CHECK_S seconds at least, with the progress of a long video or None. What it raises ends
                the wait; the process, which still works, has to be killed then.

        Raises:
            WorkerDied: the process ended or hangs; in both cases it has to be killed.
            TooCostly: the file needs more processor time than one file may use; the process has been killed.
            OSError: this process has no descriptor or no disk left.
        """
        with _read_only(file, self._uploads) as descriptor:
            try:
                self._connection.send_bytes(job.model_dump_json().encode())
                send_handle(self._connection, descriptor, self.pid)
                report = self._wait_for_report(job, watch or (lambda _: None))
                return JobResult(report, self._connection.recv_bytes(MAX_ANSWER_BYTES))
            except (EOFError, OSError, ValidationError) as error:
                raise WorkerDied(f"{type(error).__name__}: {error}") from error

    def kill(self) -> None:
        """End the process, which has nothing to clean up, and its group."""
        self._connection.close()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()

    def _wait_for_report(self, job: Job, watch: Watch) -> JobReport:
        start_s, (_, start_cpu_s) = time.monotonic(), _state_and_cpu_s(self.pid)
        while True:
            progress = None
            if self._connection.poll(CHECK_S):
                message = self._connection.recv_bytes(MAX_REPORT_BYTES)
                if not message.startswith(PROGRESS_START):
                    return JobReport.model_validate_json(message)
                progress = Progress.model_validate_json(message).progress
            self._check_limits(job, start_s, start_cpu_s)
            watch(progress)

    def _check_limits(self, job: Job, start_s: float, start_cpu_s: float) -> None:
        cpu_s = LONG_CPU_S if job.long else JOB_CPU_S[job.kind]
        timeout_s = LONG_TIMEOUT_S if job.long else JOB_TIMEOUT_S[job.kind]
        state, now_cpu_s = _state_and_cpu_s(self.pid)
        if state in _STOPPED:
            raise WorkerDied(f"the worker is in state {state}")
        used_s = now_cpu_s - start_cpu_s
        if used_s > cpu_s:
            self.kill()
            raise TooCostly(
                f"the {job.kind} took more than {cpu_s:.0f} seconds of processor time", "send a smaller or shorter file"
            )
        if time.monotonic() - start_s > timeout_s:
            raise WorkerDied(f"no result in {timeout_s:.0f} s, with {used_s:.1f} s of processor time")

    def _wait_until_ready(self) -> SandboxState:
        try:
            message = self._connection.recv_bytes() if self._connection.poll(START_TIMEOUT_S) else None
        except (EOFError, OSError):
            code = self._process.wait(EXIT_TIMEOUT_S)
            raise ToolFailed(
                f"a worker exited with code {code} while it loaded the model", "see the system log for the reason"
            ) from None
        content = {"failure": f"no message in {START_TIMEOUT_S:.0f} s"} if message is None else json.loads(message)
        if failure := content.get("failure"):
            raise ToolFailed(f"the self-test of a worker failed: {failure}", "run `deepfake about` with the same model")
        return SandboxState.model_validate(content["sandbox"])


def _state_and_cpu_s(pid: int) -> tuple[str, float]:
    """State and processor time of a process in seconds, of all its threads; ("", 0) where the kernel does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "", 0.0
    return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _read_only(file: IO[bytes], uploads: Path) -> Iterator[int]:
    """A descriptor of the file that cannot change it; a file of another folder is copied: the worker cannot open it."""
    own = Path(f"/proc/self/fd/{file.fileno()}")
    if not own.exists():  # not Linux
        yield file.fileno()
        return
    with _copy_into(uploads, file) if own.readlink().parent != uploads else nullcontext() as copy:
        descriptor = os.open(own if copy is None else f"/proc/self/fd/{copy.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


@contextmanager
def _copy_into(uploads: Path, file: IO[bytes]) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile(dir=uploads) as copy:
        file.seek(0)
        shutil.copyfileobj(file, copy)
        copy.flush()
        yield copy


def _worker_environment() -> dict[str, str]:
    """What a worker gets of our environment, with our import path."""
    kept = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONDONTWRITEBYTECODE": "1"}
