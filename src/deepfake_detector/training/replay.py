"""Features (n, d) of earlier and of own pictures -> a network whose classifiers know both; all else stays as it was.

Latent replay (Pellegrini et al. 2020): the classifiers are linear, so the mean features of a face decide its logits. A
bundle's earlier pictures may not be passed on, but a few features of each may.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp

from deepfake_detector.config import Train
from deepfake_detector.errors import SettingsError
from deepfake_detector.io import atomic_write
from deepfake_detector.media.augmentation import Augment
from deepfake_detector.model.bundle import Contract
from deepfake_detector.model.network import build_network, classifier_layers, dtype_policy, portable_copy
from deepfake_detector.preparation.shards import Shards
from deepfake_detector.stats import auc
from deepfake_detector.training.balanced_batches import balanced_valid_batches
from deepfake_detector.training.checkpoint import EpochMetrics
from deepfake_detector.training.fit import TrainingResult
from deepfake_detector.training.starting_weights import StartingWeights

Floats = NDArray[np.float64]
# Chosen on the validation split of 120 and of 36 own pictures and on earlier features left out (docs/own-pictures.md).
OWN_SHARE = 0.3  # of the loss
PENALTY = 1e-5  # of the squared change of the weights, for features of unit length
HELD_OUT_EVERY = 3  # of the earlier features, every third is not fitted to: it shows what was forgotten
COMMAND = "python -m pipelines.replay"


@dataclass(frozen=True, eq=False)
class Features:
    """Mean inputs of the classifiers, one branch after the other.

    Attributes:
        values: (n, d).
        classes: (n,), 0 = real, 1.. = kinds of fakes.
    """

    values: Floats
    classes: NDArray[np.int64]

    def rows(self, chosen: NDArray[np.bool_]) -> Features:
        """Some of them."""
        return Features(self.values[chosen], self.classes[chosen])


@dataclass(frozen=True, eq=False)
class Classifier:
    """A linear layer: features (n, d) -> logits of the kinds (n, k)."""

    kernel: Floats  # (d, k)
    bias: Floats  # (k,)

    def logits(self, features: Features) -> Floats:
        """(n, k) against real."""
        return np.asarray(features.values @ self.kernel + self.bias, np.float64)


def read_replay(path: Path, kinds: tuple[str, ...], weights_sha256: str) -> Features:
    """Features of earlier pictures, by a network with these weights.

    Raises:
        SettingsError: there is no such file, or it is of another network or of other kinds.
    """
    hint = f"make it for this model: {COMMAND} --help says how; or set train.replay to ''"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found, weights = tuple(str(arrays["kinds"]).split()), str(arrays["weights_sha256"])
            features = Features(arrays["features"].astype(np.float64), arrays["classes"].astype(np.int64))
    except (OSError, KeyError, ValueError) as error:
        raise SettingsError(f"train.replay is {path}, which holds no features: {error}", hint) from error
    if (found, weights) != (kinds, weights_sha256):
        raise SettingsError(
            f"train.replay is {path}, of weights {weights[:12]} and kinds {', '.join(found)}; "
            f"train.start_from has {weights_sha256[:12] or 'no bundle'} and {', '.join(kinds)}",
            hint,
        )
    return features


def write_replay(path: Path, features: Features, kinds: tuple[str, ...], weights_sha256: str) -> None:
    """Write features for `read_replay`, as float16."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file, features=features.values.astype(np.float16), classes=features.classes.astype(np.uint8),
            kinds=np.asarray(" ".join(kinds)), weights_sha256=np.asarray(weights_sha256),
        )  # fmt: skip


def measure_features(network: keras.Model, batches: tf.data.Dataset) -> Features:
    """Features of batches of (crops (b, side, side, 3), classes (b,)) by a network as `portable_copy` returns it."""
    pooled = [keras.ops.mean(layer.input, axis=(1, 2)) for layer in classifier_layers(network)]
    inner = keras.Model(network.input, keras.ops.concatenate(pooled, axis=-1))
    run = tf.function(lambda crops: inner(crops, training=False), reduce_retracing=True)
    measured = [(np.asarray(run(crops), np.float64), np.asarray(classes, np.int64)) for crops, classes in batches]
    return Features(np.concatenate([values for values, _ in measured]), np.concatenate([each for _, each in measured]))


def measure_bundle(start: StartingWeights, contract: Contract, shards: Shards) -> Features:
    """Features of at most `MAX_VALID_CROPS` validation crops of each class of each source, by a bundle's network."""
    index = shards.index()
    sources = dict.fromkeys(index.loc[index["split"] == "valid", "source"].unique(), 1.0)
    valid = balanced_valid_batches(shards, index, sources, contract.kinds, [Augment("none")])
    with dtype_policy("float32"):
        network = build_network(contract.network, shards.side_px, 0.0, fused=True, kinds=len(contract.kinds))
        start.apply(network, contract.kinds, lambda _: valid)
    return measure_features(portable_copy(network, shards.side_px), valid)


def read_classifier(network: keras.Model) -> Classifier:
    """The classifiers of a network's branches as one: the logits of a face are the mean of theirs."""
    layers = classifier_layers(network)
    kernels, biases = zip(*(layer.get_weights() for layer in layers), strict=True)
    kernel = np.concatenate([each.reshape(-1, each.shape[-1]) for each in kernels]).astype(np.float64)
    return Classifier(kernel / len(layers), np.mean(biases, axis=0, dtype=np.float64))


