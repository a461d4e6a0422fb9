"""Scans on a Ray cluster of two nodes, which starts once; the driver, a worker and a node are killed.

REQUIRE_RAY=1 makes it a failure when Ray does not start. DEEPFAKE_RAY_FILES: how many files the interrupted scans have.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from deepfake_detector.errors import ToolFailed
from deepfake_detector.media.image import encode_jpeg, encode_png
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.scanning import plan
from deepfake_detector.scanning.cluster import scan_on_ray
from deepfake_detector.scanning.dataset import part_names
from deepfake_detector.scanning.scan import ScanSummary, scan_folder
from deepfake_detector.scanning.storage import LocalFolder, Storage, open_storage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),  # Ray warns of its own defaults
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # pipes of processes that were killed
]
START_S = 120
FILES = int(os.environ.get("DEEPFAKE_RAY_FILES", "120"))
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
HEAD = {"include_dashboard": False}
POISON_SCORER = """
import os, signal
from deepfake_detector.scanning.score_files import FileScorer

class PoisonScorer(FileScorer):
    def _row(self, detector, name):
        if name == "poison.jpg":
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._row(detector, name)
"""
DRIVER = """
import sys
from deepfake_detector.scanning import plan
from deepfake_detector.cli.app import main
plan.FILES_PER_UNIT = 4
main()
"""


@pytest.fixture(scope="module")
def ray_settings(tmp_path_factory: pytest.TempPathFactory, s3: Any) -> Iterator[ModuleType]:
    """Environment of all processes of the cluster; gives the module that they can import, too."""
    import importlib

    folder = tmp_path_factory.mktemp("importable")
    (folder / "poison_scorer.py").write_text(POISON_SCORER)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("RAY_AUTH_MODE", "disabled")  # else Ray writes a token to the user's home
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # 127.0.0.1, on every system
        patch.setenv("RAY_health_check_period_ms", "1000")  # a dead node is noticed in seconds
        patch.setenv("RAY_health_check_failure_threshold", "3")
        yield importlib.import_module("poison_scorer")


@pytest.fixture(scope="module")
def cluster(ray_settings: ModuleType) -> Iterator[Any]:
    """Two nodes of one processor each, to which this process is connected."""
    import ray
    from ray.cluster_utils import Cluster

    _require_ray(ray)
    started = Cluster()
    for _ in range(2):
        _started_in_time(lambda: started.add_node(**NODE, **({} if started.head_node else HEAD)))
    ray.init(address=started.address, log_to_driver=False, logging_level="error")
    try:
        yield started
    finally:
        ray.shutdown()
        started.shutdown()


def _require_ray(ray: Any) -> None:
    """Skip if not even `ray.init` works here within two minutes."""
    try:
        _started_in_time(lambda: ray.init(address="local", **HEAD, **NODE), ray.shutdown)
    except Exception as error:
        if os.environ.get("REQUIRE_RAY") == "1":
            raise
        pytest.skip(f"ray.init fails: {error}")
    ray.shutdown()


def _started_in_time(start: Callable[[], object], clean: Callable[[], object] = lambda: None) -> None:
    """Start again until it works, within two minutes: Ray gives up after 30 s, which a busy machine exceeds."""
    deadline = time.monotonic() + START_S
    while True:
        before = set(psutil.Process().children(recursive=True))
        try:
            start()
        except Exception:  # Ray raises `Exception` itself
            clean()
            for process in set(psutil.Process().children(recursive=True)) - before:  # Ray leaves them
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            if time.monotonic() > deadline:
                raise
        else:
            return


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "FILES_PER_UNIT", 4)


@pytest.fixture(scope="module")
def pictures(red_portrait: NDArray[Any], blue_portrait: NDArray[Any]) -> list[bytes]:
    return [encode_jpeg(red_portrait), encode_jpeg(blue_portrait)]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, pictures: list[bytes], clip: Path) -> Path:
    """Files of every kind that a scan may meet."""
    root = tmp_path_factory.mktemp("mixed")
    (root / "deep").mkdir()
    for number in range(8):
        (root / f"{number}.jpg").write_bytes(pictures[number % 2])
    (root / "deep" / "no suffix, ü").write_bytes(pictures[0])
    (root / "deep" / "clip.mov").write_bytes(clip.read_bytes())
    (root / "deep" / "text.jpg").write_text("no picture")
    (root / "truncated.jpg").write_bytes(pictures[0][:2000])
    (root / "grey.png").write_bytes(encode_png(np.full((99, 99, 3), 99, np.uint8)))
    (root / "empty.mp4").touch()
    (root / "notes.txt").write_text("neither image nor video")
    return root


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, pictures: list[bytes]) -> Path:
    root = tmp_path_factory.mktemp("many")
    for number in range(FILES):
        (root / f"{number:05}.jpg").write_bytes(pictures[number % 2])
    (root / "notes.txt").write_text("neither image nor video")
    return root


def rows_of(location: Path | str) -> list[dict[str, Any]]:
    """Rows of a table or of a folder of parts, by path, without the ids of files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    storage: Storage = open_storage(str(location))
    if str(location).endswith(".parquet"):
        storage, names = open_storage(str(location).rpartition("/")[0]), [str(location).rpartition("/")[2]]
    else:
        names = part_names(storage)
    tables = [pq.read_table(pa.BufferReader(storage.read(name))) for name in names]
    rows = [row for table in tables for row in table.to_pylist()]
    for row in rows:
        row.pop("file_id", None)
    return sorted(rows, key=lambda row: str(row["path"]))


