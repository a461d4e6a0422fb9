"""How much each shortcut tells, by its AUC -> probes: passed or not, with a sentence that says why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from deepfake_detector.config import Severity, Validate
from deepfake_detector.stats import Auc, Integers, cross_validated_auc
from deepfake_detector.validation.thumbnails import SIDE_PX, border, centre, read_thumbnails

_TELLING = 0.60  # a border that reaches less tells next to nothing, however good it is beside the centre


@dataclass(frozen=True)
class Probe:
    """What one shortcut is worth.

    Attributes:
        name: metadata | thumbnail | border | centre; with several sources followed by which, as in `border (kaggle)`.
        auc, low, high: of the shortcut alone, with its 95 % interval; None if it was not measured.
        threshold: the alarm is raised if `low` lies above it; None if there is nothing to be alarmed about.
        severity: `stop` ends the road, `warn` is written down.
        reason: what was found and what it means, one sentence.
        images: how many pictures it was measured on.
    """

    name: str
    auc: float | None
    low: float | None
    high: float | None
    threshold: float | None
    severity: Severity
    passed: bool
    reason: str
    images: int


def judge(scope: str, found: Mapping[str, Auc], lack: str, images: int, settings: Validate) -> list[Probe]:
    """What was found -> the four probes, measured or not.

    Args:
        scope: added to their names.
        found: AUC by name; empty if nothing was measured.
        lack: then, why not.
        images: how many pictures there were.
        settings: thresholds and severities.
    """
    chosen = settings.severity
    # Two uncertain figures are compared, so the border must lie above the centre's HIGH end.
    above_centre = min(1.0, max(_TELLING, found["centre"].high + settings.max_border_gap)) if found else None
    told: tuple[tuple[str, str, float | None, Severity], ...] = (
        ("metadata", "size and encoding of the file", settings.max_metadata_auc, chosen["metadata"]),
        ("thumbnail", "a grey thumbnail of 32x32 pixels", settings.max_thumbnail_auc, chosen["thumbnail"]),
        ("border", "the thumbnail's border, where no face is,", above_centre, chosen["border"]),
        ("centre", "the thumbnail's centre, without what is behind the face,", None, "warn"),
    )
    probes = []
    for name, what, threshold, severity in told:
        auc = found.get(name)
        if auc is None:
            reason = f"not measured: {lack}"
            probes.append(Probe(name + scope, None, None, None, threshold, severity, True, reason, images))
            continue
        passed = threshold is None or auc.low <= threshold
        reason = f"{what} alone tells real from fake with AUC {auc}{_meaning(passed, threshold)}"
        probes.append(Probe(name + scope, auc.value, auc.low, auc.high, threshold, severity, passed, reason, images))
    return probes


def _meaning(passed: bool, threshold: float | None) -> str:
    if threshold is None:
        return "; for comparison"
    if passed:
        return f", not surely above {threshold:.3f}"
    return f", surely above {threshold:.3f}: a detector may learn this instead of the face"


__all__ = ["Probe", "probe_leaks"]

MIN_PER_CLASS = 50  # with fewer the interval is wider than +-0.11, and nothing can be said
FOLDS = 5
_SEED = 20261122
_CATEGORIES = 200  # gradient boosting takes 255
_NUMBERS = ("bytes", "width_px", "height_px", "exif")
_NAMES = ("mode", "format", "quantization", "subsampling")

Model = Callable[[], Any]  # makes a fresh classifier
Features = NDArray[np.float64] | pd.DataFrame  # (n, features)


def probe_leaks(
    manifest: pd.DataFrame, archive: Path, settings: Validate, max_unpacked_bytes: int
) -> tuple[Probe, ...]:
    """Run all probes on a random sample of readable pictures; the same sample and answers every time.

    With more than one source they run within each, where telling sources apart wins nothing, and once over all
    together, where it wins only if a source lacks a class: then a detector may learn the source, too.

    Args:
        manifest: as `build_manifest` gives it.
        archive: the zip, or folder of zips, that it describes.
        settings: the section `validate` of params.yaml.
        max_unpacked_bytes: see `Archive`.

    Returns:
        Metadata, thumbnail, border and centre, in this order; the four for each scope, if there are several.

    Raises:
        ArchiveRejected, UnreadableImage, InputTooLarge: the archive is not the one that the manifest was made from.
    """
    sample = sample_rows(manifest, settings.probe_images)
    scopes = _scopes(sample["source"])
    enough = any(not _lack(sample.loc[rows]) for rows in scopes.values())
    thumbnails = read_thumbnails(archive, sample["path"].tolist(), max_unpacked_bytes) if enough else None
    probes: list[Probe] = []
    for scope, rows in scopes.items():
        pictures = sample.loc[rows]
        lack = _lack(pictures)
        found = {} if lack or thumbnails is None else _measured(pictures, thumbnails[rows])
        told = lack or "the groups are too few or too large to be parted into five folds with both classes"
        probes += judge(scope, found, told, len(pictures), settings)
    return tuple(probes)


def sample_rows(manifest: pd.DataFrame, images: int) -> pd.DataFrame:
    """At most `images` readable rows: as many of each source, and within it of each class, as far as there are.

    Returns:
        Rows numbered from 0; the same ones whatever the order of the manifest.
    """
    readable = manifest[manifest["error"] == ""].sort_values("path")
    share = max(1, images // (2 * max(1, readable["source"].nunique())))
    kinds = [rows for _, rows in readable.groupby(["source", "label"])]
    parts = [rows.sample(min(len(rows), share), random_state=_SEED) for rows in kinds]
    return pd.concat(parts or [readable]).reset_index(drop=True)


def metadata_features(rows: pd.DataFrame) -> pd.DataFrame:
    """What a file tells without its pixels; the rarest encodings count as one."""
    features = rows[list(_NUMBERS)].astype(np.float64)
    for name in _NAMES:
        common = rows[name].value_counts().index[:_CATEGORIES]
        features[name] = rows[name].where(rows[name].isin(common), "rare").astype("category")
    return features


def _scopes(source: pd.Series) -> dict[str, Integers]:
    """What to add to a probe's name -> rows of the sample."""
    everything = np.arange(len(source), dtype=np.int64)
    names = sorted(source.unique())
    if len(names) <= 1:
        return {"": everything}
    return {" (all sources)": everything} | {f" ({name})": everything[(source == name).to_numpy()] for name in names}


