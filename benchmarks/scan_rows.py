"""A folder of pictures -> one table: `deepfake scan` against a `predict` per file; does it grow with the folder?"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.material import Material
from benchmarks.start_rows import deepfake, running
from benchmarks.timing import MIB, Comparison, row
from deepfake_detector.errors import ToolFailed

FEW, MANY, SINGLES = 500, 5_000, 5
ROUNDS, TIMEOUT_S = 2, 400
LINEAR, FLAT = 0.9, 1.1  # at ten times the files: as fast per file, and no more memory


@dataclass(frozen=True)
class Scan:
    """What one scan took; memory of all its processes together, pages that they share counted once."""

    files: int
    seconds: float
    peak_mib: float


def scan_rows(material: Material) -> Iterator[Comparison]:
    """Every row. The many files are the few under more names."""
    few, many = material.some(FEW), material.some(MANY)
    small, large = material.folder(few), _linked(material, few, many)
    rounds = material.some(ROUNDS)
    one = running(deepfake("predict", str(next(small.iterdir())), "--model", str(material.workspace.pretrained)))
    singles, scans, large_scans = [], [], []
    for i in range(rounds):
        scans.append(_scan(material, small, i))
        large_scans.append(_scan(material, large, i))
        started_s = time.perf_counter()
        count = sum(one() for _ in range(material.some(SINGLES)))
        singles.append(count / (time.perf_counter() - started_s))
    rates = [(each.files / each.seconds, alone) for each, alone in zip(scans, singles, strict=True)]
    yield row(f"scan {few:,} pictures", ("deepfake scan", "deepfake predict, a file at a time"), "picture", rates)
    pairs = list(zip(large_scans, scans, strict=True))
    names = (f"{many:,} files", f"{few:,} files")
    growth = [(big.files / big.seconds, little.files / little.seconds) for big, little in pairs]
    yield row("scan grows in line with the files", names, "picture", growth, LINEAR)
    yield row("scan's memory", names, MIB, [(big.peak_mib, little.peak_mib) for big, little in pairs], FLAT)


def _scan(material: Material, folder: Path, number: int) -> Scan:
    out = material.scratch / f"{folder.name}-{number}.csv"
    command = deepfake("scan", str(folder), "--out", str(out), "--model", str(material.workspace.pretrained))
    started_s = time.perf_counter()
    with (material.scratch / "scan.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        peak_mib = 0.0
        try:
            while process.poll() is None:
                peak_mib = max(peak_mib, _memory_mib(process.pid))
                time.sleep(0.2)
                if time.perf_counter() - started_s > TIMEOUT_S:
                    raise ToolFailed(f"scan of {folder} took more than {TIMEOUT_S} s", "see reports of a quiet machine")
        finally:
            if process.poll() is None:
                for each in psutil.Process(process.pid).children(recursive=True):
                    each.kill()
                process.kill()
    seconds = time.perf_counter() - started_s
    if process.returncode:
        raise ToolFailed(f"scan ended with {process.returncode}", (material.scratch / "scan.log").read_text()[-2000:])
    return Scan(sum(1 for _ in out.open()) - 1, seconds, peak_mib)


def _memory_mib(pid: int) -> float:
    """Proportional set size of a process and all below it."""
    try:
        parent = psutil.Process(pid)
        return sum(_pss(each) for each in (parent, *parent.children(recursive=True))) / 2**20
    except psutil.NoSuchProcess:
        return 0.0


def _pss(process: psutil.Process) -> int:
    try:
        return int(getattr(process.memory_full_info(), "pss", 0) or process.memory_info().rss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def _linked(material: Material, few: int, many: int) -> Path:
    source, folder = material.folder(few), material.scratch / f"linked-{many}"
    folder.mkdir()
    for i in range(many):
        (folder / f"{i:05}.jpg").hardlink_to(source / f"{i % few:05}.jpg")
    return folder
