"""This process -> the same process with less power: it ends with its parent, writes no files, has limited memory."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

MIB = 2**20
# Beyond what the loaded model takes. 50 million pixels need 450 MiB while Pillow and NumPy each hold a copy, 4K video
# needs 300 MiB. A file that needs more is an attack.
JOB_BYTES = 1536 * MIB
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def end_with_parent(parent_pid: int, signal_number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel signal this process when the thread that started it ends; does nothing outside Linux.

    Args:
        parent_pid: the expected parent; if it is another process by now, the parent has already ended.
        signal_number: the signal to send.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal_number)


def confine(job_bytes: int = JOB_BYTES) -> None:
    """Give up, for good, writing files, core dumps, new privileges, and memory beyond `job_bytes` more than now."""
    limits = {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0}
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        limits[resource.RLIMIT_DATA] = _data_bytes() + job_bytes
    for kind, limit in limits.items():
        _, hard = resource.getrlimit(kind)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (limit, limit))


def _data_bytes() -> int:
    """Writable memory of this process, as RLIMIT_DATA counts it."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123  (a file of the kernel)
        line = next(line for line in status if line.startswith("VmData:"))
    return int(line.split()[1]) * 1024