def test_one_file_list_three_ways_gives_identical_tables(
    cluster: Any, mixed: Path, tmp_path: Path, tiny_bundle: Bundle, s3: Any, bucket: str
) -> None:
    for path in mixed.rglob("*"):
        if path.is_file():
            s3.put_object(Bucket=bucket, Key=f"in/{path.relative_to(mixed)}", Body=path.read_bytes())
    source = f"s3://{bucket}/in"
    summaries = [
        scan_folder(mixed, tmp_path / "one.parquet", tiny_bundle, with_sha256=True, workers=1),
        scan_on_ray(mixed, tmp_path / "nodes", tiny_bundle, with_sha256=True, workers=2),
        scan_folder(source, f"s3://{bucket}/one.parquet", tiny_bundle, with_sha256=True, workers=1),
        scan_on_ray(source, f"s3://{bucket}/nodes", tiny_bundle, with_sha256=True, workers=2),
    ]
    expected = rows_of(tmp_path / "one.parquet")
    assert len(expected) == 14
    assert rows_of(tmp_path / "nodes") == expected
    assert rows_of(f"s3://{bucket}/one.parquet") == expected
    assert rows_of(f"s3://{bucket}/nodes") == expected
    for summary in summaries:
        assert (summary.counts, summary.skipped) == (summaries[0].counts, 1)
        assert summary.errors == summaries[0].errors == {"unreadable_image": 1, "unreadable_video": 2}
    assert not list(open_storage(f"s3://{bucket}/nodes").names("_names"))
    again = scan_on_ray(source, f"s3://{bucket}/nodes", tiny_bundle, with_sha256=True)
    assert (again.scored_now, again.counts, again.skipped) == (0, summaries[0].counts, 1)


