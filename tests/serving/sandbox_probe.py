"""Nothing -> JSON: what a process that has confined itself like a worker is refused. `python sandbox_probe.py FOLDER`.

The parent holds a token in its environment and hides its memory, as the HTTP process does; its child confines itself
and then attacks the parent, the files in FOLDER and the system.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from deepfake_detector.serving.sandbox import confine, hide_memory, restrict_files

LIBC = ctypes.CDLL(None, use_errno=True)
F_SETOWN, O_TMPFILE, AF_NETLINK = 8, 0o20200000, 16
CALLS = {  # system call -> number on x86_64, arguments
    "io_uring_setup": (425, (1, 0)),
    "bpf": (321, (0, 0, 0)),
    "perf_event_open": (298, (0, 0, -1, -1, 0)),
    "userfaultfd": (323, (1,)),
    "keyctl": (250, (0, -3, 0)),
    "unshare a user namespace": (272, (0x10000000,)),
    "unshare a mount namespace": (272, (0x00020000,)),
    "chroot": (161, (b"/",)),
    "mount": (165, (b"none", b"/mnt", b"tmpfs", 0, 0)),
    "memfd_create": (319, (b"x", 0)),
    "setresuid": (117, (0, 0, 0)),
    "openat2": (437, (-100, b"/etc/passwd", 0, 0)),
    "fork": (57, ()),
    "vfork": (58, ()),
}


def call(number: int, *arguments: Any) -> None:
    converted = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    if LIBC.syscall(ctypes.c_long(number), *converted) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


def transfer(number: int, pid: int, address: int) -> None:
    """process_vm_readv (310) or process_vm_writev (311) of one byte of another process."""
    ours = ctypes.create_string_buffer(1)
    local, remote = Vector(ctypes.addressof(ours), 1), Vector(address, 1)
    call(number, pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)


def attacks(folder: Path, parent: int, address: int) -> dict[str, Callable[[], object]]:
    """Name -> attack; those that begin with "read" are refused by Landlock or the hidden memory alone."""
    target = folder / "target"
    readable = os.open(folder / "uploads" / "file", os.O_RDONLY)
    return {
        "read the environment of the parent": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
        "read the memory of the parent": lambda: Path(f"/proc/{parent}/mem").open("rb"),
        "read the descriptors of the parent": lambda: list(Path(f"/proc/{parent}/fd").iterdir()),
        "read a file": target.read_bytes,
        "read the users": lambda: Path("/etc/passwd").read_bytes(),
        "read the root folder": lambda: list(Path("/").iterdir()),
        "write the memory of the parent": lambda: Path(f"/proc/{parent}/mem").open("r+b"),
        "process_vm_readv": lambda: transfer(310, parent, address),
        "process_vm_writev": lambda: transfer(311, parent, address),
        "ptrace": lambda: call(101, 16, parent, 0, 0),
        **{f"socket {family}": partial(socket.socket, family) for family in (socket.AF_INET, socket.AF_INET6)},
        "socket unix": lambda: socket.socket(socket.AF_UNIX),
        "socket netlink": lambda: socket.socket(AF_NETLINK, socket.SOCK_RAW),
        "socketpair": socket.socketpair,
        "execve": lambda: os.execv("/bin/sh", ["sh", "-c", "exit 0"]),
        "subprocess": lambda: subprocess.run(["/bin/true"], check=True),
        "posix_spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "open for writing": lambda: os.open(target, os.O_WRONLY),
        "open for reading and writing": lambda: os.open(target, os.O_RDWR),
        "append": lambda: os.open(target, os.O_WRONLY | os.O_APPEND),
        "open and truncate": lambda: os.open(target, os.O_RDONLY | os.O_TRUNC),
        "create": lambda: os.open(folder / "new", os.O_CREAT | os.O_WRONLY),
        "create beside the uploads": lambda: os.open(folder / "uploads" / "new", os.O_CREAT | os.O_RDWR),
        "create a file without a name": lambda: os.open(folder, O_TMPFILE | os.O_RDWR),
        "map an upload for writing": lambda: mmap.mmap(readable, 0, mmap.MAP_SHARED, mmap.PROT_WRITE),
        "truncate": lambda: os.truncate(target, 0),
        "ftruncate": lambda: os.ftruncate(readable, 0),
        "rename": lambda: target.rename(folder / "renamed"),
        "unlink": target.unlink,
        "link": lambda: (folder / "link").hardlink_to(target),
        "symlink": lambda: (folder / "link").symlink_to(target),
        "mkdir": (folder / "made").mkdir,
        "rmdir": (folder / "empty").rmdir,
        "chmod": lambda: target.chmod(0o777),
        "chown": lambda: os.chown(target, os.getuid(), os.getgid()),
        "utime": lambda: os.utime(target, (1, 1)),
        "mkfifo": lambda: os.mkfifo(folder / "fifo"),
        "setxattr": lambda: os.setxattr(target, "user.a", b"b"),
        "kill the parent": lambda: os.kill(parent, 0),
        "signal a thread of the parent": lambda: call(234, parent, parent, 0),
        "receive signals for the parent": lambda: fcntl.fcntl(readable, F_SETOWN, parent),
        "pidfd_open": lambda: os.pidfd_open(parent),
        "limits of the parent": lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE),
        "priority of the parent": lambda: os.setpriority(os.PRIO_PROCESS, parent, 19),
        "affinity of the parent": lambda: os.sched_setaffinity(parent, {0}),
        **{name: partial(call, number, *arguments) for name, (number, arguments) in CALLS.items()},
    }


def child(folder: Path, parent: int, address: int) -> None:
    """Confine this process, attack, and print what was refused and what still works."""
    state = confine(restricted=restrict_files([folder / "uploads"]))
    outcomes = {}
    for name, attack in attacks(folder, parent, address).items():
        try:
            attack()
            outcomes[name] = ""
        except (OSError, subprocess.SubprocessError) as error:
            outcomes[name] = f"{type(error).__name__}: {error}"
    threads = [threading.Thread(target=(folder / "uploads" / "file").read_bytes) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    works = (folder / "uploads" / "file").read_bytes() == b"upload"
    print(json.dumps({"state": state.model_dump(), "works": works, "outcomes": outcomes}))


def main() -> None:
    """Run the child."""
    if len(sys.argv) == 2:
        hide_memory()
        secret = ctypes.create_string_buffer(b"secret")
        command = [sys.executable, __file__, sys.argv[1], str(os.getpid()), str(ctypes.addressof(secret))]
        raise SystemExit(subprocess.run(command, check=False).returncode)
    child(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))


if __name__ == "__main__":
    main()
