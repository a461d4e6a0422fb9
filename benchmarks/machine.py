"""This machine -> what figures were measured on, in one line, and how busy it was."""

from __future__ import annotations

import os
import platform
from pathlib import Path

ARITHMETIC = {"amx_bf16": "AMX-bf16", "avx512_bf16": "AVX512-bf16", "avx512f": "AVX512", "avx2": "AVX2"}


def machine() -> str:
    """For example `2 cores of x86_64 with AMX-bf16, Linux 6.1, Python 3.11.7`."""
    arithmetic = next((name for flag, name in ARITHMETIC.items() if flag in _flags()), "")
    said = f" with {arithmetic}" if arithmetic else ""
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    return f"{os.cpu_count()} cores of {platform.machine()}{said}, {system}, Python {platform.python_version()}"


def load() -> float:
    """How many processes wanted a core over the last minute; with none beside this one it is near 0."""
    return round(os.getloadavg()[0], 1)


def _flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())
