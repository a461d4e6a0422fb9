"""A bundle is read back as it was sealed; a changed, missing or added file is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.errors import BundleCorrupt, BundleOutdated, ModelNotFound
from deepfake_detector.model.bundle import Contract, Thresholds, read_bundle, write_bundle
from deepfake_detector.model.bundle_contract import VideoCalibration

VIDEO = VideoCalibration(
    thresholds=Thresholds(clear=0.2, flag=0.8, strict=0.9),
    flag_false_positive_rate=0.01,
    strict_false_positive_rate=0.001,
)


@pytest.fixture
def contract() -> Contract:
    return Contract(
        format_version=3, network="residual", side_px=128, alignment="ffhq", crop_scale=0.6,
        kinds=("synthetic", "swap"), min_face_px=64, temperature=1.5,
        thresholds=Thresholds(clear=0.2, flag=0.8, strict=0.9), video=VIDEO, trained_on="photographs",
        data_sha256={"archive": "ab"},
        train_images=10, test_images=4, test_metrics={"accuracy": 0.9}, run_id="r", weights_sha256="w",
    )  # fmt: skip


@pytest.fixture
def sealed(tmp_path: Path, contract: Contract) -> Path:
    (tmp_path / "graph").write_bytes(b"graph bytes")
    (tmp_path / "reference").write_bytes(b"reference bytes")
    write_bundle(tmp_path / "b", tmp_path / "graph", contract, tmp_path / "reference", "# card")
    return tmp_path / "b"


def test_a_sealed_bundle_is_read_back(sealed: Path, contract: Contract) -> None:
    bundle = read_bundle(sealed)
    assert bundle.contract == contract
    assert bundle.graph.read_bytes() == b"graph bytes"
    assert len(bundle.sha256) == 64


def test_the_digest_does_not_depend_on_the_folder(sealed: Path, tmp_path: Path) -> None:
    shutil.copytree(sealed, tmp_path / "moved")
    assert read_bundle(tmp_path / "moved").sha256 == read_bundle(sealed).sha256


@pytest.mark.parametrize("name", ["detector.onnx", "contract.json", "reference.npz", "card.md"])
def test_the_error_names_the_changed_file(sealed: Path, name: str) -> None:
    content = bytearray((sealed / name).read_bytes())
    content[-1] ^= 1
    (sealed / name).write_bytes(content)
    with pytest.raises(BundleCorrupt, match=name):
        read_bundle(sealed)


def test_a_missing_or_added_file_is_refused(sealed: Path) -> None:
    (sealed / "extra.py").write_text("x")
    with pytest.raises(BundleCorrupt, match=r"extra\.py"):
        read_bundle(sealed)
    (sealed / "extra.py").unlink()
    (sealed / "card.md").unlink()
    with pytest.raises(BundleCorrupt, match=r"card\.md"):
        read_bundle(sealed)


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="no model bundle"):
        read_bundle(tmp_path)


def test_a_new_bundle_replaces_all_files_of_the_old_one(sealed: Path, tmp_path: Path, contract: Contract) -> None:
    (tmp_path / "graph").write_bytes(b"another graph")
    before = read_bundle(sealed).sha256
    after = write_bundle(sealed, tmp_path / "graph", contract, tmp_path / "reference", "# card").sha256
    assert after != before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "graph", "reference"]


# A bundle that somebody changed and sealed again


def reseal(bundle: Path, changed: dict[str, Any] | bytes) -> None:
    """Change the contract and write matching digests, as an attacker does."""
    contract = bundle / "contract.json"
    if isinstance(changed, bytes):
        contract.write_bytes(changed)
    else:
        content = json.loads(contract.read_text(encoding="utf-8"))
        for key, value in changed.items():
            inner = content
            *path, name = key.split(".")
            for part in path:
                inner = inner[part]
            inner[name] = value
        contract.write_text(json.dumps(content), encoding="utf-8")
    names = sorted(path.name for path in bundle.iterdir() if path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256((bundle / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (bundle / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


@pytest.mark.parametrize(
    "changed",
    [
        {"temperature": -1.0},  # turns every verdict round
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"temperature": 1e9},
        {"thresholds.flag": 0.1},  # below clear
        {"thresholds.strict": 0.5},  # below flag
        {"thresholds.clear": -0.1},
        {"thresholds.flag": 1.5},
        {"thresholds.flag": float("nan")},
        {"side_px": 0},
        {"side_px": 10**9},
        {"crop_scale": 0.0},
        {"crop_scale": -0.5},
        {"min_face_px": 0},
        {"kinds": []},
        {"kinds": ["k"] * 1000},
        {"network": "n" * 10_000},
        {"test_metrics": {"accuracy": float("inf")}},
        {"video.weights.mean": -1.0},  # a higher score of the frames would lower that of the video
        {"video.weights.mean": 0.0, "video.weights.top_third": 0.0},
        {"video.intercept": float("inf")},
        {"video.weights.face_size": 1e30},
        {"video.thresholds.flag": 0.1},
        {"video.flag_false_positive_rate": 0.0},
        {"video.strict_false_positive_rate": 0.5},  # above that of flag
        {"coverage": {"image": {"all": {"files": 1, "decided": 1.5, "right": None}}}},
        {"coverage": {"sound": {"all": {"files": 1, "decided": 0.5, "right": None}}}},
        {"extra": 1},
    ],
)
def test_a_sealed_contract_with_a_value_out_of_its_bounds_is_refused(sealed: Path, changed: dict[str, Any]) -> None:
    reseal(sealed, {})
    assert read_bundle(sealed).contract.temperature == 1.5
    reseal(sealed, changed)
    with pytest.raises(BundleCorrupt, match="values that no model has"):
        read_bundle(sealed)


@pytest.mark.parametrize("content", [b"\xff\xfe{", b"[]", b"null", b"{", b"{}", b"[" * 100_000])
def test_a_sealed_contract_that_is_no_contract_is_refused(sealed: Path, content: bytes) -> None:
    reseal(sealed, content)
    with pytest.raises(BundleCorrupt, match="is no contract"):
        read_bundle(sealed)


@pytest.mark.parametrize("version", [1, 2, 5, "3", True, None])
def test_another_format_version_is_outdated(sealed: Path, version: object) -> None:
    reseal(sealed, {"format_version": version})
    with pytest.raises(BundleOutdated, match="format version"):
        read_bundle(sealed)


def test_a_seal_that_is_no_text_is_refused(sealed: Path) -> None:
    (sealed / "SHA256SUMS").write_bytes(b"\xff\x00 \xfe")
    with pytest.raises(BundleCorrupt, match="does not match"):
        read_bundle(sealed)


def test_a_link_or_a_subfolder_is_refused(sealed: Path, tmp_path: Path) -> None:
    (tmp_path / "card").write_bytes((sealed / "card.md").read_bytes())
    (sealed / "card.md").unlink()
    (sealed / "card.md").symlink_to(tmp_path / "card")  # its digest holds now; later it may not
    with pytest.raises(BundleCorrupt, match=r"card\.md is no plain file"):
        read_bundle(sealed)
    (sealed / "card.md").unlink()
    shutil.copyfile(tmp_path / "card", sealed / "card.md")
    (sealed / "more").mkdir()
    with pytest.raises(BundleCorrupt, match="more is no plain file"):
        read_bundle(sealed)
    (sealed / "more").rmdir()
    assert read_bundle(sealed).sha256


# Thresholds for several tracks


def test_more_tracks_need_a_higher_score_up_to_strict() -> None:
    flags = [VIDEO.for_tracks(tracks).flag for tracks in (0, 1, 2, 5, 10, 1000)]
    assert flags[:2] == [0.8, 0.8]
    assert flags == sorted(flags)
    assert flags[-2:] == [0.9, 0.9]
    assert 0.8 < flags[2] < flags[3] < 0.9
    assert {VIDEO.for_tracks(tracks).clear for tracks in (1, 7)} == {0.2}


def test_equal_thresholds_stay_equal() -> None:
    even = VIDEO.model_copy(update={"thresholds": Thresholds(clear=0.5, flag=0.5, strict=0.5)})
    assert even.for_tracks(5) == even.thresholds
    extreme = VIDEO.model_copy(update={"thresholds": Thresholds(clear=0.0, flag=0.5, strict=1.0)})
    assert 0.5 <= extreme.for_tracks(3).flag <= 1.0
    same_rates = VIDEO.model_copy(update={"strict_false_positive_rate": 0.01})
    assert same_rates.for_tracks(2).flag == 0.9