def test_a_file_that_kills_its_process_is_a_row(
    cluster: Any, ray_settings: ModuleType, tmp_path: Path, tiny_bundle: Bundle, pictures: list[bytes]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg", "poison.jpg", "q.jpg"):
        (folder / name).write_bytes(pictures[0])
    summary = scan_on_ray(folder, tmp_path / "out", tiny_bundle, scorer=ray_settings.PoisonScorer)
    rows = {row["path"]: row for row in rows_of(tmp_path / "out")}
    assert rows.pop("poison.jpg")["error"].startswith("tool_failed: the worker process died")
    assert {row["verdict"] for row in rows.values()} == {"fake"}
    assert (summary.counts, summary.errors) == ({"fake": 3, "error": 1}, {"tool_failed": 1})
    repaired = scan_on_ray(folder, tmp_path / "out", tiny_bundle)  # an error that may be gone is tried again
    assert (repaired.scored_now, repaired.counts) == (1, {"fake": 4})
    assert len(rows_of(tmp_path / "out")) == 4


def test_what_a_worker_cannot_use_ends_the_scan_with_its_own_error(
    cluster: Any, mixed: Path, tmp_path: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_detector.scanning.cluster.version", lambda _: "0.0.1")
    with pytest.raises(ToolFailed, match=r"the driver has 0\.0\.1") as caught:
        scan_on_ray(mixed, tmp_path / "out", tiny_bundle)
    assert "same version on all machines" in caught.value.hint


def when_parts(output: Path, count: int, action: Callable[[], None]) -> threading.Thread:
    """Act in a thread as soon as the output has so many parts."""

    def wait() -> None:
        deadline = time.monotonic() + 300
        while len(part_names(LocalFolder(output))) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def assert_complete(output: Path, many: Path, tmp_path: Path, bundle: Bundle, summary: ScanSummary) -> None:
    """As the scan of one machine, each file once."""
    scan_folder(many, tmp_path / "one.parquet", bundle, workers=2)
    assert rows_of(output) == rows_of(tmp_path / "one.parquet")
    assert (summary.rows, summary.skipped) == (FILES, 1)
    assert summary.counts.get("error", 0) == 0


def times_ns(output: Path) -> dict[str, int]:
    return {name: (output / name).stat().st_mtime_ns for name in part_names(LocalFolder(output))}


def test_after_the_death_of_a_worker_and_of_a_node_nothing_is_lost_or_repeated(
    cluster: Any, many: Path, tmp_path: Path, tiny_bundle: Bundle
) -> None:
    output, before, killed = tmp_path / "out", dict[str, int](), list[int]()
    second = cluster.list_all_nodes()[-1]

    def kill_worker() -> None:
        workers = [each for each in psutil.Process().children(recursive=True) if is_scoring(each)]
        before.update(times_ns(output))
        killed.append(workers[0].pid)
        workers[0].kill()

    def kill_node() -> None:
        before.update(times_ns(output))
        cluster.remove_node(second, allow_graceful=False)

    threads = [when_parts(output, FILES // 30, kill_worker), when_parts(output, FILES // 10, kill_node)]
    try:
        summary = scan_on_ray(many, output, tiny_bundle, workers=2)
    finally:
        for thread in threads:
            thread.join()
        _started_in_time(lambda: cluster.add_node(**NODE))
    assert killed
    assert before.items() <= times_ns(output).items()
    assert_complete(output, many, tmp_path, tiny_bundle, summary)


def is_scoring(process: psutil.Process) -> bool:
    """Whether it is a process of Ray with a child that scores files."""
    try:
        return process.name().startswith("ray::") and bool(process.children())
    except psutil.NoSuchProcess:
        return False


def test_after_the_death_of_the_driver_the_same_command_does_the_rest(
    cluster: Any, many: Path, tmp_path: Path, tiny_bundle: Bundle
) -> None:
    output = tmp_path / "out"
    command = ["scan", str(many), "--out", str(output), "--model", str(tiny_bundle.path), "--engine", "ray"]
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, *command, "--address", cluster.address, "--workers", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while len(part_names(LocalFolder(output))) < 3:
        assert driver.poll() is None, driver.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate()
    before = times_ns(output)
    done = len(rows_of(output))
    assert 0 < done < FILES
    summary = scan_on_ray(many, output, tiny_bundle, workers=2)
    assert before.items() <= times_ns(output).items()
    assert 0 < summary.scored_now <= FILES + 1 - done
    assert_complete(output, many, tmp_path, tiny_bundle, summary)
