"""A bundle is read back as it was sealed; a changed, missing or added file is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deepfake_detector.errors import BundleCorrupt, ModelNotFound
from deepfake_detector.model.bundle import Contract, Thresholds, read_bundle, write_bundle


@pytest.fixture
def contract() -> Contract:
    return Contract(
        format_version=2, network="residual", side_px=128, alignment="ffhq", crop_scale=0.6,
        kinds=("synthetic", "swap"), min_face_px=64, temperature=1.5,
        thresholds=Thresholds(clear=0.2, flag=0.8, strict=0.9), trained_on="photographs", data_sha256={"archive": "ab"},
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
