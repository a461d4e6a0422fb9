"""Left-over work is used only by the same code, libraries and values."""

from __future__ import annotations

from importlib import metadata

import pytest

from deepfake_detector.code_digest import code_digest, values_digest


def test_values_and_their_order_count() -> None:
    same = values_digest(["a", 1, (2.5, None)])
    assert same == values_digest(("a", 1, (2.5, None)))
    others = [["a", 1], ["a", "1", (2.5, None)], [1, "a", (2.5, None)], ["a", 1, (2.5, 0)], ["a1", (2.5, None)]]
    assert len({same, *map(values_digest, others)}) == len(others) + 1


def test_modules_and_libraries_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_digest("crops")
    assert before == code_digest("crops")
    assert before != code_digest("crops", "faces")
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0" if name == "pillow" else version(name))
    assert code_digest("crops") != before
