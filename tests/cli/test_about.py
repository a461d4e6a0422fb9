from __future__ import annotations

from pathlib import Path
from typing import Any

from deepfake_detector.cli.about import describe
from deepfake_detector.inference.model_selection import Choice


def test_people_read_who_answers_why_and_how_well(tmp_path: Path, tiny: Any) -> None:
    figures = {"images": 1234.0, "accuracy": 0.95, "accuracy_low": 0.93, "accuracy_high": 0.97, "ece": 0.0312}
    bundle = tiny.write_bundle(tmp_path / "bundle", test_metrics=figures, test_images=1234, data_sha256={"a": "f" * 64})
    said = describe(Choice(bundle, "pretrained", "there is no champion"))
    assert f"answers     pretrained ({bundle.path})" in said
    assert "why         there is no champion" in said
    assert "trained on  photographs: 1 faces of a (sha256 ffffffffffff)" in said
    assert "1,234 test pictures: accuracy 0.950 [0.930, 0.970], ece 0.031" in said
    assert "real faces and a generated face and a face swap" in said
    assert bundle.sha256 in said
    assert "Mind" not in said


def test_a_model_of_drawings_warns(tmp_path: Path, tiny: Any) -> None:
    bundle = tiny.write_bundle(tmp_path / "bundle", trained_on="drawn sample")
    assert describe(Choice(bundle, "champion", "nothing else is there")).endswith("mean little.")
