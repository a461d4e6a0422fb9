"""A folder of pictures -> its verdicts: `deepfake scan --engine ray` against one machine, two workers against one.

Ray starts and ends with each scan, on this machine, with one processor more than workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.material import Material
from benchmarks.start_rows import deepfake, running
from benchmarks.timing import Comparison, Variant, compare
from deepfake_detector.parallel import available_cores

FEW, MANY = 500, 5_000
ROUNDS, TIMEOUT_S = 2, 900


def cluster_rows(material: Material) -> Iterator[Comparison]:
    """Every row. The many files are the few under more names, as links."""
    few, many = material.some(FEW), material.some(MANY)
    rounds, cores = material.some(ROUNDS), available_cores()
    folders = {few: material.folder(few), many: _linked(material, few, many)}
    for files, folder in folders.items():
        ours = Variant("Ray on one machine", _scan(material, folder, files, cores, ray=True))
        other = Variant("deepfake scan", _scan(material, folder, files, cores, ray=False))
        yield from compare(f"scan {files:,} pictures on Ray, its start included", ours, [other], "picture", rounds)
    two = Variant("2 workers", _scan(material, folders[many], many, 2, ray=True))
    one = Variant("1 worker", _scan(material, folders[many], many, 1, ray=True))
    yield from compare(f"scan {many:,} pictures on Ray, workers", two, [one], "picture", rounds)


def _scan(material: Material, folder: Path, files: int, workers: int, ray: bool) -> Callable[[], float]:
    """The work of one scan into an output of its own: Ray would continue an older one."""

    def work() -> float:
        name = f"{folder.name}-{len(list(material.scratch.iterdir()))}"
        out = material.scratch / (name if ray else f"{name}.parquet")
        options = ("--out", str(out), "--workers", str(workers), "--model", str(material.workspace.pretrained))
        engine = ("--engine", "ray") if ray else ()
        running(deepfake("scan", str(folder), *options, *engine), timeout_s=TIMEOUT_S)()
        return files

    return work


def _linked(material: Material, few: int, many: int) -> Path:
    source, folder = material.folder(few), material.scratch / f"cluster-{many}"
    folder.mkdir()
    for number in range(many):
        (folder / f"{number:05}.jpg").hardlink_to(source / f"{number % few:05}.jpg")
    return folder
