from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.errors import BundleCorrupt, ModelNotFound
from deepfake_detector.inference.model_selection import choose, prefer
from deepfake_detector.model.bundle import Bundle


def report(root: Path, stage: str, content: object) -> None:
    (root / "reports").mkdir(exist_ok=True)
    (root / "reports" / f"{stage}.json").write_text(json.dumps(content))


def register(root: Path, bundle: Bundle) -> None:
    pointer = {"bundle": bundle.path.relative_to(root).as_posix(), "bundle_sha256": bundle.sha256}
    report(root, "register", {"champion": {"version": "1", "run_id": "r"} | pointer})


def test_a_named_folder_wins_over_a_champion(tmp_path: Path, tiny: Any) -> None:
    register(tmp_path, tiny.write_bundle(tmp_path / "champion"))
    named = tiny.write_bundle(tmp_path / "named", run_id="1" * 32)
    assert (choose(named.path, tmp_path).bundle.sha256, choose(named.path, tmp_path).name) == (named.sha256, "named")


@pytest.mark.parametrize(
    ("champion", "pretrained", "name", "reason"),
    [
        ("photographs", "photographs", "champion", "the registry's champion was trained on photographs"),
        ("photographs", None, "champion", "photographs"),
        ("drawn sample", "photographs", "pretrained", "the champion was trained on the drawn sample only"),
        ("drawn sample", None, "champion", "there is no pretrained/"),
        (None, "photographs", "pretrained", "there is no champion"),
        (None, "drawn sample", "pretrained", "there is no champion"),
        (None, None, None, "neither"),
    ],
)
def test_a_model_of_photographs_answers_first(
    champion: str | None, pretrained: str | None, name: str | None, reason: str
) -> None:
    found = prefer(champion, pretrained)
    assert found.name == name
    assert reason in found.reason


def test_packaged_then_registered_then_pretrained(tmp_path: Path, tiny: Any) -> None:
    pretrained = tiny.write_bundle(tmp_path / "pretrained", run_id="1" * 32)
    assert choose(None, tmp_path).bundle.sha256 == pretrained.sha256
    registered = tiny.write_bundle(tmp_path / "registered", run_id="2" * 32)
    register(tmp_path, registered)
    assert choose(None, tmp_path).bundle.sha256 == registered.sha256
    packaged = tiny.write_bundle(tmp_path / "packaged", run_id="3" * 32)
    report(tmp_path, "package", {"bundle": "packaged", "bundle_sha256": packaged.sha256})
    assert choose(None, tmp_path).bundle.sha256 == packaged.sha256


def test_a_champion_of_drawings_stands_back_but_answers_when_asked(tmp_path: Path, tiny: Any) -> None:
    drawn = tiny.write_bundle(tmp_path / "drawn", trained_on="drawn sample")
    register(tmp_path, drawn)
    assert (choose(None, tmp_path).name, choose(None, tmp_path).bundle.sha256) == ("champion", drawn.sha256)
    pretrained = tiny.write_bundle(tmp_path / "pretrained", run_id="1" * 32)
    assert (choose(None, tmp_path).name, choose(None, tmp_path).bundle.sha256) == ("pretrained", pretrained.sha256)
    assert choose("champion", tmp_path).bundle.sha256 == drawn.sha256
    assert choose("pretrained", tmp_path).bundle.sha256 == pretrained.sha256


def test_who_is_not_asked_for_may_be_broken(tmp_path: Path, tiny: Any) -> None:
    broken = tiny.write_bundle(tmp_path / "broken")
    register(tmp_path, broken)
    (broken.path / "card.md").write_text("changed")
    pretrained = tiny.write_bundle(tmp_path / "pretrained")
    assert choose("pretrained", tmp_path).bundle.sha256 == pretrained.sha256
    with pytest.raises(BundleCorrupt):
        choose(None, tmp_path)


def test_a_report_whose_bundle_is_gone_is_passed_over(tmp_path: Path, tiny: Any) -> None:
    pretrained = tiny.write_bundle(tmp_path / "pretrained")
    report(tmp_path, "package", {"bundle": "gone", "bundle_sha256": "0" * 64})
    report(tmp_path, "register", {"champion": None})
    assert choose(None, tmp_path).bundle.sha256 == pretrained.sha256


def test_a_champion_that_is_not_the_reported_one_is_refused(tmp_path: Path, tiny: Any) -> None:
    tiny.write_bundle(tmp_path / "champion")
    report(tmp_path, "package", {"bundle": "champion", "bundle_sha256": "0" * 64})
    with pytest.raises(BundleCorrupt, match="the report names 000"):
        choose(None, tmp_path)


@pytest.mark.parametrize("named", [None, "champion", "pretrained"])
def test_without_any_model_the_next_step_is_named(tmp_path: Path, named: str | None) -> None:
    with pytest.raises(ModelNotFound) as caught:
        choose(named, tmp_path)
    assert "make repro" in caught.value.hint


def test_a_name_that_leads_nowhere_is_not_replaced_by_another_model(tmp_path: Path, tiny: Any) -> None:
    tiny.write_bundle(tmp_path / "pretrained")
    with pytest.raises(ModelNotFound, match="nowhere"):
        choose(tmp_path / "nowhere", tmp_path)
