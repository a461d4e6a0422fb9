from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from deepfake_detector.errors import BadInput
from deepfake_detector.scanning.discovery import FoundFile
from deepfake_detector.scanning.journal import ScanJournal
from deepfake_detector.scanning.rows import ScanRow

CONDITIONS: dict[str, object] = {"model": "a"}
A, B, C = (FoundFile(name, 10, 100) for name in "abc")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.csv.journal"


def test_rows_come_back_unchanged_and_ordered_by_path(path: Path) -> None:
    journal = ScanJournal(path, CONDITIONS)
    row = ScanRow("b", "image", "fake", 0.1 + 0.2, "swap", 0.83, 1, "why, not", None, 10)
    journal.record(B, row)
    journal.record(A, ScanRow("a", error="unreadable_image: broken"))
    journal.record(C, None)
    assert list(journal.rows()) == [ScanRow("a", error="unreadable_image: broken"), row]
    assert journal.skipped() == 1
    assert not journal.resumed
    journal.close()


def test_rows_of_unchanged_files_are_reused_and_those_of_deleted_files_are_not(path: Path) -> None:
    first = ScanJournal(path, CONDITIONS)
    for found in (A, B, C):
        first.record(found, ScanRow(found.name, "image"))
    first.close()
    second = ScanJournal(path, CONDITIONS)
    assert second.resumed
    assert second.reuse(A)
    assert not second.reuse(FoundFile("b", 11, 100))
    assert not second.reuse(FoundFile("b", 10, 101))
    assert not second.reuse(FoundFile("d", 10, 100))
    second.record(FoundFile("b", 11, 100), ScanRow("b", "video"))
    assert [(row.path, row.kind) for row in second.rows()] == [("a", "image"), ("b", "video")]
    second.close()


def test_a_file_that_could_not_be_read_is_scored_again(path: Path) -> None:
    first = ScanJournal(path, CONDITIONS)
    first.record(A, ScanRow("a", error="bad_input: the file cannot be read: Permission denied"))
    first.record(B, ScanRow("b", error="unreadable_image: broken"))
    first.close()
    second = ScanJournal(path, CONDITIONS)
    assert not second.reuse(A)
    assert second.reuse(B)
    second.close()


def test_under_another_model_no_row_is_reused(path: Path) -> None:
    first = ScanJournal(path, CONDITIONS)
    first.record(A, ScanRow("a"))
    first.close()
    second = ScanJournal(path, {"model": "b"})
    assert (second.resumed, second.reuse(A)) == (False, False)
    second.close()


def test_a_journal_of_version_0_1_is_continued(path: Path) -> None:
    """Its tables, its conditions and the columns of a row, as that version wrote them."""
    row = ["a", "image", "fake", 0.1 + 0.2, "swap", 0.83, 1, "the face scores 0.300", None, 10, None]
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE meta (content TEXT)")
    database.execute(
        "CREATE TABLE files (name BLOB PRIMARY KEY, bytes INTEGER, mtime_ns INTEGER, run INTEGER, transient INTEGER, "
        "row TEXT) WITHOUT ROWID"
    )
    about = '{"folder": "/photos", "model": "a", "schema_version": 3, "sha256": false}'
    database.execute("INSERT INTO meta VALUES (?)", (about,))
    database.execute("INSERT INTO files VALUES (?, 10, 100, 1, 0, ?)", (b"a", json.dumps(row)))
    database.execute("INSERT INTO files VALUES (?, 10, 100, 1, 0, NULL)", (b"c",))
    database.commit()
    database.close()
    journal = ScanJournal(path, {"folder": "/photos", "model": "a", "schema_version": 3, "sha256": False})
    assert journal.resumed
    assert [journal.reuse(found) for found in (A, B, C)] == [True, False, True]
    assert [list(row) for row in journal.rows()] == [row]
    assert journal.skipped() == 1
    journal.close()


def test_two_scans_cannot_use_one_journal(path: Path) -> None:
    journal = ScanJournal(path, CONDITIONS)
    journal.commit()
    for conditions in (CONDITIONS, {"model": "b"}):
        with pytest.raises(BadInput, match="locked"):
            ScanJournal(path, conditions)
    journal.record(A, ScanRow("a"))
    assert [row.path for row in journal.rows()] == ["a"]
    journal.close()


def test_a_file_that_is_no_journal_is_not_changed(path: Path) -> None:
    path.write_text("notes in a file that happens to have this name\n" * 50)
    before = path.read_bytes()
    with pytest.raises(BadInput, match="is no journal of a scan"):
        ScanJournal(path, CONDITIONS)
    assert path.read_bytes() == before


def test_delete_leaves_no_file(path: Path) -> None:
    journal = ScanJournal(path, CONDITIONS)
    journal.delete()
    assert list(path.parent.iterdir()) == []


def test_an_object_is_recognised_by_its_etag_even_if_that_looks_like_a_number(path: Path) -> None:
    first = ScanJournal(path, CONDITIONS)
    found = FoundFile("a", 10, 100, etag="1" * 32)
    first.record(found, ScanRow("a", "image"))
    first.close()
    second = ScanJournal(path, CONDITIONS)
    assert not second.reuse(FoundFile("a", 10, 100, etag="1" * 31 + "2"))
    assert not second.reuse(FoundFile("a", 10, 100))
    assert second.reuse(FoundFile("a", 10, 200, etag="1" * 32))
    second.close()