def set_classifier(network: keras.Model, classifier: Classifier) -> None:
    """Set the classifiers of the branches; the inverse of `read_classifier` but for how the bias is shared."""
    layers, start = classifier_layers(network), 0
    for layer in layers:
        kernel = layer.get_weights()[0]
        end = start + kernel.shape[-2]
        part = (classifier.kernel[start:end] * len(layers)).reshape(kernel.shape)
        layer.set_weights([part.astype(np.float32), classifier.bias.astype(np.float32)])
        start = end


def fit_classifier(start: Classifier, earlier: Features, own: Features) -> Classifier:
    """Minimise the cross-entropy of both, each with as much weight on reals as on fakes, near the given classifier."""
    mean, deviation = earlier.values.mean(axis=0), earlier.values.std(axis=0) + 1e-3
    both = Features(np.concatenate([earlier.values, own.values]), np.concatenate([earlier.classes, own.classes]))
    scale = 1 / (deviation * np.sqrt(len(mean)))
    x, given = (both.values - mean) * scale, start.logits(both)
    weight = np.concatenate([_balanced(earlier.classes) * (1 - OWN_SHARE), _balanced(own.classes) * OWN_SHARE])
    d, k = start.kernel.shape
    target = np.eye(k + 1)[both.classes]

    def loss(change: Floats) -> tuple[float, Floats]:
        kernel, bias = change[: d * k].reshape(d, k), change[d * k :]
        log_p = log_softmax(np.column_stack([np.zeros(len(x)), given + x @ kernel + bias]), axis=1)
        gradient = ((np.exp(log_p) - target) * weight[:, None])[:, 1:]
        value = -(weight * (log_p * target).sum(axis=1)).sum() + PENALTY / 2 * (kernel**2).sum()
        return float(value), np.concatenate([(x.T @ gradient + PENALTY * kernel).ravel(), gradient.sum(axis=0)])

    best = minimize(loss, np.zeros((d + 1) * k), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    change = best[: d * k].reshape(d, k) * scale[:, None]
    return Classifier(start.kernel + change, start.bias + best[d * k :] - mean @ change)


def _balanced(classes: NDArray[np.int64]) -> Floats:
    """Weights with the sum 1, half of it on reals."""
    fake = classes > 0
    return np.asarray(np.where(fake, 0.5 / max(1, fake.sum()), 0.5 / max(1, (~fake).sum())), np.float64)


def fit_with_replay(
    settings: Train,
    side_px: int,
    kinds: tuple[str, ...],
    own: tf.data.Dataset,
    valid: tf.data.Dataset,
    earlier: Features,
    on_epoch: Callable[[int, Mapping[str, float]], None],
    set_starting_weights: Callable[[keras.Model], None],
) -> TrainingResult:
    """Fit the classifiers of the starting network to own crops and to earlier features.

    Args:
        settings: params.yaml's `train`.
        side_px: side of the crops.
        kinds: of fakes, in the order of the classes 1, 2, ...
        own: batches of own training crops and classes.
        valid: the same of the validation split.
        earlier: see `read_replay`.
        on_epoch: called with 1 and the metrics.
        set_starting_weights: called with the new network.
    """
    keras.utils.set_random_seed(settings.seed)
    with dtype_policy("float32"):
        network = build_network(settings.network, side_px, 0.0, fused=True, kinds=len(kinds))
        set_starting_weights(network)
    model = portable_copy(network, side_px)
    held_out = np.arange(len(earlier.classes)) % HELD_OUT_EVERY == 0
    trained, before = measure_features(model, own), read_classifier(model)
    after = fit_classifier(before, earlier.rows(~held_out), trained)
    set_classifier(model, after)
    validated, kept = measure_features(model, valid), earlier.rows(held_out)
    metrics: EpochMetrics = {
        "epoch": 1, **_metrics("", after, trained), **_metrics("val_", after, validated),
        **_metrics("val_before_", before, validated), **_metrics("earlier_", after, kept),
        **_metrics("earlier_before_", before, kept), "learning_rate": 0.0,
    }  # fmt: skip
    on_epoch(1, metrics)
    print(describe_change(metrics), flush=True)
    return TrainingResult(model, [metrics], model.count_params(), "float32", 0, 1)


def describe_change(metrics: Mapping[str, float]) -> str:
    """What was learned and what was forgotten, in two lines."""
    return "\n".join(
        f"{name}: accuracy {metrics[f'{key}before_accuracy']:.3f} before, {metrics[f'{key}accuracy']:.3f} after; "
        f"AUC {metrics[f'{key}before_auc']:.3f} before, {metrics[f'{key}auc']:.3f} after"
        for key, name in (("val_", "own validation pictures"), ("earlier_", "earlier pictures, not fitted to"))
    )


def _metrics(prefix: str, classifier: Classifier, features: Features) -> dict[str, float]:
    logits = logsumexp(classifier.logits(features), axis=1)
    fake = (features.classes > 0).astype(np.int64)
    loss = np.logaddexp(0, np.where(fake == 1, -logits, logits)).mean()
    area = auc(logits, fake) if 0 < fake.sum() < len(fake) else float("nan")
    values: dict[str, Any] = {"loss": loss, "accuracy": ((logits > 0) == fake).mean(), "auc": area}
    return {f"{prefix}{name}": float(value) for name, value in values.items()}
