from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deepfake_detector.errors import BadInput
from deepfake_detector.scanning.discovery import Found
from deepfake_detector.scanning.journal import Journal
from deepfake_detector.scanning.rows import Row

ABOUT = {"model": "a"}
A, B, C = (Found(name, 10, 100) for name in "abc")


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    return tmp_path / "out.csv.journal"


def test_rows_come_back_by_path_and_exactly(path: Path) -> None:
    journal = Journal(path, ABOUT)
    row = Row("b", "image", "fake", 0.1 + 0.2, "swap", 0.83, 1, "why, not", None, 10)
    journal.keep(B, row)
    journal.keep(A, Row("a", error="unreadable_image: broken"))
    journal.keep(C, None)
    assert list(journal.rows()) == [Row("a", error="unreadable_image: broken"), row]
    assert journal.passed_over() == 1
    assert not journal.resumed
    journal.close()


def test_what_is_known_counts_in_the_next_run_and_what_is_gone_does_not(path: Path) -> None:
    first = Journal(path, ABOUT)
    for found in (A, B, C):
        first.keep(found, Row(found.name, "image"))
    first.close()
    second = Journal(path, ABOUT)
    assert second.resumed
    assert second.knows(A)
    assert not second.knows(Found("b", 11, 100))
    assert not second.knows(Found("b", 10, 101))
    assert not second.knows(Found("d", 10, 100))
    second.keep(Found("b", 11, 100), Row("b", "video"))
    assert [(row.path, row.kind) for row in second.rows()] == [("a", "image"), ("b", "video")]
    second.close()


def test_a_file_that_could_not_be_read_is_tried_again(path: Path) -> None:
    first = Journal(path, ABOUT)
    first.keep(A, Row("a", error="bad_input: the file cannot be read: Permission denied"))
    first.keep(B, Row("b", error="unreadable_image: broken"))
    first.close()
    second = Journal(path, ABOUT)
    assert not second.knows(A)
    assert second.knows(B)
    second.close()


def test_under_another_model_everything_is_judged_anew(path: Path) -> None:
    first = Journal(path, ABOUT)
    first.keep(A, Row("a"))
    first.close()
    second = Journal(path, {"model": "b"})
    assert (second.resumed, second.knows(A)) == (False, False)
    second.close()


def test_two_scans_do_not_write_one_file(path: Path) -> None:
    journal = Journal(path, ABOUT)
    journal.commit()
    for about in (ABOUT, {"model": "b"}):
        with pytest.raises(BadInput, match="locked"):
            Journal(path, about)
    journal.keep(A, Row("a"))
    assert [row.path for row in journal.rows()] == ["a"]
    journal.close()


def test_a_file_that_is_no_journal_is_left_alone(path: Path) -> None:
    path.write_text("my own notes, which happen to be called so\n" * 50)
    before = path.read_bytes()
    with pytest.raises(BadInput, match="is no journal of a scan"):
        Journal(path, ABOUT)
    assert path.read_bytes() == before


def test_when_it_has_served_it_is_removed(path: Path) -> None:
    journal = Journal(path, ABOUT)
    journal.remove()
    assert list(path.parent.iterdir()) == []
