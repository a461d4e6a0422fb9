"""Seconds and a command -> its output and exit code, in bounded time, with nothing left running; Linux, stdlib only.

Its output goes to a file that is copied out here, so no process that outlives it can hold a reader's pipe open. This
process adopts what its descendants orphan (a daemon in a session of its own too) and kills all of it at the end.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, NoReturn

PR_SET_CHILD_SUBREAPER = 36
POLITE_S = 30
TIMED_OUT = 124  # as coreutils' timeout says it


def main() -> int:
    """Run the command; 124 where it was stopped."""
    limit_s, command = float(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, _stopped)
    with tempfile.TemporaryFile() as log:
        try:
            return _run(command, limit_s, Copy(log))
        finally:
            killed = _kill_descendants()
            if killed:
                print(f"{Path(__file__).name}: killed what was left: {'; '.join(killed)}", file=sys.stderr)


class Copy:
    """What was written to a file so far -> our standard output, once."""

    def __init__(self, log: IO[bytes]) -> None:
        self.log, self._seen = log, 0

    def __call__(self) -> None:
        """Copy what is new; the writers' position in the file is left alone."""
        while text := os.pread(self.log.fileno(), 1 << 16, self._seen):
            self._seen += len(text)
            sys.stdout.buffer.write(text)
        sys.stdout.flush()


def _run(command: list[str], limit_s: float, copy: Copy) -> int:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=copy.log, stderr=copy.log, start_new_session=True
    )
    code = _wait(process, limit_s, copy)
    if code is None:
        print(f"{Path(__file__).name}: stopped after {limit_s:.0f} s: {' '.join(command)}", file=sys.stderr)
        os.killpg(process.pid, signal.SIGTERM)
        _wait(process, POLITE_S, copy)  # long enough for pytest to say where it was
    return TIMED_OUT if code is None else code


def _wait(process: subprocess.Popen[bytes], limit_s: float, copy: Copy) -> int | None:
    deadline = time.monotonic() + limit_s
    while (code := _reap(process.pid)) is None and time.monotonic() < deadline:
        copy()
        time.sleep(0.2)
    copy()
    return code


def _reap(pid: int) -> int | None:
    """Exit code of that child, if it has ended; adopted processes that ended vanish too, as under any init."""
    code = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if not ended:
            return code
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)


def _kill_descendants() -> list[str]:
    """SIGKILL until none is alive; their command lines."""
    killed: dict[int, str] = {}
    deadline = time.monotonic() + POLITE_S
    while (found := _descendants()) and time.monotonic() < deadline:
        for pid in found:
            killed.setdefault(pid, _command_line(pid))
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)
    return list(killed.values())


def _descendants() -> list[int]:
    """Process ids below this one that are not dead yet."""
    parents: dict[int, tuple[int, str]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it ended while we looked
        parents[int(stat.parent.name)] = (int(parent), state)
    below, found = {os.getpid()}, 0
    while len(below) > found:
        found = len(below)
        below |= {pid for pid, (parent, _) in parents.items() if parent in below}
    return sorted(pid for pid in below - {os.getpid()} if parents[pid][1] not in "ZX")


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200].strip()
    except OSError:
        return "?"


def _stopped(*_: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
