from __future__ import annotations

import csv
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepfake_detector.errors import BadInput, DetectorError, ToolFailed
from deepfake_detector.scanning import rows
from deepfake_detector.scanning.rows import ScanRow, choose_writer, printable_name, write_table

ROWS = [
    ScanRow("a,b.jpg", "image", "fake", 0.1 + 0.2, "swap", 0.83, 2, 'it "looks" so;\nreally', None, 123, "f" * 64),
    ScanRow("ü/c.mp4", error="unreadable_video: c.mp4 is empty", bytes=0),
]


@pytest.mark.parametrize("with_sha256", [False, True])
def test_csv_and_parquet_hold_the_same_to_the_last_digit(
    tmp_path: Path, with_sha256: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(rows, "PARQUET_ROWS", 1)  # more than one row group
    for name in ("out.csv", "out.parquet"):
        write_table(tmp_path / name, ROWS, choose_writer(tmp_path / name), with_sha256)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as stream:
        texts = list(csv.DictReader(stream))
    typed = pq.read_table(tmp_path / "out.parquet").to_pylist()
    columns = ScanRow._fields if with_sha256 else ScanRow._fields[:-1]
    assert typed == [dict(zip(columns, row, strict=False)) for row in ROWS]
    assert [{k: v or None for k, v in text.items()} for text in texts] == [
        {name: None if value is None else str(value) for name, value in row.items()} for row in typed
    ]
    assert float(texts[0]["p_fake"]) == 0.1 + 0.2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.parquet"]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_without_rows_the_table_is_empty(tmp_path: Path, name: str) -> None:
    write_table(tmp_path / name, [], choose_writer(tmp_path / name), False)
    assert (tmp_path / name).stat().st_size > 0


def test_an_old_table_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("old")

    def failing_rows() -> Iterator[ScanRow]:
        yield ROWS[0]
        raise OSError(28, "No space left on device")

    with pytest.raises(ToolFailed, match="No space left"):
        write_table(out, failing_rows(), choose_writer(out), False)
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("name", "message"),
    [("out.xlsx", "'.xlsx'"), ("out", "''"), ("missing/out.csv", "no folder"), (".", "is a folder")],
)
def test_another_suffix_or_a_missing_folder_is_rejected(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        choose_writer(tmp_path / name)


def test_csv_needs_no_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    choose_writer(tmp_path / "out.csv")
    with pytest.raises(BadInput, match="pyarrow"):
        choose_writer(tmp_path / "out.parquet")


def test_names_that_are_not_utf8_are_escaped() -> None:
    assert printable_name("a/\udcff.jpg") == "a/\\xff.jpg"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\n", "\uff1d", " =", "  @"])
def test_a_name_that_is_a_formula_is_text_in_csv_and_itself_in_parquet(tmp_path: Path, start: str) -> None:
    import pyarrow.parquet as pq

    name = f"{start}cmd|' /C calc'!A0.jpg"
    row = [ScanRow(name, error=f"{start}SUM(1)", bytes=1)]
    for file in ("out.csv", "out.parquet"):
        write_table(tmp_path / file, row, choose_writer(tmp_path / file), False)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as stream:
        (found,) = csv.DictReader(stream)
    assert (found["path"], found["error"], found["bytes"]) == (f"'{name}", f"'{start}SUM(1)", "1")
    assert pq.read_table(tmp_path / "out.parquet").to_pylist()[0]["path"] == name


def test_a_carriage_return_in_a_name_ends_no_row(tmp_path: Path) -> None:
    write_table(tmp_path / "out.csv", [ScanRow("\r=a\rb.jpg")] * 2, choose_writer(tmp_path / "out.csv"), False)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as stream:
        assert [row["path"] for row in csv.DictReader(stream)] == ["\\r=a\\rb.jpg"] * 2


def test_the_output_replaces_no_picture_pipe_or_device(tmp_path: Path) -> None:
    picture, table, pipe = (tmp_path / name for name in ("picture.csv", "table.csv", "pipe.csv"))
    picture.write_bytes(b"\xff\xd8\xff\xe0 a JPEG image that is called so")
    table.write_text("path,kind\n")
    os.mkfifo(pipe)
    device = tmp_path / "device.csv"
    device.symlink_to("/dev/null")
    for path in (picture, pipe, device, tmp_path):
        with pytest.raises(BadInput):
            choose_writer(path)
    choose_writer(table)


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 2), (errno.EIO, 2), (errno.EDQUOT, 2), (errno.EACCES, 1)])
def test_a_full_or_broken_disk_is_the_tools_failure_and_the_old_output_stays(
    tmp_path: Path, number: int, code: int
) -> None:
    def failing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    out = tmp_path / "out.csv"
    out.write_text("old")
    with pytest.raises(DetectorError) as caught:
        write_table(out, ROWS, failing, False)
    assert caught.value.exit_code == code
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
