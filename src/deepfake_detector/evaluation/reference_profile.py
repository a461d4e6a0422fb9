"""Scores of undegraded test pictures -> the `Profile` that a bundle carries: quantiles per source and kind of fake.

Rounding and units are those of the prediction log, so that a difference between the two is one of the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from deepfake_detector.config import Settings
from deepfake_detector.evaluation.corruption_grid import CLEAN
from deepfake_detector.evaluation.corruption_grid_crops import GridCropSpec, crop_grid
from deepfake_detector.evaluation.corruption_grid_scores import (
    GridScores,
    conditions_per_picture,
    scorable_pictures,
    score_grid,
)
from deepfake_detector.evaluation.metrics import CropScorer
from deepfake_detector.inference.decision import decide
from deepfake_detector.model.bundle_contract import Contract, Thresholds
from deepfake_detector.model.bundle_profile import (
    BOUNDS,
    FACE_COUNTS,
    QUANTITIES,
    VERDICTS,
    Distribution,
    GroupProfile,
    Profile,
)
from deepfake_detector.paths import Workspace
from deepfake_detector.validation.manifest import read_manifest

OTHER_FAKES = "fake"  # kind of fakes whose source names none


def reference_profile(workspace: Workspace, grid_scores: GridScores, contract: Contract) -> Profile:
    """`summarize_pictures` with the kinds of the manifest and the thresholds of the contract."""
    manifest = read_manifest(workspace.manifest)
    kinds = dict(zip(manifest["path"], manifest["fake_kind"], strict=True))
    return summarize_pictures(grid_scores, kinds, contract.thresholds)


def summarize_pictures(grid_scores: GridScores, kinds: Mapping[str, str], thresholds: Thresholds) -> Profile:
    """Summarize the clean test pictures, those of left-out sources too; unreadable ones are in no prediction log.

    Args:
        grid_scores: of all test pictures under the condition `clean`.
        kinds: path -> kind of fake, "" for real pictures.
        thresholds: of pictures.
    """
    table = grid_scores.under(CLEAN.name).join(grid_scores.pictures.set_index("path"))
    table = table[table["faces"].notna()]
    fallback = np.where(table["label"] == 1, OTHER_FAKES, "")
    table = table.assign(
        kind=[kinds.get(path, "") or other for path, other in zip(table.index, fallback, strict=True)],
        largest_face_px=table["face_px"].where(table["faces"] > 0).round(1),
        **{name: table[name].round(2) for name in ("brightness", "contrast", "sharpness")},
    )
    groups = table.groupby(["source", "kind"], sort=True)
    return Profile(groups=tuple(_group(rows, thresholds) for _, rows in groups))


def score_clean_pictures(workspace: Workspace, settings: Settings, contract: Contract, score: CropScorer) -> GridScores:
    """Score every test picture of a checkout as serving does, without corruptions.

    Args:
        workspace: holds data/raw, data/manifest.parquet and data/shards.
        settings: params.yaml.
        contract: of the model.
        score: of the calibrated engine.
    """
    index = pd.read_parquet(workspace.shards / "index.parquet")
    pictures = scorable_pictures(read_manifest(workspace.manifest), index)
    spec = GridCropSpec(contract.side_px, contract.min_face_px, contract.crop_scale, settings.evaluate.seed)
    conditions = conditions_per_picture(pictures, frozenset())
    crops = crop_grid(workspace.raw, settings.download.max_unpacked_bytes, spec, conditions)
    return GridScores(*score_grid(crops, score), frozenset())


def _group(rows: pd.DataFrame, thresholds: Thresholds) -> GroupProfile:
    scores = [None if np.isnan(value) else float(value) for value in rows["p_fake"]]
    verdicts = [decide(p_fake, thresholds) for p_fake in scores]
    faces = np.minimum(rows["faces"].to_numpy(np.int64), FACE_COUNTS - 1)
    quantities = {name: np.clip(rows[name].to_numpy(np.float64), *BOUNDS[name]) for name in QUANTITIES}
    return GroupProfile(
        source=str(rows["source"].iloc[0]),
        kind=str(rows["kind"].iloc[0]),
        pictures=len(rows),
        unscored=scores.count(None),
        verdicts={verdict: verdicts.count(verdict) for verdict in VERDICTS},
        faces=tuple(int(count) for count in np.bincount(faces, minlength=FACE_COUNTS)),
        quantities={name: Distribution.of(values) for name, values in quantities.items()},
    )
