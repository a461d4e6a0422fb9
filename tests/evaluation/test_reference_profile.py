"""The profile of test pictures against what the serving detector logs about the same files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from deepfake_detector.datasets.archive import Archive
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.evaluation import corruption_grid_crops
from deepfake_detector.evaluation.corruption_grid_crops import GridCropSpec, crop_grid
from deepfake_detector.evaluation.corruption_grid_scores import GridScores, score_grid
from deepfake_detector.evaluation.reference_profile import OTHER_FAKES, summarize_pictures
from deepfake_detector.inference.detector import Detector
from deepfake_detector.inference.engine import Engine
from deepfake_detector.media.image import encode_png
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.model.bundle_profile import QUANTITIES
from deepfake_detector.serving.worker import Measurements

FOLDER = "real_vs_fake/real-vs-fake/test"


@pytest.fixture(scope="module")
def pictures(red_portrait: NDArray[np.uint8], blue_portrait: NDArray[np.uint8]) -> dict[str, bytes]:
    """One picture per case: a face, two faces, a face too small to score, none, and no picture at all."""
    pair = np.ascontiguousarray(np.concatenate([red_portrait, blue_portrait], axis=1))
    small = np.ascontiguousarray(red_portrait[::4, ::4])
    page = np.full((400, 400, 3), 120, np.uint8)
    page[100 : 100 + small.shape[0], 100 : 100 + small.shape[1]] = small
    return {
        f"{FOLDER}/fake/red.png": encode_png(red_portrait),
        f"{FOLDER}/fake/pair.png": encode_png(pair),
        f"{FOLDER}/fake/small.png": encode_png(page),
        f"{FOLDER}/real/blue.png": encode_png(blue_portrait),
        f"{FOLDER}/real/wall.png": encode_png(np.full((200, 200, 3), 90, np.uint8)),
        f"{FOLDER}/real/broken.jpg": b"\xff\xd8\xff no picture",
    }


@pytest.fixture(scope="module")
def scores(pictures: dict[str, bytes], tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> GridScores:
    path = tmp_path_factory.mktemp("profile") / "pictures.zip"
    write_zip(path, pictures.items())
    contract, engine = tiny_bundle.contract, Engine(tiny_bundle)
    spec = GridCropSpec(contract.side_px, contract.min_face_px, contract.crop_scale, 1)
    with Archive(path, 2**30) as archive:
        entries = archive.entries
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corruption_grid_crops, "process_map", map)
        crops = list(crop_grid(path, 2**30, spec, [(entry, ("clean",)) for entry in entries]))
    return GridScores(*score_grid(crops, lambda pixels: engine.p_fake(engine.score(pixels).logits)), frozenset())


def logged(detector: Detector, measurements: Measurements, content: bytes) -> dict[str, float]:
    """The values that the service writes into its prediction log."""
    from deepfake_detector.serving.worker import _report

    measurements.reset()
    report = _report(detector.predict_image(content), measurements, len(content), 0.0)
    quality = {} if report.quality is None else report.quality.model_dump()
    return {
        "p_fake": np.nan if report.p_fake is None else report.p_fake,
        "largest_face_px": report.largest_face_px or np.nan,
        "faces": report.faces,
        **{name: quality.get(name, np.nan) for name in ("brightness", "contrast", "sharpness")},
    }


def test_the_profile_holds_what_the_service_would_log(
    pictures: dict[str, bytes], scores: GridScores, tiny_bundle: Bundle
) -> None:
    profile = summarize_pictures(scores, {}, tiny_bundle.contract.thresholds)
    measurements = Measurements()
    detector = Detector(tiny_bundle, observer=measurements)
    groups = {group.kind: group for group in profile.groups}
    assert set(groups) == {"", OTHER_FAKES}
    for kind, label in (("", "/real/"), (OTHER_FAKES, "/fake/")):
        readable = [data for path, data in pictures.items() if label in path and "broken" not in path]
        rows = pd.DataFrame([logged(detector, measurements, data) for data in readable])
        group = groups[kind]
        assert group.pictures == len(rows)
        assert group.unscored == rows["p_fake"].isna().sum()
        assert group.faces == tuple(int((rows["faces"] == n).sum()) for n in range(5))
        for name in QUANTITIES:
            values = np.sort(rows[name].dropna().to_numpy(float))
            assert group.quantities[name].values == len(values), name
            if len(values):
                assert group.quantities[name].quantiles[0] == pytest.approx(values[0], rel=1e-4), name
                assert group.quantities[name].quantiles[-1] == pytest.approx(values[-1], rel=1e-4), name


def test_verdicts_and_kinds_are_counted(scores: GridScores, tiny_bundle: Bundle) -> None:
    kinds = {path: "swap" for path in scores.pictures["path"] if "/fake/red" in path}
    profile = summarize_pictures(scores, kinds, tiny_bundle.contract.thresholds)
    groups = {group.kind: group for group in profile.groups}
    assert groups["swap"].verdicts == {"fake": 1, "real": 0, "inconclusive": 0}
    assert groups[""].verdicts == {"fake": 0, "real": 1, "inconclusive": 1}
    assert groups[OTHER_FAKES].pictures == 2
