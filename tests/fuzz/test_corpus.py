"""Every file of the corpus gets an answer or a 4xx from a worker that stays the same process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deepfake_detector.datasets.safe_zip import SafeZip
from deepfake_detector.errors import ArchiveRejected, BadInput
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.serving.messages import Job, MediaKind
from deepfake_detector.serving.upload import MultipartForm, UploadSpec
from deepfake_detector.serving.worker_pool import WorkerPool

CORPUS = Path(__file__).with_name("corpus")


def files(kind: str) -> list[Path]:
    return sorted((CORPUS / kind).iterdir())


@pytest.fixture(scope="module")
def pool(tiny_bundle: Bundle) -> Iterator[WorkerPool]:
    pool = WorkerPool(tiny_bundle.path, 1)
    pool.start()
    yield pool
    pool.stop()


def test_the_corpus_is_complete() -> None:
    counts = {kind: len(files(kind)) for kind in ("image", "video", "zip", "form")}
    assert sum(counts.values()) > 250
    assert min(counts.values()) > 30
    assert max(path.stat().st_size for kind in counts for path in files(kind)) <= 4096


@pytest.mark.parametrize("kind", ["image", "video"])
def test_files_get_an_answer_or_4xx_and_end_no_worker(pool: WorkerPool, kind: MediaKind) -> None:
    submitted = {path.name: pool.submit(Job(kind=kind), path.open("rb")) for path in files(kind)}
    reports = {name: future.result(200).report for name, future in submitted.items()}
    pids = pool.pids
    wrong = {name: report for name, report in reports.items() if report.status != 200 and report.status // 100 != 4}
    assert wrong == {}
    assert any(report.status == 200 for report in reports.values())
    assert pool.pids == pids
    assert pool.ready == 1


def test_archives_are_read_or_rejected() -> None:
    outcomes = set[bool]()
    for path in files("zip"):
        try:
            opened = SafeZip(path, 100_000)
            outcomes.update(len(opened.read(name)) > 0 for name in opened.names)
        except ArchiveRejected:
            outcomes.add(False)
    assert False in outcomes


def test_forms_are_read_or_refused() -> None:
    complete = 0
    for path in files("form"):
        form = MultipartForm("multipart/form-data; boundary=b", UploadSpec("image", 5000))
        try:
            form.feed(path.read_bytes())
            form.finish()
            complete += 1
        except BadInput:
            pass
        form.close()
    assert complete >= 2
