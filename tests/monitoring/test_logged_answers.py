"""Logs of several replicas and formats become one table; broken lines are counted and named."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_detector.errors import BadInput
from deepfake_detector.monitoring.logged_answers import COLUMNS, MAX_LINE_BYTES, read_answers


def line(number: int = 0, **changed: Any) -> dict[str, Any]:
    """What the service writes about one picture."""
    return {
        "time": f"2026-11-29T10:00:00.{number:03d}+00:00", "request_id": f"r{number}", "model_sha256": "a" * 64,
        "kind": "image", "status": 200, "verdict": "fake", "p_fake": 0.9, "faces": 2, "faces_p_fake": [0.9, 0.1],
        "largest_face_px": 120.5, "file_bytes": 1000 + number, "processing_s": 0.01, "steps_s": {"queue": 0.1},
        "quality": {"brightness": 100.0, "contrast": 40.0, "sharpness": 7.5},
    } | changed  # fmt: skip


def write_lines(path: Path, rows: list[Any]) -> Path:
    texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def test_a_line_of_the_service_becomes_a_row(tmp_path: Path) -> None:
    faceless = line(1, p_fake=None, faces=0, largest_face_px=0.0, quality=None, verdict="inconclusive")
    table = read_answers([write_lines(tmp_path / "a.jsonl", [line(), faceless])]).table
    assert tuple(table.columns) == COLUMNS
    assert table.iloc[0].tolist() == ["2026-11-29", "a" * 64, "image", "fake", 0.9, 2, 120.5, 100.0, 40.0, 7.5]
    assert table.iloc[1][["p_fake", "largest_face_px", "brightness"]].isna().all()


def test_days_are_those_of_utc(tmp_path: Path) -> None:
    rows = [line(1, time="2026-11-30T00:30:00+02:00"), line(2, time="2026-11-29T23:30:00-02:00")]
    assert read_answers([write_lines(tmp_path / "a.jsonl", rows)]).table["day"].tolist() == ["2026-11-29", "2026-11-30"]


def test_replicas_rotated_files_and_folders_are_one_log(tmp_path: Path) -> None:
    for replica in ("one", "two"):
        (tmp_path / replica).mkdir()
        for part in range(3):
            rows = [line(10 * part + i, request_id=f"{replica}{part}{i}") for i in range(4)]
            write_lines(tmp_path / replica / f"p.jsonl{'' if part == 0 else f'.{part}'}", rows)
    (tmp_path / "one" / "drift.html").write_text("the page of last week")
    found = read_answers([tmp_path / "one", tmp_path / "two" / "p.jsonl", tmp_path / "two" / "p.jsonl.1"])
    assert (len(found.files), found.lines, len(found.table)) == (5, 20, 20)


def test_parquet_and_json_lines_of_the_same_answers_count_once(tmp_path: Path) -> None:
    rows = [line(i, **({"p_fake": None, "quality": None, "faces": 0} if i % 3 == 0 else {})) for i in range(9)]
    lines = write_lines(tmp_path / "a.jsonl", rows)
    pd.read_json(lines, lines=True).to_parquet(tmp_path / "a.parquet")
    pd.json_normalize(rows).assign(time=lambda t: pd.to_datetime(t["time"])).to_parquet(tmp_path / "flat.parquet")
    each = [read_answers([tmp_path / name]).table for name in ("a.jsonl", "a.parquet", "flat.parquet")]
    for table in each[1:]:
        pd.testing.assert_frame_equal(table, each[0])
    together = read_answers([tmp_path])
    assert (together.lines, together.copies, len(together.table)) == (27, 18, 9)


@pytest.mark.parametrize(
    "broken",
    [
        "not json", "[]", "{", '{"time": 1}', "\x00" * 50, "9" * 5000, "x" * (3 * MAX_LINE_BYTES),
        line(p_fake=1.5), line(p_fake=float("nan")), line(faces=-1), line(kind="sound"), line(model_sha256="../../etc"),
        line(time="2026-11-29T10:00:00"), line(time="yesterday"), line(time="9999-12-31T23:59:59-01:00"),
        line(time="0001-01-01T00:00:00+10:00"), line(largest_face_px=float("inf")),
        line(quality={"brightness": 300.0, "contrast": 1.0, "sharpness": 1.0}), line(verdict="maybe"),
    ],
)  # fmt: skip
def test_broken_lines_are_counted_and_named(tmp_path: Path, broken: Any) -> None:
    rows = [line(i) for i in range(300)]
    log = write_lines(tmp_path / "a.jsonl", [*rows[:150], broken, *rows[150:]])
    found = read_answers([log])
    assert (found.lines, found.broken, len(found.table)) == (301, 1, 300)
    assert found.broken_named[0].startswith(f"{log}:151: ")
    assert len(found.broken_named[0]) < 300 + len(str(log))


def test_the_line_that_is_being_written_is_no_fault(tmp_path: Path) -> None:
    log = tmp_path / "a.jsonl"
    log.write_text(json.dumps(line()) + "\n" + json.dumps(line(1))[:80], encoding="utf-8")
    found = read_answers([log])
    assert (len(found.table), found.broken) == (1, 1)


def test_beyond_the_stated_share_it_is_another_file(tmp_path: Path) -> None:
    good = [line(i) for i in range(200)]
    assert read_answers([write_lines(tmp_path / "a.jsonl", [*good, "x", "y"])]).broken == 2
    with pytest.raises(BadInput, match=r"6 of 206 lines are no answers, more than 1%.*a\.jsonl:201"):
        read_answers([write_lines(tmp_path / "a.jsonl", [*good, *"abcdef"])])


def test_missing_empty_and_damaged_files_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no file"):
        read_answers([tmp_path / "none.jsonl"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no answer in"):
        read_answers([tmp_path / "empty"])
    (tmp_path / "cut.parquet").write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(BadInput, match="no complete Parquet file"):
        read_answers([tmp_path / "cut.parquet"])


def test_a_parquet_file_with_broken_rows(tmp_path: Path) -> None:
    table = pd.DataFrame([line(i) for i in range(250)])
    table.loc[17, "p_fake"] = np.inf
    table.to_parquet(tmp_path / "a.parquet")
    found = read_answers([tmp_path / "a.parquet"])
    assert (found.broken, len(found.table)) == (1, 249)
    assert ":18: p_fake" in found.broken_named[0]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.binary(max_size=300), st.text(max_size=100).map(str.encode)), max_size=6))
def test_arbitrary_bytes_are_refused_or_counted(lines: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "a.jsonl"
        good = "\n".join(json.dumps(line(i)) for i in range(5)).encode()
        log.write_bytes(good + b"\n" + b"\n".join(lines))
        try:
            found = read_answers([log])
        except BadInput:
            return
        assert len(found.table) == 5
        assert found.broken <= 1


VALUES = st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=5), st.booleans())
NAMES = ("time", "p_fake", "faces", "largest_face_px", "quality", "processing_s")


@settings(deadline=None, max_examples=100)
@given(st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)))
def test_a_line_with_other_values_is_an_answer_within_its_bounds_or_broken(values: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = read_answers([write_lines(Path(folder) / "a.jsonl", [line(1), line(2) | values])])
    for _, row in found.table.iterrows():
        assert "2000-01-01" <= row["day"] <= "2199-12-31"
        assert np.isnan(row["p_fake"]) or 0 <= row["p_fake"] <= 1
        assert row["faces"] >= 0
