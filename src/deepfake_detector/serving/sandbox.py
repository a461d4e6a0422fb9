"""This process -> the same process with less power: it ends with its parent, writes no files, has bounded memory."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

MIB = 2**20
# Beyond what the loaded model takes. 50 million pixels need 450 MiB while Pillow and NumPy each hold a copy, 4K video
# 300 MiB; what needs more is no picture that anybody sent in good faith.
JOB_BYTES = 1536 * MIB
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def end_with_parent(parent: int, how: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel end this process when the thread that started it ends; where it cannot, nothing happens.

    Args:
        parent: id of the process that should be the parent; when it is not any more, it has ended already.
        how: the signal to be sent.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(how), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), how)


def confine(job_bytes: int = JOB_BYTES) -> None:
    """Give up what judging a file does not need, for good: writing files, core dumps, new rights, endless memory."""
    limits = {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0}
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        limits[resource.RLIMIT_DATA] = _data_bytes() + job_bytes
    for what, most in limits.items():
        _, ceiling = resource.getrlimit(what)
        most = most if ceiling == resource.RLIM_INFINITY else min(most, ceiling)
        resource.setrlimit(what, (most, most))


def _data_bytes() -> int:
    """Writable memory of this process, as RLIMIT_DATA counts it."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123  (a path of the kernel)
        line = next(line for line in status if line.startswith("VmData:"))
    return int(line.split()[1]) * 1024
