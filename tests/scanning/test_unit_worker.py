"""A work unit without Ray: what its process does, and what the driver makes of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from deepfake_detector.cli.scan import EngineName, scan
from deepfake_detector.errors import BadInput, BundleCorrupt, MissingExtra, ToolFailed
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.scanning import cluster, plan, unit_worker
from deepfake_detector.scanning.cluster import scan_on_ray
from deepfake_detector.scanning.dataset import PartCounts, claim_output, part_name, part_names, read_part
from deepfake_detector.scanning.discovery import FoundFile
from deepfake_detector.scanning.plan import plan_scan
from deepfake_detector.scanning.rows import ScanRow
from deepfake_detector.scanning.score_files import FileScorer
from deepfake_detector.scanning.storage import LocalFolder
from deepfake_detector.scanning.unit_worker import ScanJob, raise_failure, score_unit, score_units

FILES = [FoundFile(f"{number}.jpg", number, 7) for number in range(6)]
LOCKED = FoundFile("locked", problem="the folder cannot be read: Permission denied")


class CountingPool:
    """Scores everything as real, and counts."""

    def __init__(self) -> None:
        self.scored: list[str] = []

    def score(self, files: Iterable[FoundFile]) -> Iterator[tuple[FoundFile, ScanRow | None]]:
        for found in files:
            self.scored.append(found.name)
            yield found, ScanRow(found.name, "image", "real")


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScanJob:
    monkeypatch.setattr(plan, "FILES_PER_UNIT", 4)
    output = LocalFolder(tmp_path / "out")
    claim_output(output, "run", {})
    plan_scan([*FILES, LOCKED], output, "run")
    return ScanJob(LocalFolder(tmp_path), output, "run", "0" * 64, False, "1", FileScorer)


@pytest.fixture
def pool(job: ScanJob, monkeypatch: pytest.MonkeyPatch) -> CountingPool:
    made = CountingPool()
    monkeypatch.setattr(unit_worker, "_POOLS", {job: made})
    return made


def counts(job: ScanJob, unit: int) -> PartCounts:
    return score_unit(unit, job, None)


def test_a_unit_is_scored_once_however_often_it_is_asked_for(job: ScanJob, pool: CountingPool) -> None:
    assert counts(job, 0).verdicts == {"real": 4}
    assert counts(job, 0).verdicts == {"real": 4}
    assert pool.scored == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert counts(job, 1) == PartCounts.from_json('[{"real": 2, "error": 1}, {"bad_input": 1}, 0]')
    rows = read_part(job.output, part_name("run", 1)).table.to_pylist()
    assert [row["path"] for row in rows] == ["4.jpg", "5.jpg", "locked"]
    assert rows[2]["error"] == f"bad_input: {LOCKED.problem}"


def test_a_run_that_lost_its_claim_writes_nothing(job: ScanJob, pool: CountingPool) -> None:
    claim_output(LocalFolder(Path(job.output.address)), "newer", {})
    with pytest.raises(ToolFailed, match="another scan writes"):
        score_unit(0, job, None)
    assert (pool.scored, part_names(job.output)) == ([], [])


def test_what_this_machine_lacks_is_named(job: ScanJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ToolFailed, match=r"the driver has 1\b"):
        score_unit(0, job, None)
    monkeypatch.setattr(unit_worker, "version", lambda _: "1")
    elsewhere = ScanJob(LocalFolder(tmp_path / "gone"), job.output, "run", "0" * 64, False, "1", FileScorer)
    with pytest.raises(BadInput, match=r"there is no folder .*gone on this machine"):
        score_unit(0, elsewhere, None)


def test_parts_of_a_killed_run_that_came_late_are_deleted(job: ScanJob, pool: CountingPool) -> None:
    known = plan.ScanPlan(1, 4, PartCounts(), frozenset({part_name("old", 0)}))
    score_unit(0, job, None)
    for name in (part_name("old", 0), part_name("old", 1)):
        job.output.write(name, b"")
    cluster._delete_late_parts(job.output, "run", known)
    assert part_names(job.output) == [part_name("old", 0), part_name("run", 0)]


def test_the_error_of_a_worker_is_raised_by_the_driver(job: ScanJob, tmp_path: Path, pool: CountingPool) -> None:
    answer = score_units({"unit": [0, 1]}, job, None)
    assert answer["failure"] == ["", ""]
    raise_failure("")
    assert [PartCounts.from_json(each).files for each in answer["counts"]] == [4, 3]
    lost = ScanJob(job.source, LocalFolder(tmp_path / "gone"), "run", "0" * 64, False, "1", FileScorer)
    (failure,) = score_units({"unit": [0]}, lost, None)["failure"]
    with pytest.raises(ToolFailed, match=r"gone is not there on this machine") as caught:
        raise_failure(failure)
    assert "a shared folder, or s3://" in caught.value.hint
    with pytest.raises(BadInput, match=r"^text"):
        raise_failure('[true, "text", "hint"]')


def test_of_an_error_of_ray_the_line_with_the_cause_is_quoted() -> None:
    failed = cluster._ray_failed(ValueError("Traceback\n  x.Error\nfoo.WorkerCrashedError: it died\nTo change retries"))
    assert failed.message == "Ray could not finish: ValueError: foo.WorkerCrashedError: it died"


def test_a_model_that_changed_on_its_way_is_refused_and_not_kept(
    tmp_path: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    files = {path.name: path.read_bytes() for path in tiny_bundle.path.iterdir()}
    monkeypatch.setattr(ray, "get", lambda reference: files)
    with pytest.raises(BundleCorrupt, match="holds the model"):
        unit_worker._bundle_folder("0" * 64, None)
    assert [
        path.name for path in tmp_path.rglob("*") if path.name not in ("lock", f"deepfake-detector-{os.getuid()}")
    ] == []
    folder = unit_worker._bundle_folder(tiny_bundle.sha256, None)
    assert {path.name for path in folder.iterdir()} == set(files)


@pytest.mark.parametrize("kind", ["link", "open to others"])
def test_a_folder_that_somebody_else_may_write_holds_no_model(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever makes it first could swap the model, or have the lock empty a file of ours."""
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "get", lambda reference: {})
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ours, parent = tmp_path / "ours", tmp_path / f"deepfake-detector-{os.getuid()}"
    ours.mkdir()
    (ours / "lock").write_text("precious")
    if kind == "link":
        parent.symlink_to(ours)
    else:
        parent.mkdir()
        parent.chmod(0o777)
        (parent / "lock").symlink_to(ours / "lock")
    with pytest.raises(ToolFailed, match="other users may write"):
        unit_worker._bundle_folder("0" * 64, None)
    assert (ours / "lock").read_text() == "precious"


def test_without_ray_the_extra_is_named(tmp_path: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra) as caught:
        scan_on_ray(tmp_path / "in", tmp_path / "out", tiny_bundle)
    assert "[cluster]" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_wrong_locations_are_refused_before_ray_is_asked(tmp_path: Path, tiny_bundle: Bundle) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(BadInput, match="there is no folder"):
        scan_on_ray(tmp_path / "missing", tmp_path / "out", tiny_bundle)
    with pytest.raises(BadInput, match="lies in the scanned folder"):
        scan_on_ray(tmp_path / "in", tmp_path / "in" / "out", tiny_bundle)
    with pytest.raises(BadInput, match="names a file"):
        scan_on_ray(tmp_path / "in", tmp_path / "out.csv", tiny_bundle)


def test_an_address_without_its_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--address head:6379 is of a Ray cluster"):
        scan(str(tmp_path), "out.csv", engine=EngineName.LOCAL, address="head:6379")
