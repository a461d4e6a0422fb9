"""The bundle of a version or of the champion, copied from a real store and verified."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deepfake_detector.errors import BundleCorrupt
from deepfake_detector.registry.export import export_bundle
from deepfake_detector.registry.report import export_champion
from deepfake_detector.tracking.store import local_folder, tracking_uri
from tests.pipeline_checkout import PipelineCheckout


def test_an_export_replaces_a_changed_bundle(checkout: PipelineCheckout, tmp_path: Path) -> None:
    candidate = checkout.candidate()
    version = checkout.register(candidate).versions[0]
    to = tmp_path / "champion"
    assert export_bundle(version, to).sha256 == candidate.bundle.sha256
    (to / "detector.onnx").write_bytes(b"changed")
    assert export_bundle(version, to).sha256 == candidate.bundle.sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["champion", "checkout"]


def test_a_changed_bundle_in_the_store_is_not_exported(checkout: PipelineCheckout, tmp_path: Path) -> None:
    version = checkout.register(checkout.candidate()).versions[0]
    folder = local_folder(version.tags["bundle_uri"], tracking_uri())
    assert folder is not None
    (folder / "detector.onnx").write_bytes(b"changed")
    with pytest.raises(BundleCorrupt, match=r"detector\.onnx differs"):
        export_bundle(version, tmp_path / "champion")
    assert not (tmp_path / "champion").exists()


def test_without_a_champion_nothing_is_exported(checkout: PipelineCheckout, tmp_path: Path) -> None:
    snapshot = checkout.register(checkout.candidate(), min_accuracy=1.0)
    assert dict(snapshot.aliases) == {"challenger": "1"}
    assert export_champion(snapshot, tmp_path / "champion") is None
    assert not (tmp_path / "champion").exists()


def test_a_champion_whose_files_are_lost_is_an_error(checkout: PipelineCheckout, tmp_path: Path) -> None:
    snapshot = checkout.register(checkout.candidate())
    shutil.rmtree(checkout.workspace.root / "mlartifacts")
    with pytest.raises(BundleCorrupt, match="restore mlartifacts/ from a backup"):
        export_champion(snapshot, tmp_path / "champion")
