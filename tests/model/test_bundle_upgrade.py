from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.errors import BadInput, BundleCorrupt, BundleOutdated
from deepfake_detector.inference.detector import Detector
from deepfake_detector.media.image import encode_png
from deepfake_detector.model.bundle import SEAL, read_bundle
from deepfake_detector.model.bundle_contract import Coverage, MediumCoverage, Thresholds, TrackWeights, VideoCalibration
from deepfake_detector.model.bundle_upgrade import upgrade_bundle, with_video


def reseal(bundle: Path) -> None:
    names = sorted(path.name for path in bundle.iterdir() if path.name != SEAL)
    lines = [f"{hashlib.sha256((bundle / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (bundle / SEAL).write_text("".join(lines), encoding="utf-8")


@pytest.fixture
def old(tmp_path: Path, tiny: Any) -> Path:
    """The tiny bundle as format 2 had it."""
    bundle: Path = tiny.write_bundle(tmp_path / "old").path
    content = json.loads((bundle / "contract.json").read_text(encoding="utf-8"))
    del content["video"], content["coverage"]
    (bundle / "contract.json").write_text(json.dumps(content | {"format_version": 2}), encoding="utf-8")
    reseal(bundle)
    return bundle


def test_answers_about_images_do_not_change(
    old: Path, tmp_path: Path, tiny: Any, red_portrait: NDArray[np.uint8]
) -> None:
    with pytest.raises(BundleOutdated, match="upgrade_bundle"):
        read_bundle(old)
    upgraded = upgrade_bundle(old)
    assert read_bundle(old) == upgraded
    before = Detector(tiny.write_bundle(tmp_path / "same")).predict_image(encode_png(red_portrait))
    after = Detector(upgraded).predict_image(encode_png(red_portrait))
    assert after.model_copy(update={"model": before.model}) == before
    assert upgraded.contract.video.videos == 0
    assert upgraded.contract.video.thresholds == upgraded.contract.thresholds


def test_a_fitted_calibration_replaces_the_mean(old: Path) -> None:
    video = VideoCalibration(
        intercept=-0.4, weights=TrackWeights(mean=0.8, top_third=0.3), videos=400,
        thresholds=Thresholds(clear=0.2, flag=0.6, strict=0.8), flag_false_positive_rate=0.02,
        strict_false_positive_rate=0.001,
    )  # fmt: skip
    coverage = MediumCoverage(all=Coverage(files=400, decided=0.4, right=0.9))
    upgraded = upgrade_bundle(old)
    fitted = with_video(upgraded, video, coverage)
    assert (fitted.contract.video, fitted.contract.coverage) == (video, {"video": coverage})
    assert fitted.contract.thresholds == upgraded.contract.thresholds
    assert fitted.graph.read_bytes() == (old / "detector.onnx").read_bytes()


def test_only_an_intact_bundle_of_format_2_is_upgraded(old: Path) -> None:
    upgrade_bundle(old)
    with pytest.raises(BadInput, match="format version 3"):
        upgrade_bundle(old)
    (old / "card.md").write_text("another card")
    with pytest.raises(BundleCorrupt, match=r"card\.md"):
        upgrade_bundle(old)
