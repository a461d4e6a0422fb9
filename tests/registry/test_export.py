"""The bundle of a version or of the champion, copied from a real store and verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepfake_detector.errors import BundleCorrupt, ModelNotFound
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


def test_without_a_champion_the_error_says_why_the_candidate_was_refused(
    checkout: PipelineCheckout, tmp_path: Path
) -> None:
    candidate = checkout.candidate()
    snapshot = checkout.register(candidate, min_accuracy=1.0)
    assert dict(snapshot.aliases) == {"challenger": "1"}
    with pytest.raises(ModelNotFound, match="at least 1 required"):
        export_champion(snapshot, candidate, tmp_path / "champion")
