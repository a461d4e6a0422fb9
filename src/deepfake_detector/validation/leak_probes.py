"""A manifest, thumbnails and textures -> leak probes: cross-validated AUC of shortcuts that reveal the class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from deepfake_detector.config import Severity, Validate
from deepfake_detector.stats import Estimate, Integers, cross_validated_auc
from deepfake_detector.validation.thumbnails import SIDE_PX, border, centre, read_thumbnails_and_textures

MIN_PER_CLASS = 50  # with fewer the interval is wider than +-0.11
FOLDS = 5
_SEED = 20261122
_MIN_BORDER_AUC = 0.60  # a border below it reveals next to nothing, even if it is better than the centre
_MAX_CATEGORIES = 200  # gradient boosting takes 255
_NUMERIC = ("bytes", "width_px", "height_px", "exif")
_CATEGORICAL = ("mode", "format", "quantization", "subsampling")
_TEXTURE_SHORTCUTS = {
    "sharpness": "sharpness (variance of the Laplacian)",
    "compression": "sharpness and compression history (six numbers)",
}

_NO_FOLDS = "the groups are too few or too large to be divided into five folds with both classes"

Model = Callable[[], Any]  # makes a new classifier
Features = NDArray[np.float64] | pd.DataFrame  # (n, features)


@dataclass(frozen=True)
class LeakProbe:
    """How well one shortcut separates the classes.

    Attributes:
        name: metadata | thumbnail | border | centre | sharpness | compression; with several sources followed by one, as
            in `border (kaggle)`.
        auc, low, high: of the shortcut alone, with its 95 % interval; None if it was not measured.
        threshold: the probe fails if `low` is above it; None if it cannot fail.
        severity: what a failure does: `stop` ends the pipeline, `warn` is reported.
        reason: what was measured and what it means, one sentence.
        images: number of pictures that it was measured on.
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


def probe_leaks(
    manifest: pd.DataFrame, archive: Path, settings: Validate, max_unpacked_bytes: int
) -> tuple[LeakProbe, ...]:
    """Run all probes on a random sample of readable pictures; sample and results are the same every time.

    With more than one source they run within each source, where recognising the source does not help, and once over
    all sources, where it helps only if a source lacks a class: then a detector may learn the source, too.

    Args:
        manifest: as `build_manifest` returns it.
        archive: the zip, or folder of zips, that it describes.
        settings: the section `validate` of params.yaml.
        max_unpacked_bytes: see `Archive`.

    Returns:
        Metadata, thumbnail, border, centre, sharpness and compression, in this order; these six for each scope, if
        there are several.

    Raises:
        ArchiveRejected, UnreadableImage, InputTooLarge: the archive is not the one that the manifest describes.
    """
    sample = sample_images(manifest, settings.probe_images)
    scopes = _scopes(sample["source"])
    measurable = any(not _too_few_images(sample.loc[rows]) for rows in scopes.values())
    paths = sample["path"].tolist()
    pixels = read_thumbnails_and_textures(archive, paths, max_unpacked_bytes) if measurable else None
    probes: list[LeakProbe] = []
    for scope, rows in scopes.items():
        images = sample.loc[rows]
        obstacle = _too_few_images(images)
        aucs = {} if obstacle or pixels is None else _shortcut_aucs(images, pixels[0][rows], pixels[1][rows])
        probes += probes_from_aucs(scope, aucs, obstacle or _NO_FOLDS, len(images), settings)
    return tuple(probes)


def probe_textures(
    rows: pd.DataFrame, textures: NDArray[np.float64], max_auc: float, prefix: str = "", scope: str = ""
) -> tuple[LeakProbe, ...]:
    """How well sharpness and compression history separate the classes.

    Args:
        rows: n pictures or crops, `label` and `group`; numbered from 0.
        textures: (n, 6) of them, see `measure_texture`.
        max_auc: a probe warns above it.
        prefix, scope: of the names: `matched sharpness (faces)`.

    Returns:
        Sharpness and compression.
    """
    obstacle = _too_few_images(rows)
    aucs = {} if obstacle else _aucs(rows, _texture_shortcuts(textures))
    rules = [_Rule(prefix + name, text, max_auc, "warn") for name, text in _TEXTURE_SHORTCUTS.items()]
    found = [aucs.get(name) for name in _TEXTURE_SHORTCUTS]
    return tuple(
        _judge(rule, scope, auc, obstacle or _NO_FOLDS, len(rows)) for rule, auc in zip(rules, found, strict=True)
    )


def probes_from_aucs(
    scope: str, aucs: Mapping[str, Estimate], obstacle: str, images: int, settings: Validate
) -> list[LeakProbe]:
    """Compare the AUC of each shortcut with its threshold.

    Args:
        scope: appended to the names.
        aucs: by name; empty if nothing was measured.
        obstacle: why nothing was measured.
        images: number of pictures.
        settings: thresholds and severities.

    Returns:
        The six probes, measured or not.
    """
    severity = settings.severity
    # Two estimates are compared, so the border must lie above the HIGH end of the centre's interval.
    above_centre = min(1.0, max(_MIN_BORDER_AUC, aucs["centre"].high + settings.max_border_gap)) if aucs else None
    rules = (
        _Rule("metadata", "file metadata (size and encoding)", settings.max_metadata_auc, severity["metadata"]),
        _Rule("thumbnail", "a grey thumbnail of 32x32 pixels", settings.max_thumbnail_auc, severity["thumbnail"]),
        _Rule("border", "the border of the thumbnail (no face)", above_centre, severity["border"]),
        _Rule("centre", "the centre of the thumbnail (no background)", None, "warn"),
        *(_Rule(name, text, settings.max_sharpness_auc, "warn") for name, text in _TEXTURE_SHORTCUTS.items()),
    )
    return [_judge(rule, scope, aucs.get(rule.name), obstacle, images) for rule in rules]


