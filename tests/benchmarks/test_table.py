from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.figure import draw
from benchmarks.publish import BEGIN, END, IN_README, publish
from benchmarks.table import cells, figure, number
from benchmarks.timing import MIB, row
from deepfake_detector.errors import BadInput

CONTENT = {"date": "2026-01-02", "machine": "2 cores of a test", "load_before": 0.1, "pictures": "drawn sample"}
ROWS = [
    row("score one face", ("engine", "model.predict"), "face", [(900.0, 15.0), (1000.0, 16.0)], 60.0),
    row("cold start", ("ours", "theirs"), "start", [(0.5, 0.1)], 6.0),
    row("memory", ("5,000 files", "500 files"), MIB, [(402.4, 400.0)], 1.1),
]


def test_a_row_in_words() -> None:
    assert cells(ROWS[0]) == [
        *("score one face", "engine: 950 faces/s", "model.predict: 16 faces/s", "61", "60 to 62", "≥ 60 ✓")
    ]
    assert cells(ROWS[1])[1:3] == ["ours: 2.0 s a start", "theirs: 10 s a start"]
    assert cells(ROWS[1])[-1] == "≥ 6.0 ✗"
    assert cells(ROWS[2])[1:] == ["5,000 files: 402 MiB", "500 files: 400 MiB", "1.0", "1.0 to 1.0", "≤ 1.1 ✓"]


@pytest.mark.parametrize(
    ("value", "said"), [(0.0123, "0.012"), (0.5, "0.50"), (9.94, "9.9"), (12.3, "12"), (1234, "1,234")]
)
def test_numbers_keep_what_matters(value: float, said: str) -> None:
    assert number(value) == said


def test_hashes_have_a_plural() -> None:
    assert figure(2_000_000, "hash") == "2,000,000 hashes/s"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/performance.md"):
        (tmp_path / name).write_text(f"above\n{BEGIN}\nof yesterday\n{END}\nbelow\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(("name", "rows"), [("docs/performance.md", 3), ("README.md", 1)])
def test_only_the_marked_block_of_a_page_changes(repository: Path, name: str, rows: int) -> None:
    for _ in range(2):
        publish(repository, CONTENT, ROWS)
        text = (repository / name).read_text(encoding="utf-8")
        assert text.startswith("above\n")
        assert text.endswith(f"{END}\nbelow\n")
        assert "yesterday" not in text
        assert text.count("| score one face |") == 1
        assert len(re.findall(r"^\| (?!what|---)", text, re.MULTILINE)) == rows
        assert "2026-01-02, 2 cores of a test; drawn sample" in text


@pytest.mark.parametrize("text", ["no marks", f"{END} {BEGIN}", BEGIN])
def test_a_page_without_marks_is_left_alone(repository: Path, text: str) -> None:
    page = repository / "docs" / "performance.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match="no block"):
        publish(repository, CONTENT, ROWS)
    assert page.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", ["README.md", "docs/performance.md"])
def test_the_repositorys_pages_have_the_marks(name: str) -> None:
    text = (Path(__file__).parents[2] / name).read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert text.index(BEGIN) < text.index(END)


def test_the_rows_of_the_readme_are_those_of_the_last_report() -> None:
    report = json.loads((Path(__file__).parents[2] / "reports" / "benchmarks.json").read_text(encoding="utf-8"))
    names = [(row["name"], row["other"]) for row in report["rows"]]
    for what, other in IN_README:
        assert any(name == what and against.startswith(other) for name, against in names), what


def test_the_figure_shows_every_row_of_speed(tmp_path: Path) -> None:
    few, many = tmp_path / "few.png", tmp_path / "many.png"
    draw(CONTENT, ROWS[:1], few)
    draw(CONTENT, ROWS * 3, many)
    with Image.open(few) as small, Image.open(many) as large:
        assert large.height - small.height > 100
        assert len(np.unique(np.asarray(large.convert("L")))) > 50
