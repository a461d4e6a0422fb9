from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deepfake_detector.cli.about import describe_model
from deepfake_detector.inference.model_selection import SelectedModel
from deepfake_detector.model.bundle import Bundle

if TYPE_CHECKING:
    from tests.cli.conftest import RunCli


def test_the_description_has_the_reason_the_data_and_the_metrics(tmp_path: Path, tiny: Any) -> None:
    metrics = {"images": 1234.0, "accuracy": 0.95, "accuracy_low": 0.93, "accuracy_high": 0.97, "ece": 0.0312}
    bundle = tiny.write_bundle(tmp_path / "bundle", test_metrics=metrics, test_images=1234, data_sha256={"a": "f" * 64})
    text = describe_model(SelectedModel(bundle, "pretrained", "there is no champion"))
    assert f"model       pretrained ({bundle.path})" in text
    assert "reason      there is no champion" in text
    assert "trained on  photographs: 1 faces of a (sha256 ffffffffffff)" in text
    assert "tested on   1,234 pictures: accuracy 0.950 [0.930, 0.970], ece 0.031" in text
    assert "classes     a real face, a generated face, a face swap" in text
    assert "thresholds  real up to 0.300, fake from 0.700, strict 0.900" in text
    assert "videos      real up to 0.300, fake from 0.700 with one face, not calibrated" in text
    assert "answers     not measured" in text
    assert bundle.sha256 in text
    assert "licence     code: MIT; weights: non-commercial use only" in text
    assert "Warning" not in text


def test_the_description_has_the_coverage_of_each_medium(tmp_path: Path, tiny: Any) -> None:
    measured = {"image": {"all": {"files": 200, "decided": 0.5, "right": 0.97}},
                "video": {"all": {"files": 100, "decided": 0.0, "right": None}}}  # fmt: skip
    bundle = tiny.write_bundle(tmp_path / "bundle", coverage=measured)
    text = describe_model(SelectedModel(bundle, "pretrained", "there is no champion"))
    assert "answers     of images 50% are decided, 97% of these rightly; of videos 0% are decided" in text


def test_a_model_of_the_drawn_sample_has_a_warning(tmp_path: Path, tiny: Any) -> None:
    bundle = tiny.write_bundle(tmp_path / "bundle", trained_on="drawn sample")
    assert describe_model(SelectedModel(bundle, "champion", "no other model")).endswith("mean little.")


def test_json_names_the_model(run_cli: RunCli, tiny_bundle: Bundle) -> None:
    code, stdout, _ = run_cli("about", "--json")
    answer = json.loads(stdout)
    assert code == 0
    assert (answer["sha256"], answer["network"], answer["trained_on"]) == (tiny_bundle.sha256, "tiny", "photographs")
    assert (answer["name"], answer["reason"]) == ("named", "it was named")
    assert answer["licence"]["code"] == "MIT"
    assert "card.md" in answer["licence"]["weights"]  # not the shipped ones


def test_lines_name_the_model(run_cli: RunCli, tiny_bundle: Bundle) -> None:
    code, stdout, _ = run_cli("about")
    assert code == 0
    assert f"model       named ({tiny_bundle.path})" in stdout
    assert "accuracy 0.500" in stdout


def test_a_model_is_selected_by_name(
    run_cli: RunCli, tmp_path: Path, tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("deepfake_detector.inference.model_selection.CHECKOUT_ROOT", Path(os.sep, "nowhere"))
    drawn = tiny.write_bundle(tmp_path / "drawn", trained_on="drawn sample")
    pretrained = tiny.write_bundle(tmp_path / "pretrained", run_id="1" * 32)
    (tmp_path / "reports").mkdir()
    pointer = {"bundle": "drawn", "bundle_sha256": drawn.sha256}
    (tmp_path / "reports" / "register.json").write_text(json.dumps({"champion": pointer}))
    expected = {None: pretrained.sha256, "champion": drawn.sha256, "pretrained": pretrained.sha256}
    for name, sha256 in expected.items():
        assert json.loads(run_cli("about", "--json", model=name)[1])["sha256"] == sha256
    assert "the champion was trained on the drawn sample only" in run_cli("about", model=None)[1]
