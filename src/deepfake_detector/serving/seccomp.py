"""A list of system calls -> a BPF program that denies every other one to all threads of this process (Linux, seccomp).

Only what decoding and scoring use is allowed: no new processes, sockets, signals to others or files opened for writing.
A denied call fails with EPERM. The bindings of libseccomp (pyseccomp: last release in 2021) need a library that images
lack; the program is a hundred comparisons. Numbers: syscall_64.tbl and asm-generic/unistd.h of Linux.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Sequence

from deepfake_detector.errors import ToolFailed

_MACHINES = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}  # column below, AUDIT_ARCH, seccomp()
# Allowed with any arguments: name -> numbers on x86_64 and aarch64; -1: it has none.
ALLOWED = {
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67), "preadv": (295, 69),
    "close": (3, 57), "lseek": (8, 62), "fstat": (5, 80), "newfstatat": (262, 79), "statx": (332, 291),
    "stat": (4, -1), "lstat": (6, -1), "access": (21, -1), "faccessat": (269, 48), "faccessat2": (439, 439),
    "readlink": (89, -1), "readlinkat": (267, 78), "getcwd": (79, 17), "getdents64": (217, 61),
    "fadvise64": (221, 223), "statfs": (137, 43), "fstatfs": (138, 44),
    "dup": (32, 23), "dup2": (33, -1), "dup3": (292, 24), "pipe": (22, -1), "pipe2": (293, 59), "eventfd2": (290, 19),
    "mmap": (9, 222), "munmap": (11, 215), "mremap": (25, 216), "mprotect": (10, 226), "madvise": (28, 233),
    "brk": (12, 214), "mlock": (149, 228), "munlock": (150, 229), "mincore": (27, 232), "membarrier": (324, 283),
    "mbind": (237, 235), "get_mempolicy": (239, 236), "set_mempolicy": (238, 237),
    "futex": (202, 98), "futex_waitv": (449, 449), "set_robust_list": (273, 99), "get_robust_list": (274, 100),
    "rseq": (334, 293), "set_tid_address": (218, 96), "sched_yield": (24, 124), "sched_getaffinity": (204, 123),
    "sched_getparam": (143, 121), "sched_getscheduler": (145, 120), "sched_get_priority_max": (146, 125),
    "sched_get_priority_min": (147, 126), "getcpu": (309, 168), "exit": (60, 93), "exit_group": (231, 94),
    "restart_syscall": (219, 128), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133), "sigaltstack": (131, 132),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "nanosleep": (35, 101),
    "gettimeofday": (96, 169), "time": (201, -1), "times": (100, 153), "getrusage": (98, 165), "sysinfo": (99, 179),
    "uname": (63, 160), "getrandom": (318, 278), "getrlimit": (97, 163), "getpriority": (140, 141),
    "getpid": (39, 172), "gettid": (186, 178), "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175),
    "getgid": (104, 176), "getegid": (108, 177), "poll": (7, -1), "ppoll": (271, 73), "select": (23, -1),
    "pselect6": (270, 72), "epoll_create1": (291, 20), "epoll_ctl": (233, 21), "epoll_wait": (232, -1),
    "epoll_pwait": (281, 22), "recvmsg": (47, 212), "recvfrom": (45, 207), "sendmsg": (46, 211), "sendto": (44, 206),
    "shutdown": (48, 210), "getsockopt": (55, 209), "getsockname": (51, 204), "getpeername": (52, 205),
}  # fmt: skip
_CLONE, _CLONE3, _TGKILL, _OPEN, _OPENAT, _OPENAT2 = (56, 220), (435, 435), (234, 131), (2, -1), (257, 56), (437, 437)
_PRCTL, _IOCTL, _FCNTL, _PRLIMIT = (157, 167), (16, 29), (72, 25), (302, 261)
_CLONE_THREAD = 0x10000
_O_TMPFILE = 0o20000000
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | _O_TMPFILE
_PRCTL_NAMES = (15, 16, 0x53564D41)  # names of threads and of memory
_IOCTL_QUERIES = (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)  # is it a terminal, bytes to read, blocking, close-on-exec
_FCNTL_FLAGS = (0, 1, 2, 3, 4, 1030)  # duplicates and flags, not the receiver of signals

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16  # in struct seccomp_data
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_SET_MODE_FILTER, _ALL_THREADS = 1, 1

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand
_PERMIT: Instruction = (_RETURN, 0, 0, _ALLOW)


def deny_system_calls() -> bool:
    """Deny all threads of this process, for good, every system call that is not allowed above.

    The process must have no new privileges already (see `sandbox`).

    Returns:
        False where the kernel has no seccomp, or for a processor whose numbers are not known here.

    Raises:
        ToolFailed: the kernel has it and refuses.
    """
    machine = _MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None:
        return False
    program = b"".join(struct.pack("=HBBI", *each) for each in filter_program(*machine[:2], os.getpid()))
    buffer = ctypes.create_string_buffer(program)
    description = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    library = ctypes.CDLL(None, use_errno=True)
    result = library.syscall(
        ctypes.c_long(machine[2]), ctypes.c_uint(_SET_MODE_FILTER), ctypes.c_uint(_ALL_THREADS), description
    )
    if result != 0 and ctypes.get_errno() in (errno.ENOSYS, errno.EINVAL):
        return False
    if result != 0:
        raise ToolFailed(f"seccomp refuses the filter: {os.strerror(ctypes.get_errno())}", "see the log of the kernel")
    return True


def filter_program(column: int, architecture: int, pid: int) -> list[Instruction]:
    """The instructions of the filter.

    Args:
        column: of the numbers: 0 for x86_64, 1 for aarch64.
        architecture: as the kernel reports it; calls of another one (32 bits) are denied.
        pid: of this process: its threads may signal each other.
    """
    denied, unknown = _fail(errno.EPERM), _fail(errno.ENOSYS)  # libc falls back to an older call after ENOSYS
    special = {
        _OPEN: _unless_any_bit(1, _WRITING),
        _OPENAT: _unless_any_bit(2, _WRITING),
        _CLONE: [_argument(0), (_ANY_BIT, 1, 0, _CLONE_THREAD), denied, _PERMIT],
        _CLONE3: [unknown],
        _OPENAT2: [unknown],
        _TGKILL: _if_one_of(0, (pid,)),
        _PRLIMIT: _if_one_of(0, (0, pid)),
        _PRCTL: _if_one_of(0, _PRCTL_NAMES),
        _IOCTL: _if_one_of(1, _IOCTL_QUERIES),
        _FCNTL: _if_one_of(1, _FCNTL_FLAGS),
    }
    rules = {numbers[column]: block for numbers, block in special.items()}
    rules |= {numbers[column]: [_PERMIT] for numbers in ALLOWED.values()}
    program = [(_LOAD, 0, 0, _ARCHITECTURE_AT), (_EQUAL, 1, 0, architecture), denied, (_LOAD, 0, 0, _NUMBER_AT)]
    for number, block in rules.items():
        if number >= 0:
            program += [(_EQUAL, 0, len(block), number), *block]
    return [*program, denied]


def _fail(error: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | error)


def _argument(index: int) -> Instruction:
    """Load the low half of an argument; both machines are little endian."""
    return (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * index)


def _unless_any_bit(index: int, bits: int) -> list[Instruction]:
    return [_argument(index), (_ANY_BIT, 0, 1, bits), _fail(errno.EPERM), _PERMIT]


def _if_one_of(index: int, values: Sequence[int]) -> list[Instruction]:
    tests: list[Instruction] = [(_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [_argument(index), *tests, _fail(errno.EPERM), _PERMIT]
