"""A bundle of format 2, sealed -> the same graph, outputs and card in format 3; answers about images do not change.

Format 3 has a calibration of its own for videos, `VideoCalibration`, and measured coverage. Format 4 adds a profile of
labelled pictures, which needs such pictures: `with_profile`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from pydantic import ValidationError

from deepfake_detector.errors import BadInput, BundleCorrupt
from deepfake_detector.model.bundle import SEAL, Bundle, read_profile, write_bundle
from deepfake_detector.model.bundle_contract import (
    WITHOUT_PROFILE,
    Contract,
    MediumCoverage,
    Thresholds,
    VideoCalibration,
)
from deepfake_detector.model.bundle_profile import Profile

OLD_VERSION = 2


def upgrade_bundle(path: Path, rates: tuple[float, float] = (0.01, 0.001)) -> Bundle:
    """Replace a bundle of format 2 by one of format 3, atomically; videos get the mean logit of their frames.

    Args:
        path: the bundle's folder.
        rates: false positive rates that its thresholds `flag` and `strict` stand for.

    Raises:
        BadInput: it has another format than 2.
        BundleCorrupt: its digests do not hold, or its contract has values out of their bounds.
    """
    content = _verified_contract(path)
    if (version := content.get("format_version")) != OLD_VERSION:
        raise BadInput(f"{path} has format version {version!r}", f"only version {OLD_VERSION} can be upgraded")
    try:
        video = VideoCalibration(
            thresholds=Thresholds.model_validate(content["thresholds"]),
            flag_false_positive_rate=rates[0],
            strict_false_positive_rate=rates[1],
        )
        upgraded = content | {"format_version": WITHOUT_PROFILE, "video": video.model_dump()}
        contract = Contract.model_validate_json(json.dumps(upgraded))
    except (ValidationError, KeyError) as error:
        raise BundleCorrupt(f"{path}/contract.json has values that no model has: {error}") from error
    return _rewritten(path, contract)


def with_video(bundle: Bundle, video: VideoCalibration, coverage: MediumCoverage) -> Bundle:
    """Replace a bundle by the same one with another calibration of videos, atomically.

    Args:
        bundle: of the present format.
        video: fitted on this model's scores.
        coverage: of videos, as measured.
    """
    changed = {"video": video, "coverage": bundle.contract.coverage | {"video": coverage}}
    profile = None if bundle.contract.format_version == WITHOUT_PROFILE else read_profile(bundle)
    return _rewritten(bundle.path, bundle.contract.model_copy(update=changed), profile)


def with_profile(bundle: Bundle, profile: Profile) -> Bundle:
    """Replace a bundle by the same one with another profile, atomically; a signature is lost, answers do not change.

    Args:
        bundle: of format 3 or 4.
        profile: of labelled pictures, as this model sees them.
    """
    return _rewritten(bundle.path, bundle.contract, profile)


def _rewritten(path: Path, contract: Contract, profile: Profile | None = None) -> Bundle:
    with tempfile.TemporaryDirectory() as scratch:
        graph, reference = Path(scratch) / "detector.onnx", Path(scratch) / "reference.npz"
        shutil.copyfile(path / graph.name, graph)
        shutil.copyfile(path / reference.name, reference)
        return write_bundle(path, graph, contract, reference, (path / "card.md").read_text(encoding="utf-8"), profile)


def _verified_contract(path: Path) -> dict[str, object]:
    for line in (path / SEAL).read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        if hashlib.sha256((path / name).read_bytes()).hexdigest() != digest:
            raise BundleCorrupt(f"{path}/{name} does not match SHA256SUMS", "fetch the bundle again")
    content = json.loads((path / "contract.json").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content
