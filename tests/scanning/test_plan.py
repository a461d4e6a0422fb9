from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from deepfake_detector.errors import BadInput, ToolFailed
from deepfake_detector.scanning import plan
from deepfake_detector.scanning.dataset import (
    PartCounts,
    claim_output,
    complete_output,
    part_name,
    part_names,
    read_part,
    require_claim,
    rows_part,
    write_part,
)
from deepfake_detector.scanning.discovery import FoundFile
from deepfake_detector.scanning.plan import delete_units, plan_scan, read_unit
from deepfake_detector.scanning.rows import ScanRow
from deepfake_detector.scanning.storage import LocalFolder

FILES = [FoundFile(f"{number:03}.jpg", number, 7) for number in range(50)]


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalFolder:
    monkeypatch.setattr(plan, "FILES_PER_UNIT", 4)
    monkeypatch.setattr(plan, "UNITS_PER_FILE", 3)
    return LocalFolder(tmp_path / "out")


def planned(output: LocalFolder, files: Iterable[FoundFile], run: str) -> list[FoundFile]:
    """The files of all units of a run, in order."""
    found = plan_scan(files, output, run)
    units = [read_unit(output, run, unit) for unit in range(found.units)]
    assert sum(map(len, units)) == found.files
    return [each for unit in units for each in unit]


def score(output: LocalFolder, files: Iterable[FoundFile], run: str, unit: int, error: str = "") -> None:
    """Write a part; names that end in .txt are no media files."""
    rows = [
        (found, None if found.name.endswith(".txt") else ScanRow(found.name, "image", None if error else "real"))
        for found in files
    ]
    errors = [(found, row and row._replace(error=error or None)) for found, row in rows]
    write_part(output, part_name(run, unit), rows_part(errors, False))


def test_units_hold_every_file_once(output: LocalFolder) -> None:
    odd = FoundFile("caf\udce9/x\n.jpg", 5, 6, problem="the folder cannot be read", etag="e")
    assert planned(output, [*FILES, odd], "run") == [*FILES, odd]
    assert len(output.names("_names")) == 5
    assert list(map(len, (read_unit(output, "run", unit) for unit in range(13)))) == [4] * 12 + [3]
    delete_units(output)
    assert list(output.path.iterdir()) == []


def test_files_with_rows_are_left_out_and_other_rows_go(output: LocalFolder) -> None:
    text = FoundFile("notes.txt", 9, 9)
    score(output, [*FILES[:10], text], "old", 0)
    score(output, FILES[10:20], "old", 1)
    score(output, FILES[20:24], "old", 2, "bad_input: the file cannot be read: timed out")
    score(output, FILES[24:26], "old", 3, "unreadable_image: truncated")
    changed = FoundFile("011.jpg", 11, 8)
    now = [each for each in FILES if each.name not in ("005.jpg", "011.jpg")] + [changed, text]
    first = plan_scan(now, output, "new")
    files = [each for unit in range(first.units) for each in read_unit(output, "new", unit)]
    assert sorted(each.name for each in files) == [
        "011.jpg",
        *(f"{n:03}.jpg" for n in (*range(20, 24), *range(26, 50))),
    ]
    assert first.kept.verdicts == {"real": 18, "error": 2}
    assert (first.kept.skipped, first.kept.errors) == (1, {"unreadable_image": 2})
    assert part_names(output) == [part_name("old", 0), part_name("old", 1), part_name("old", 3)]
    rows = read_part(output, part_name("old", 0)).table["path"].to_pylist()
    assert rows == [f"{number:03}.jpg" for number in range(10) if number != 5]


def test_of_two_rows_of_a_file_one_stays(output: LocalFolder) -> None:
    """A worker of a killed run may write after the next run has begun, and that may be killed, too."""
    score(output, FILES[:4], "a", 0)
    score(output, FILES[2:6], "b", 0)
    found = plan_scan(FILES[:6], output, "c")
    assert (found.files, found.kept.verdicts) == (0, {"real": 6})
    paths = [path for name in part_names(output) for path in read_part(output, name).table["path"].to_pylist()]
    assert sorted(paths) == [each.name for each in FILES[:6]]


def test_counts_survive_json() -> None:
    counts = PartCounts()
    counts.add(PartCounts.from_json('[{"fake": 2, "error": 1}, {"bad_input": 1}, 3]'))
    assert PartCounts.from_json(counts.as_json()) == counts
    assert counts.files == 6
    counts.subtract(PartCounts.from_json('[{"fake": 1}, {}, 3]'))
    assert (counts.files, counts.skipped) == (2, 0)


def test_a_part_without_rows_names_what_was_skipped(output: LocalFolder) -> None:
    texts = [FoundFile(f"{number}.txt", 1, 1) for number in range(3)]
    score(output, texts, "a", 0)
    assert planned(output, [*texts, FILES[0]], "b") == [FILES[0]]


def test_a_damaged_part_is_named(output: LocalFolder) -> None:
    output.write(part_name("a", 0), b"PAR1 no more")
    with pytest.raises(ToolFailed, match=r"part-a-00000000\.parquet is no part of a scan"):
        plan_scan(FILES, output, "b")


def test_an_output_belongs_to_the_last_run_that_claims_it(output: LocalFolder) -> None:
    conditions: dict[str, object] = {"folder": "/a", "model": "m"}
    claim_output(output, "a", conditions)
    require_claim(output, "a")
    claim_output(output, "b", conditions)
    with pytest.raises(ToolFailed, match="another scan writes"):
        require_claim(output, "a")
    with pytest.raises(ToolFailed, match="another scan writes"):
        complete_output(output, "a", conditions)
    assert json.loads(output.read("_scan.json"))["complete"] is False
    complete_output(output, "b", conditions)
    assert json.loads(output.read("_scan.json")) == {"run": "b", "conditions": conditions, "complete": True}
    with pytest.raises(BadInput, match="holds rows of another scan: model was m, now n"):
        claim_output(output, "c", {"folder": "/a", "model": "n"})
    with pytest.raises(ToolFailed, match="is not there on this machine"):
        require_claim(LocalFolder(output.path / "other"), "b")


def test_an_output_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(BadInput, match=r"holds thesis\.doc, which is no output of a scan"):
        claim_output(LocalFolder(tmp_path), "a", {})
    with pytest.raises(BadInput, match=r"thesis\.doc is a file"):
        claim_output(LocalFolder(tmp_path / "thesis.doc"), "a", {})


@pytest.mark.slow
def test_memory_of_the_driver_does_not_grow_with_the_listing(tmp_path: Path) -> None:
    """Peak memory of a process that plans, in MB, for 30,000 and for 300,000 names."""
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from deepfake_detector.scanning.discovery import FoundFile\n"
        "from deepfake_detector.scanning.plan import plan_scan\n"
        "from deepfake_detector.scanning.storage import LocalFolder\n"
        "files = (FoundFile(f'2026/11/{i:09}.jpg', i, i, etag=f'{i:032x}') for i in range(int(sys.argv[1])))\n"
        "units = plan_scan(files, LocalFolder(Path(sys.argv[2])), 'run').units\n"
        "print(units, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    peak_mb = {}
    for count in (30_000, 300_000):
        command = [sys.executable, "-c", code, str(count), str(tmp_path / str(count))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        units, megabytes = done.stdout.split()
        assert int(units) == -(-count // plan.FILES_PER_UNIT)
        peak_mb[count] = float(megabytes)
    assert peak_mb[300_000] < peak_mb[30_000] + 20, peak_mb
