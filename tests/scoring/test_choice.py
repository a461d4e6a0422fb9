from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.errors import BundleCorrupt, ModelNotFound
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.scoring.choice import choose_bundle


def report(root: Path, stage: str, content: object) -> None:
    (root / "reports").mkdir(exist_ok=True)
    (root / "reports" / f"{stage}.json").write_text(json.dumps(content))


def register(root: Path, bundle: Bundle) -> None:
    pointer = {"bundle": bundle.path.relative_to(root).as_posix(), "bundle_sha256": bundle.sha256}
    report(root, "register", {"champion": {"version": "1", "run_id": "r"} | pointer})


def test_the_named_bundle_wins_over_a_champion(tmp_path: Path, tiny: Any) -> None:
    register(tmp_path, tiny.write_bundle(tmp_path / "champion"))
    named = tiny.write_bundle(tmp_path / "named", run_id="1" * 32)
    assert choose_bundle(named.path, tmp_path).sha256 == named.sha256


def test_packaged_then_registered_then_pretrained(tmp_path: Path, tiny: Any) -> None:
    pretrained = tiny.write_bundle(tmp_path / "pretrained", run_id="1" * 32)
    assert choose_bundle(None, tmp_path).sha256 == pretrained.sha256
    registered = tiny.write_bundle(tmp_path / "registered", run_id="2" * 32)
    register(tmp_path, registered)
    assert choose_bundle(None, tmp_path).sha256 == registered.sha256
    packaged = tiny.write_bundle(tmp_path / "packaged", run_id="3" * 32)
    report(tmp_path, "package", {"bundle": "packaged", "bundle_sha256": packaged.sha256})
    assert choose_bundle(None, tmp_path).sha256 == packaged.sha256


def test_a_report_whose_bundle_is_gone_is_passed_over(tmp_path: Path, tiny: Any) -> None:
    pretrained = tiny.write_bundle(tmp_path / "pretrained")
    report(tmp_path, "package", {"bundle": "gone", "bundle_sha256": "0" * 64})
    report(tmp_path, "register", {"champion": None})
    assert choose_bundle(None, tmp_path).sha256 == pretrained.sha256


def test_a_champion_that_is_not_the_reported_one_is_refused(tmp_path: Path, tiny: Any) -> None:
    tiny.write_bundle(tmp_path / "champion")
    report(tmp_path, "package", {"bundle": "champion", "bundle_sha256": "0" * 64})
    with pytest.raises(BundleCorrupt, match="the report names 000"):
        choose_bundle(None, tmp_path)


def test_without_any_model_the_next_step_is_named(tmp_path: Path, tiny: Any) -> None:
    with pytest.raises(ModelNotFound) as caught:
        choose_bundle(None, tmp_path)
    assert "make repro" in caught.value.hint


def test_a_name_that_leads_nowhere_is_not_replaced_by_another_model(tmp_path: Path, tiny: Any) -> None:
    tiny.write_bundle(tmp_path / "pretrained")
    with pytest.raises(ModelNotFound, match="nowhere"):
        choose_bundle(tmp_path / "nowhere", tmp_path)