class _Rule(NamedTuple):
    name: str
    shortcut: str  # for people
    threshold: float | None
    severity: Severity


def _judge(rule: _Rule, scope: str, auc: Estimate | None, obstacle: str, images: int) -> LeakProbe:
    name, threshold, severity = rule.name + scope, rule.threshold, rule.severity
    if auc is None:
        return LeakProbe(name, None, None, None, threshold, severity, True, f"not measured: {obstacle}", images)
    passed = threshold is None or auc.low <= threshold
    reason = f"{rule.shortcut} alone separates real from fake with AUC {auc}{_comparison(passed, threshold)}"
    return LeakProbe(name, auc.value, auc.low, auc.high, threshold, severity, passed, reason, images)


def sample_images(manifest: pd.DataFrame, images: int) -> pd.DataFrame:
    """At most `images` readable rows: equally many of each source, and within it of each class, as far as there are.

    Returns:
        Rows numbered from 0; the same ones whatever the order of the manifest.
    """
    readable = manifest[manifest["error"] == ""].sort_values("path")
    share = max(1, images // (2 * max(1, readable["source"].nunique())))
    groups = [rows for _, rows in readable.groupby(["source", "label"])]
    parts = [rows.sample(min(len(rows), share), random_state=_SEED) for rows in groups]
    return pd.concat(parts or [readable]).reset_index(drop=True)


def metadata_features(rows: pd.DataFrame) -> pd.DataFrame:
    """Properties of a file without its pixels; the rarest encodings count as one."""
    features = rows[list(_NUMERIC)].astype(np.float64)
    for name in _CATEGORICAL:
        common = rows[name].value_counts().index[:_MAX_CATEGORIES]
        features[name] = rows[name].where(rows[name].isin(common), "rare").astype("category")
    return features


def _comparison(passed: bool, threshold: float | None) -> str:
    if threshold is None:
        return "; for comparison"
    if passed:
        return f", not significantly above {threshold:.3f}"
    return f", significantly above {threshold:.3f}: a detector may learn this instead of the face"


def _scopes(source: pd.Series) -> dict[str, Integers]:
    """Suffix of the probes' names -> rows of the sample."""
    everything = np.arange(len(source), dtype=np.int64)
    names = sorted(source.unique())
    if len(names) <= 1:
        return {"": everything}
    return {" (all sources)": everything} | {f" ({name})": everything[(source == name).to_numpy()] for name in names}


def _too_few_images(rows: pd.DataFrame) -> str:
    """Why nothing can be measured on these pictures, or an empty string."""
    fakes = int(rows["label"].sum())
    fewest = min(fakes, len(rows) - fakes)
    if fewest >= MIN_PER_CLASS:
        return ""
    return f"too few images ({len(rows) - fakes} real, {fakes} fake; {MIN_PER_CLASS} of each are needed)"


def _shortcut_aucs(
    rows: pd.DataFrame, thumbnails: NDArray[np.uint8], textures: NDArray[np.float64]
) -> dict[str, Estimate]:
    """AUC of each shortcut on pictures with thumbnails (n, 32, 32) and textures (n, 6)."""
    regression = partial(_regression, len(rows))
    shortcuts: dict[str, tuple[Model, Features]] = {
        "metadata": (_boosting, metadata_features(rows)),
        "thumbnail": (regression, thumbnails.reshape(len(thumbnails), -1).astype(np.float64)),
        "border": (regression, border(thumbnails).astype(np.float64)),
        "centre": (regression, centre(thumbnails).astype(np.float64)),
    }
    return _aucs(rows, shortcuts | _texture_shortcuts(textures))


def _texture_shortcuts(textures: NDArray[np.float64]) -> dict[str, tuple[Model, Features]]:
    return {"sharpness": (_quadratic, textures[:, :1]), "compression": (_quadratic, textures)}


def _aucs(rows: pd.DataFrame, shortcuts: Mapping[str, tuple[Model, Features]]) -> dict[str, Estimate]:
    """AUC of each shortcut; empty if the groups give no folds."""
    labels = rows["label"].to_numpy(np.int64)
    groups = pd.factorize(rows["group"])[0].astype(np.int64)
    folds = _folds(labels, groups)
    if folds is None:
        return {}
    # One thread: with two, OpenMP and BLAS spin while they wait for a busy core; 3 to 26 times slower was measured.
    with threadpool_limits(1):
        return {
            name: cross_validated_auc(_out_of_fold_scores(model, features, labels, folds), labels, folds, groups)
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


def _out_of_fold_scores(model: Model, features: Features, labels: Integers, folds: Integers) -> NDArray[np.float64]:
    scores = np.zeros(len(labels))
    for fold in range(FOLDS):
        held_out = folds == fold
        fitted = model().fit(features[~held_out], labels[~held_out])
        scores[held_out] = fitted.decision_function(features[held_out])
    return scores


def _boosting() -> Any:
    return HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=_SEED)


def _quadratic() -> Any:
    """Squares and products of a few features: a class may lie in the middle of the other."""
    return make_pipeline(StandardScaler(), PolynomialFeatures(2), LogisticRegression(max_iter=1000))


def _regression(images: int) -> Any:
    # Both solvers find the same optimum: Newton's in six large steps, L-BFGS in a hundred small ones.
    solver = "newton-cholesky" if images > SIDE_PX**2 else "lbfgs"
    # C by measurement on 4,000 photographs: 0.01 reaches an AUC of 0.767, 0.001 and 0.1 less.
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, solver=solver, max_iter=1000))
