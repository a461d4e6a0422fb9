from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.errors import BundleCorrupt, ModelNotFound
from deepfake_detector.inference.model_selection import preferred_model, select_model
from deepfake_detector.model.bundle import Bundle


def write_report(root: Path, stage: str, content: object) -> None:
    (root / "reports").mkdir(exist_ok=True)
    (root / "reports" / f"{stage}.json").write_text(json.dumps(content))


def write_registration(root: Path, bundle: Bundle) -> None:
    pointer = {"bundle": bundle.path.relative_to(root).as_posix(), "bundle_sha256": bundle.sha256}
    write_report(root, "register", {"champion": {"version": "1", "run_id": "r"} | pointer})


def test_a_named_folder_is_used_instead_of_the_champion(tmp_path: Path, tiny: Any) -> None:
    write_registration(tmp_path, tiny.write_bundle(tmp_path / "champion"))
    named = tiny.write_bundle(tmp_path / "named", run_id="1" * 32)
    assert (select_model(named.path, tmp_path).bundle.sha256, select_model(named.path, tmp_path).name) == (
        named.sha256,
        "named",
    )


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
def test_a_model_of_photographs_is_preferred(
    champion: str | None, pretrained: str | None, name: str | None, reason: str
) -> None:
    found = preferred_model(champion, pretrained)
    assert found.name == name
    assert reason in found.reason


def test_the_packaged_champion_comes_before_the_registered_one(tmp_path: Path, tiny: Any) -> None:
    pretrained = tiny.write_bundle(tmp_path / "pretrained", run_id="1" * 32)
    assert select_model(None, tmp_path).bundle.sha256 == pretrained.sha256
    registered = tiny.write_bundle(tmp_path / "registered", run_id="2" * 32)
    write_registration(tmp_path, registered)
    assert select_model(None, tmp_path).bundle.sha256 == registered.sha256
    packaged = tiny.write_bundle(tmp_path / "packaged", run_id="3" * 32)
    write_report(tmp_path, "package", {"bundle": "packaged", "bundle_sha256": packaged.sha256})
    assert select_model(None, tmp_path).bundle.sha256 == packaged.sha256


def test_a_champion_of_the_drawn_sample_is_used_only_if_named_or_alone(tmp_path: Path, tiny: Any) -> None:
    drawn = tiny.write_bundle(tmp_path / "drawn", trained_on="drawn sample")
    write_registration(tmp_path, drawn)
    assert (select_model(None, tmp_path).name, select_model(None, tmp_path).bundle.sha256) == ("champion", drawn.sha256)
    pretrained = tiny.write_bundle(tmp_path / "pretrained", run_id="1" * 32)
    assert (select_model(None, tmp_path).name, select_model(None, tmp_path).bundle.sha256) == (
        "pretrained",
        pretrained.sha256,
    )
    assert select_model("champion", tmp_path).bundle.sha256 == drawn.sha256
    assert select_model("pretrained", tmp_path).bundle.sha256 == pretrained.sha256


def test_a_broken_bundle_that_is_not_asked_for_is_not_read(tmp_path: Path, tiny: Any) -> None:
    broken = tiny.write_bundle(tmp_path / "broken")
    write_registration(tmp_path, broken)
    (broken.path / "card.md").write_text("changed")
    pretrained = tiny.write_bundle(tmp_path / "pretrained")
    assert select_model("pretrained", tmp_path).bundle.sha256 == pretrained.sha256
    with pytest.raises(BundleCorrupt):
        select_model(None, tmp_path)


def test_a_report_whose_bundle_is_missing_is_ignored(tmp_path: Path, tiny: Any) -> None:
    pretrained = tiny.write_bundle(tmp_path / "pretrained")
    write_report(tmp_path, "package", {"bundle": "missing", "bundle_sha256": "0" * 64})
    write_report(tmp_path, "register", {"champion": None})
    assert select_model(None, tmp_path).bundle.sha256 == pretrained.sha256


def test_a_champion_with_another_digest_than_reported_is_rejected(tmp_path: Path, tiny: Any) -> None:
    tiny.write_bundle(tmp_path / "champion")
    write_report(tmp_path, "package", {"bundle": "champion", "bundle_sha256": "0" * 64})
    with pytest.raises(BundleCorrupt, match="the report names 000"):
        select_model(None, tmp_path)


@pytest.mark.parametrize("named", [None, "champion", "pretrained"])
def test_without_a_model_the_error_names_the_next_step(tmp_path: Path, named: str | None) -> None:
    with pytest.raises(ModelNotFound) as caught:
        select_model(named, tmp_path)
    assert "make repro" in caught.value.hint


def test_a_named_folder_that_does_not_exist_is_an_error(tmp_path: Path, tiny: Any) -> None:
    tiny.write_bundle(tmp_path / "pretrained")
    with pytest.raises(ModelNotFound, match="nowhere"):
        select_model(tmp_path / "nowhere", tmp_path)