def _lack(rows: pd.DataFrame) -> str:
    """Why nothing can be measured on these pictures, or an empty string."""
    fakes = int(rows["label"].sum())
    fewest = min(fakes, len(rows) - fakes)
    if fewest >= MIN_PER_CLASS:
        return ""
    return f"too few images ({len(rows) - fakes} real, {fakes} fake; {MIN_PER_CLASS} of each are needed)"


def _measured(rows: pd.DataFrame, thumbnails: NDArray[np.uint8]) -> dict[str, Auc]:
    """AUC of each shortcut on pictures with thumbnails (n, 32, 32); empty if the groups cannot be parted."""
    labels = rows["label"].to_numpy(np.int64)
    groups = pd.factorize(rows["group"])[0].astype(np.int64)
    folds = _folds(labels, groups)
    if folds is None:
        return {}
    regression = partial(_regression, len(rows))
    shortcuts: dict[str, tuple[Model, Features]] = {
        "metadata": (_boosting, metadata_features(rows)),
        "thumbnail": (regression, thumbnails.reshape(len(thumbnails), -1).astype(np.float64)),
        "border": (regression, border(thumbnails).astype(np.float64)),
        "centre": (regression, centre(thumbnails).astype(np.float64)),
    }
    # One thread: with two, OpenMP and BLAS spin while they wait for a busy core; 3 to 26 times slower was measured.
    with threadpool_limits(1):
        return {
            name: cross_validated_auc(_out_of_fold(model, features, labels, folds), labels, folds, groups)
            for name, (model, features) in shortcuts.items()
        }


def _folds(labels: Integers, groups: Integers) -> Integers | None:
    """The fold in which each picture is scored, whole groups together; None if a fold would lack a class."""
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=_SEED)
    folds = np.zeros(len(labels), np.int64)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        folds[held_out] = fold
        if len(np.unique(labels[held_out])) < 2:
            return None
    return folds


def _out_of_fold(model: Model, features: Features, labels: Integers, folds: Integers) -> NDArray[np.float64]:
    scores = np.zeros(len(labels))
    for fold in range(FOLDS):
        held_out = folds == fold
        fitted = model().fit(features[~held_out], labels[~held_out])
        scores[held_out] = fitted.decision_function(features[held_out])
    return scores


def _boosting() -> Any:
    return HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=_SEED)


def _regression(pictures: int) -> Any:
    # Both solvers find the same answer: Newton's in six large steps, L-BFGS in a hundred small ones.
    solver = "newton-cholesky" if pictures > SIDE_PX**2 else "lbfgs"
    # C by measurement on 4,000 photographs: 0.01 reaches an AUC of 0.767, 0.001 and 0.1 less.
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, solver=solver, max_iter=1000))
