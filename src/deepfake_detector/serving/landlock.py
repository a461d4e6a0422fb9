"""Folders that may be read -> this thread, and those that it starts, can open nothing else (Landlock, Linux 5.13).

Python has no binding of Landlock; its three system calls have the same numbers on every processor.
See https://docs.kernel.org/userspace-api/landlock.html.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from deepfake_detector.errors import ToolFailed

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
# ABI of the kernel -> number of rights on files that it knows; every one that it knows is denied unless granted here.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_TCP = 0b11  # bind and connect, since ABI 4
_SCOPES = 0b11  # abstract Unix sockets and signals of other processes, since ABI 6


def landlock_abi() -> int:
    """Version of Landlock in this kernel; 0: there is none, or it is switched off."""
    if sys.platform != "linux":
        return 0
    return max(_call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION)), 0)


def allow_only_reading(readable: Iterable[Path]) -> int:
    """Deny this thread, for good, every access to files but reading and mapping those in `readable`.

    TCP, and signals to processes outside, are denied, too, where the kernel knows these rules.
    The process must have no new privileges already (see `sandbox`). Files that are open stay open.

    Args:
        readable: folders, with all below them, and files; those that do not exist are left out.

    Returns:
        Version of Landlock; 0: the kernel has none, and nothing is denied.

    Raises:
        ToolFailed: the kernel has it and refuses.
    """
    abi = landlock_abi()
    if abi == 0:
        return 0
    ruleset = _create_ruleset(abi)
    try:
        for path in {path.resolve() for path in readable if path.exists()}:
            _allow(ruleset, path)
        if _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)) != 0:
            raise _failure("restrict this process")
    finally:
        os.close(ruleset)
    return abi


def _create_ruleset(abi: int) -> int:
    files = (1 << _FILE_RIGHTS[min(abi, max(_FILE_RIGHTS))]) - 1
    words = [files, *([_TCP] if abi >= 4 else []), *([_SCOPES] if abi >= 6 else [])]
    attributes = struct.pack(f"={len(words)}Q", *words)
    ruleset = _call(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if ruleset < 0:
        raise _failure("create a ruleset")
    return ruleset


def _allow(ruleset: int, path: Path) -> None:
    rights = _READ_FILE | _EXECUTE | (_READ_DIR if path.is_dir() else 0)
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", rights, descriptor)
        if _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0)) != 0:
            raise _failure(f"allow reading {path}")
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    return int(ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *arguments))


def _failure(action: str) -> ToolFailed:
    return ToolFailed(f"Landlock cannot {action}: {os.strerror(ctypes.get_errno())}", "see the log of the kernel")
