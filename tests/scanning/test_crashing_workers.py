from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepfake_detector.errors import BundleCorrupt
from deepfake_detector.scanning.discovery import Found
from deepfake_detector.scanning.score_files import AHEAD, CHUNK, Judge, judge_all

# Workers import what they are handed by its module's name, which this tree of tests does not have: hence Judge itself,
# with a model that cannot be used, and code in a module of its own.
HELPER = """
import os, signal
from dataclasses import dataclass
from deepfake_detector.scanning.rows import Row

@dataclass(frozen=True)
class Echo:
    def __call__(self, names):
        if "killer" in names:
            os.kill(os.getpid(), signal.SIGKILL)
        return [Row(name, reason=str(os.getpid())) for name in names]
"""


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """A unit of work that answers with its process' number, and dies of files called `killer`."""
    import importlib

    (tmp_path / "scan_echo.py").write_text(HELPER)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    return importlib.import_module("scan_echo").Echo()


def test_every_file_is_judged_once_and_few_are_on_the_way(echo: object) -> None:
    taken = answered = most = 0

    def files() -> Iterator[Found]:
        nonlocal taken, most
        for number in range(300):
            taken += 1
            most = max(most, taken - answered)
            yield Found(f"{number}.jpg")

    names = []
    for found, row in judge_all(echo, files(), workers=1):
        assert row is not None
        assert row.path == found.name
        assert row.reason != str(os.getpid())
        answered += 1
        names.append(found.name)
    assert sorted(names) == sorted(f"{number}.jpg" for number in range(300))
    assert most <= CHUNK * (AHEAD + 1)


def test_a_file_that_kills_its_worker_is_a_row_and_its_neighbours_are_answered(echo: object) -> None:
    files = [Found(f"{number}") for number in range(20)]
    files[5] = Found("killer", 99)
    rows = {found.name: row for found, row in judge_all(echo, files, workers=1)}
    assert len(rows) == 20
    assert (rows["killer"].error or "").startswith("tool_failed: the process that judged it died")
    assert rows["killer"].bytes == 99
    assert all(row.error is None for name, row in rows.items() if name != "killer")


def test_a_model_that_cannot_be_used_ends_the_scan(tiny_bundle: object, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(tiny_bundle.path, tmp_path / "broken")  # type: ignore[attr-defined]
    (tmp_path / "broken" / "card.md").write_text("changed")
    with pytest.raises(BundleCorrupt, match="is not what was sealed"):
        list(judge_all(Judge(tmp_path, tmp_path / "broken"), [Found("a.jpg")], workers=1))
