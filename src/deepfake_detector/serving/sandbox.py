"""This process -> the same process with less power: it ends with its parent, reads little and writes nothing.

A worker confines itself in two steps: `restrict_files` before it has threads, `confine` once the model is loaded.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import resource
import signal
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from deepfake_detector.serving.landlock import allow_only_reading
from deepfake_detector.serving.messages import SandboxState
from deepfake_detector.serving.seccomp import deny_system_calls

MIB = 2**20
# Beyond what the loaded model takes. 50 million pixels need 450 MiB while Pillow and NumPy each hold a copy, 4K video
# needs 300 MiB. A file that needs more is an attack.
JOB_BYTES = 1536 * MIB
# Libraries, their configuration, and what numerical libraries read about the processors.
SYSTEM_PATHS = (
    "/usr", "/lib", "/lib64", "/nix/store", "/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/zero",
    "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system", "/sys/fs/cgroup",
)  # fmt: skip
LIBRARIES = ("numpy", "cv2", "openvino", "PIL", "av", "pydantic")  # they may lie outside the interpreter's folders
ENFORCED = "enforced"
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_MAX_CAPABILITY = 63


def end_with_parent(parent_pid: int, signal_number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel signal this process when the thread that started it ends; does nothing outside Linux.

    Args:
        parent_pid: the expected parent; if it is another process by now, the parent has already ended.
        signal_number: the signal to send.
    """
    if sys.platform != "linux":
        return
    _prctl(_PR_SET_PDEATHSIG, int(signal_number))
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal_number)


def hide_memory() -> None:
    """Keep the memory, environment and descriptors of this process from others of the same user; Linux only."""
    if sys.platform == "linux":
        _prctl(_PR_SET_DUMPABLE, 0)


@dataclass(frozen=True)
class RestrictedFiles:
    """What `restrict_files` achieved.

    Attributes:
        landlock_abi: version of Landlock; 0: the kernel has none.
        status: the kernel's description of this process, which cannot be opened any more; None outside Linux.
        without_capabilities: whether this thread and those that it starts have none.
    """

    landlock_abi: int
    status: BinaryIO | None
    without_capabilities: bool = False


def unrestricted_files() -> RestrictedFiles:
    """For a process that keeps its capabilities and may open any file."""
    if sys.platform != "linux":
        return RestrictedFiles(0, None)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    status = open("/proc/self/status", "rb", buffering=0)  # noqa: PTH123, SIM115  (a file of the kernel; it stays open)
    return RestrictedFiles(0, status)


def restrict_files(readable: Iterable[Path] = ()) -> RestrictedFiles:
    """Give up, for good, capabilities and every file but code, libraries and `readable`, which can be read only.

    Landlock and capabilities belong to threads: call it before there are others, so before numerical libraries are
    imported.
    """
    opened = unrestricted_files()
    if opened.status is None:
        return opened
    _drop_capabilities()
    return RestrictedFiles(allow_only_reading([*code_paths(), *readable]), opened.status, without_capabilities=True)


def confine(job_bytes: int = JOB_BYTES, restricted: RestrictedFiles | None = None) -> SandboxState:
    """Give up, for good, writing files, core dumps, most system calls, and memory beyond `job_bytes` more than now.

    Args:
        job_bytes: memory for one file.
        restricted: the result of `restrict_files`; None: it is called now.

    Returns:
        Which parts this kernel enforces.
    """
    restricted = restricted or restrict_files()
    limits = {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0}
    if restricted.status is not None:
        limits[resource.RLIMIT_DATA] = _data_bytes(restricted.status) + job_bytes
    for kind, limit in limits.items():
        _, hard = resource.getrlimit(kind)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (limit, limit))
    filtered, linux = deny_system_calls(), restricted.status is not None
    return SandboxState(
        files=ENFORCED if restricted.landlock_abi else "not enforced: the kernel has no Landlock, or it was not used",
        system_calls=ENFORCED if filtered else "not enforced: no seccomp filter for this kernel or processor",
        privileges=ENFORCED if restricted.without_capabilities else "not enforced: capabilities are Linux'",
        memory=ENFORCED if linux else "not enforced: not Linux",
        landlock_abi=restricted.landlock_abi,
    )


def code_paths() -> Iterator[Path]:
    """Files and folders of the interpreter, its packages, this package and the system's libraries."""
    package = Path(__file__).resolve().parents[1]
    interpreter = (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    yield package
    yield from (Path(name) for name in (*SYSTEM_PATHS, *interpreter, *libraries) if name)
    for library in LIBRARIES:
        spec = importlib.util.find_spec(library)
        if spec is not None and spec.submodule_search_locations is not None:
            yield from (Path(location).parent for location in spec.submodule_search_locations)


def _drop_capabilities() -> None:
    """A root user without capabilities cannot read the memory of others, change their limits or load drivers."""
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(_MAX_CAPABILITY):
        _prctl(_PR_CAPBSET_DROP, capability)  # fails for those that do not exist, or for a user without the right
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
    none = ctypes.create_string_buffer(24)  # effective, permitted and inheritable, twice 32 bits
    if ctypes.CDLL(None, use_errno=True).capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "cannot drop the capabilities of this process")


def _prctl(option: int, *arguments: int) -> int:
    padded = [*arguments, 0, 0, 0, 0][:4]
    return int(ctypes.CDLL(None, use_errno=True).prctl(option, *map(ctypes.c_ulong, padded)))


def _data_bytes(status: BinaryIO) -> int:
    """Writable memory of this process, as RLIMIT_DATA counts it."""
    status.seek(0)
    line = next(line for line in status.read(65_536).splitlines() if line.startswith(b"VmData:"))
    return int(line.split()[1]) * 1024
