"""A folder or address and a model -> a folder of Parquet files, by the machines of a Ray cluster; resumable.

The driver lists the input and writes work units (`plan`); Ray's tasks score one unit each and write its rows
(`unit_worker`). Through Ray travel numbers of units and counts of verdicts, and the model once: no content of a file.
Tasks, not actors: when a machine is lost, a task goes to any processor that is left; an actor waits for a free one.
"""

from __future__ import annotations

import logging
import os
import re
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deepfake_detector.errors import BadInput, ToolFailed, needs_extra
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.parallel import available_cores
from deepfake_detector.scanning.dataset import PartCounts, claim_output, complete_output, part_name, part_names
from deepfake_detector.scanning.plan import ScanPlan, delete_units, plan_scan
from deepfake_detector.scanning.scan import ScanSummary, count_as_done, open_source, progress_bar, scan_conditions
from deepfake_detector.scanning.score_files import FileScorer
from deepfake_detector.scanning.storage import LocalFolder, ObjectStore, Storage, open_storage
from deepfake_detector.scanning.unit_worker import ScanJob, raise_failure, score_units

OBJECT_STORE_BYTES = 200 * 2**20  # of a Ray that is started here; it holds the model and numbers
MAX_BLOCKS = 2_000  # tasks of one scan: Ray's own bookkeeping is about 10 kB for each
MAX_RETRIES = 5  # of a task whose process or machine died; Ray's default is to try for ever
START_ATTEMPTS = 3
ADDRESS_VARIABLE = "RAY_ADDRESS"
LOOPBACK_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0: Ray uses 127.0.0.1, on every system


def scan_on_ray(
    folder: Path | str,
    out: Path | str,
    bundle: Bundle,
    with_sha256: bool = False,
    follow_links: bool = False,
    address: str | None = None,
    workers: int = 0,
    scorer: type[FileScorer] = FileScorer,
) -> ScanSummary:
    """Score every image and video below a folder on a Ray cluster, with the scores of `scan_folder`.

    A run that was killed, in whole or in part, continues from the rows in the output when it is started again.

    Args:
        folder: to scan, or an address like s3://BUCKET/PATH; the same on all machines of the cluster.
        out: a folder or an address, which receives a Parquet file for each work unit while the scan runs.
        bundle: the model; the machines receive a copy.
        with_sha256: add the files' digests.
        follow_links: enter linked folders.
        address: of the cluster; None for RAY_ADDRESS, or a Ray of this machine that ends with the scan.
        workers: files that are scored at once; 0 for all processors of the cluster but one.
        scorer: what scores them; all machines must be able to import it.

    Raises:
        BadInput: no such folder, or the output cannot be used.
        MissingExtra: the extra `cluster` is not installed.
        ToolFailed: no cluster at the address, another run writes the output, or a unit could not be scored.
    """
    start_s = time.monotonic()
    source, output = open_source(folder, follow_links), _open_output(out)
    if f"{output.address}/".startswith(f"{source.address}/"):
        raise BadInput(f"{output.address} lies in the scanned folder", "name an --out beside it")
    run, conditions = uuid.uuid4().hex[:12], scan_conditions(source, bundle, with_sha256)
    with _cluster(address, workers) as processors:
        claim_output(output, run, conditions)
        plan = plan_scan(source.find(), output, run)
        files = {path.name: path.read_bytes() for path in sorted(bundle.path.iterdir()) if path.is_file()}
        job = ScanJob(source, output, run, bundle.sha256, with_sha256, version("deepfake-detector"), scorer)
        scored = _run_units(job, files, plan, workers or max(1, processors - 1))
    _delete_late_parts(output, run, plan)
    complete_output(output, run, conditions)
    delete_units(output)
    return _summary(plan, scored, time.monotonic() - start_s)


def _open_output(out: Path | str) -> LocalFolder | ObjectStore:
    if str(out).lower().endswith((".csv", ".parquet")):
        raise BadInput(f"Ray writes a folder, and {out} names a file", "name a folder, or leave out --engine ray")
    output = open_storage(out)
    return LocalFolder(output.path.resolve()) if isinstance(output, LocalFolder) else output


