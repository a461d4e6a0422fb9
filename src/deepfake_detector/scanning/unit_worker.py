"""The number of a work unit -> its rows as a Parquet file, written by a process of a Ray cluster; counts of verdicts.

The files are scored in a child of that process, as on one machine: a file that crashes it is a row with an error.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deepfake_detector.errors import BadInput, BundleCorrupt, DetectorError, ToolFailed
from deepfake_detector.io import atomic_directory
from deepfake_detector.model.bundle import read_bundle
from deepfake_detector.scanning.dataset import PartCounts, part_name, read_part, require_claim, rows_part, write_part
from deepfake_detector.scanning.discovery import FoundFile
from deepfake_detector.scanning.plan import read_unit
from deepfake_detector.scanning.rows import ScanRow, error_row
from deepfake_detector.scanning.score_files import FileScorer, ScoringPool
from deepfake_detector.scanning.storage import LocalFolder, Storage


@dataclass(frozen=True)
class ScanJob:
    """What is the same for all units of a run.

    Attributes:
        source, output: of the scan.
        run: which writes the output.
        model_sha256: of the bundle.
        with_sha256: add the files' digests to the rows.
        version: of this package on the driver.
        scorer: what scores the files.
    """

    source: Storage
    output: Storage
    run: str
    model_sha256: str
    with_sha256: bool
    version: str
    scorer: type[FileScorer]


def score_units(batch: Mapping[str, Sequence[int]], job: ScanJob, bundle: Any) -> dict[str, list[str]]:
    """What Ray calls: see `score_unit`.

    Args:
        batch: the column `unit`.
        job, bundle: see there.

    Returns:
        Columns `counts`, and `failure`, empty or what `raise_failure` raises: Ray would wrap an error in one of its own
        and lose the type.
    """
    counts, failures = [], []
    for unit in batch["unit"]:
        try:
            counts.append(score_unit(int(unit), job, bundle).as_json())
            failures.append("")
        except DetectorError as error:
            counts.append(PartCounts().as_json())
            failures.append(json.dumps([isinstance(error, BadInput), error.message, error.hint]))
    return {"counts": counts, "failure": failures}


def raise_failure(failure: str) -> None:
    """Raise the error of a worker on the driver, if there is one.

    Raises:
        BadInput, ToolFailed: what the worker raised.
    """
    if failure:
        is_input, message, hint = json.loads(failure)
        raise (BadInput if is_input else ToolFailed)(message, hint)


def score_unit(unit: int, job: ScanJob, bundle: Any) -> PartCounts:
    """Score the files of one unit, unless that was done, and write its part.

    Args:
        unit: its number.
        job: see there.
        bundle: reference in Ray's object store to the files of the model, name -> content.

    Raises:
        BadInput, ToolFailed: the input or output is not there on this machine, or another run has claimed it.
    """
    require_claim(job.output, job.run)
    name = part_name(job.run, unit)
    try:
        part = read_part(job.output, name)  # the task that wrote it died before its answer came
    except FileNotFoundError:
        files = read_unit(job.output, job.run, unit)
        part = rows_part(_scored(job, files, bundle), job.with_sha256)
        require_claim(job.output, job.run)
        write_part(job.output, name, part)
    return part.counts


def _scored(job: ScanJob, files: Sequence[FoundFile], bundle: Any) -> Iterator[tuple[FoundFile, ScanRow | None]]:
    yield from ((found, error_row(found.name, BadInput(found.problem))) for found in files if found.problem)
    yield from _pool(job, bundle).score(found for found in files if not found.problem)


_POOLS: dict[ScanJob, ScoringPool] = {}


def _pool(job: ScanJob, bundle: Any) -> ScoringPool:
    """The child process of this process; it loads the model once."""
    if job not in _POOLS:
        if job.version != (found := version("deepfake-detector")):
            hint = "install the same version on all machines of the cluster"
            raise ToolFailed(f"this machine has deepfake-detector {found}, the driver has {job.version}", hint)
        if isinstance(job.source, LocalFolder) and not job.source.path.is_dir():
            hint = "name a folder that all machines of the cluster share, or s3://"
            raise BadInput(f"there is no folder {job.source.path} on this machine", hint)
        folder = _bundle_folder(job.model_sha256, bundle)
        while _POOLS:  # of an earlier scan of the same driver
            _POOLS.popitem()[1].close()
        _POOLS[job] = ScoringPool(job.scorer(job.source, folder, job.with_sha256), workers=1)
    return _POOLS[job]


def _bundle_folder(sha256: str, bundle: Any) -> Path:
    """The model on the disk of this machine, where all its workers share one copy.

    Raises:
        BundleCorrupt: somebody changed the copy.
        ToolFailed: other users may write its folder.
    """
    import ray

    parent = Path(tempfile.gettempdir()) / f"deepfake-detector-{os.getuid()}"
    parent.mkdir(mode=0o700, exist_ok=True)
    _require_own_folder(parent)
    folder = parent / sha256
    with (parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with atomic_directory(folder) as temporary:
                for name, content in ray.get(bundle).items():
                    (temporary / name).write_bytes(content)
                _require_model(temporary, sha256, "its files changed while the scan started: start it again")
    _require_model(folder, sha256, "delete the folder")
    return folder


def _require_own_folder(folder: Path) -> None:
    """Anybody may make a folder of this name in /tmp first, with a lock that is a link to a file of ours."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ToolFailed(f"other users may write {folder}", "delete it, or name another folder with TMPDIR")


def _require_model(folder: Path, sha256: str, hint: str) -> None:
    if (found := read_bundle(folder).sha256) != sha256:
        raise BundleCorrupt(f"{folder} holds the model {found}, not {sha256}", hint)