@contextmanager
def _cluster(address: str | None, workers: int) -> Iterator[int]:
    """Connect to a cluster or start one on this machine; gives its number of processors."""
    here = not address and not os.environ.get(ADDRESS_VARIABLE)
    # All are read when Ray is imported or starts. By default it reports to its makers, and listens on all interfaces.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if here:
        os.environ[LOOPBACK_VARIABLE] = "0"
    with needs_extra("cluster", "scans on Ray"):
        import ray
        import ray.data
    if ray.is_initialized():  # by the caller, whose connection it stays
        yield int(ray.cluster_resources().get("CPU", 1))
        return
    options: dict[str, Any] = {"address": address} if address else {}
    if here:
        # One processor more than workers: it is for the driver, which mostly waits.
        options = {
            "address": "local",  # else Ray would look for a cluster that somebody else started on this machine
            "num_cpus": (workers or available_cores()) + 1,
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
    _connect(options, address or os.environ.get(ADDRESS_VARIABLE) or "this machine")
    try:
        yield int(ray.cluster_resources().get("CPU", 1))
    finally:
        ray.shutdown()


def _connect(options: dict[str, Any], where: str) -> None:
    """Ray's own limit for a start is half a minute, which a busy machine exceeds."""
    import ray

    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            ray.init(**options, log_to_driver=False, logging_level="error")
        except Exception as error:  # Ray raises `Exception` itself when a start takes too long
            ray.shutdown()
            if attempt == START_ATTEMPTS or "timed out during startup" not in str(error):
                hint = "check --address; `ray status` shows a cluster"
                raise ToolFailed(f"no Ray at {where}: {type(error).__name__}: {error}", hint) from error
        else:
            return


def _run_units(job: ScanJob, bundle: dict[str, bytes], plan: ScanPlan, workers: int) -> PartCounts:
    """Score all units, while a bar shows the files."""
    total = PartCounts()
    with progress_bar(plan.files + plan.kept.files) as bar:
        count_as_done(bar, plan.kept.files)
        for counts in _unit_counts(job, bundle, plan.units, workers) if plan.units else ():
            total.add(counts)
            bar.set_postfix(errors=total.verdicts["error"], refresh=False)
            bar.update(counts.files)
    if total.files != plan.files:
        hint = "the same command scores the missing files"
        raise ToolFailed(f"Ray answered for {total.files:,} of {plan.files:,} files", hint)
    return total


def _unit_counts(job: ScanJob, bundle: dict[str, bytes], units: int, workers: int) -> Iterator[PartCounts]:
    """Counts of the units as they are done.

    Raises:
        BadInput, ToolFailed: what a worker raised, or a task failed too often.
    """
    import ray
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it announces every step
    # Numbers of units are blocks of the driver: no task of Ray reads them, so none waits for a processor.
    blocks = ray.data.from_items([{"unit": unit} for unit in range(units)], override_num_blocks=min(units, MAX_BLOCKS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Ray 2.60 has no other way of limiting retries
        counts = blocks.map_batches(
            score_units,
            batch_size=1,
            fn_kwargs={"job": job, "bundle": ray.put(bundle)},
            num_cpus=1,
            compute=ray.data.TaskPoolStrategy(size=min(workers, units)),
            max_retries=MAX_RETRIES,
        )
    try:
        for row in counts.iter_rows():
            raise_failure(row["failure"])
            yield PartCounts.from_json(row["counts"])
    except ray.exceptions.RayError as error:
        raise _ray_failed(error) from error


def _ray_failed(error: Exception) -> ToolFailed:
    """An error that quotes the line of Ray's which names the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    text = (named or lines or [""])[-1]
    hint = "the same command continues from the rows in the output"
    return ToolFailed(f"Ray could not finish: {type(error).__name__}: {text}", hint)


def _delete_late_parts(output: Storage, run: str, plan: ScanPlan) -> None:
    """Parts that a killed run wrote after this one had looked; this run has rows of the same files."""
    ours = part_name(run, 0)[: -len("00000000.parquet")]
    for name in part_names(output):
        if name not in plan.parts and not name.startswith(ours):
            output.delete(name)


def _summary(plan: ScanPlan, scored: PartCounts, seconds: float) -> ScanSummary:
    total = PartCounts()
    total.add(plan.kept)
    total.add(scored)
    verdicts, errors = dict(total.verdicts), dict(total.errors)
    return ScanSummary(total.verdicts.total(), verdicts, total.skipped, scored.files, seconds, errors)
