"""Classes (b,), 0 = real, and logits of faces (b, k) or of cells (b, h, w, k) -> loss (b,), metrics, optimizer."""

from __future__ import annotations

from typing import Any

import keras

from deepfake_detector.config import Train
from deepfake_detector.model.backbone import block_index

MAX_ABS_LOGIT, AUC_THRESHOLDS = 32.0, 4001  # logits up to 32 either way, 0.016 apart


def kinds_loss(classes: Any, logits: Any) -> Any:
    """Cross-entropy (b,) of real against k kinds of fakes; the logit of real is 0 by definition.

    With k = 1 this is the binary cross-entropy of the original README, and every kind counts as fake.

    Args:
        classes: of faces (b,) or (b, 1), or of the cells of each face (b, h, w, 1), as `CutMixPatches` gives them.
        logits: of faces (b, k), or of the cells of each face (b, h, w, k), whose mean is the logit of the face; or of
            the cells in several branches (b, h, w, branches, k): the loss is then the mean of the branches' losses.

    Returns:
        With classes of cells: the mean of two losses, that of the face, whose label is the mixture of its cells'
        labels, and the mean loss of its cells.
    """
    logits = keras.ops.cast(logits, "float32")
    if len(logits.shape) == 5:
        branches = [kinds_loss(classes, logits[..., i, :]) for i in range(logits.shape[3])]
        return keras.ops.mean(keras.ops.stack(branches), axis=0)
    if len(classes.shape) < 4:
        known = _flat_classes(classes, logits)
        return keras.losses.sparse_categorical_crossentropy(known, _prepend_real_logit(_face_logits(logits)), True)
    known = keras.ops.reshape(_flat_classes(classes, logits), keras.ops.shape(logits)[:3])
    mixture = keras.ops.mean(keras.ops.one_hot(known, logits.shape[-1] + 1, dtype="float32"), axis=(1, 2))
    face_loss = keras.losses.categorical_crossentropy(mixture, _prepend_real_logit(_face_logits(logits)), True)
    cell_loss = keras.losses.sparse_categorical_crossentropy(known, _prepend_real_logit(logits), True)
    return (face_loss + keras.ops.mean(cell_loss, axis=(1, 2))) / 2


def fake_logit(logits: Any) -> Any:
    """The logit (b,) of being a fake of any kind, from logits as `kinds_loss` takes them; of branches, their mean's."""
    return keras.ops.logsumexp(_face_logits(keras.ops.cast(logits, "float32")), axis=-1)


def _face_logits(logits: Any) -> Any:
    return keras.ops.mean(logits, axis=tuple(range(1, len(logits.shape) - 1))) if len(logits.shape) > 2 else logits


def _prepend_real_logit(logits: Any) -> Any:
    return keras.ops.concatenate([keras.ops.zeros_like(logits[..., :1]), logits], axis=-1)


def _flat_classes(classes: Any, logits: Any) -> Any:
    """Flattened; a kind that the network has no logit for counts as its last one."""
    return keras.ops.minimum(keras.ops.cast(keras.ops.reshape(classes, (-1,)), "int32"), logits.shape[-1])


def _fake_labels(classes: Any) -> Any:
    """Labels (b,), 1 = fake; a mixed crop is fake if half of its cells or more are."""
    fake = keras.ops.cast(classes > 0, "float32")
    if len(classes.shape) < 4:
        return keras.ops.reshape(fake, (-1,))
    return keras.ops.cast(keras.ops.mean(fake, axis=(1, 2, 3)) >= 0.5, "float32")


class BinaryAUC(keras.metrics.AUC):  # type: ignore[misc]
    """Area under the ROC curve of fake against real.

    Keras places 200 thresholds evenly over the probability, so a confident network has nearly all its scores between
    two of them: an AUC of 0.977 was computed as 0.958, and the least confident epoch was chosen as the best. Here the
    thresholds are evenly spaced logits.
    """

    def __init__(self, name: str = "auc") -> None:
        super().__init__(num_thresholds=AUC_THRESHOLDS, name=name)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: classes and logits as `kinds_loss` takes them."""
        score = keras.ops.clip(fake_logit(y_pred) / (2 * MAX_ABS_LOGIT) + 0.5, 0, 1)
        super().update_state(_fake_labels(y_true), score, sample_weight)


class BinaryAccuracy(keras.metrics.BinaryAccuracy):  # type: ignore[misc]
    """Share of faces on the correct side of logit 0."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: classes and logits as `kinds_loss` takes them."""
        super().update_state(_fake_labels(y_true), fake_logit(y_pred), sample_weight)


def build_metrics() -> list[keras.metrics.Metric]:
    """New metrics for `compile`."""
    return [BinaryAccuracy(threshold=0.0, name="accuracy"), BinaryAUC()]


class BackboneAdamW(keras.optimizers.AdamW):  # type: ignore[misc]
    """AdamW whose steps are smaller or larger for the backbone; its weight decay stays that of the other weights.

    Args:
        learning_rate: number or schedule.
        weight_decay: decoupled, times the learning rate.
        factor: of the learning rate of the backbone's layers.
    """

    def __init__(self, learning_rate: Any, weight_decay: float, factor: float) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay)
        self._factor = factor
        self._in_backbone: list[bool] = []

    def build(self, variables: Any) -> None:
        """Remember which variables belong to the backbone, by the names of their layers."""
        if not self.built:
            self._in_backbone = [any(block_index(part) is not None for part in v.path.split("/")) for v in variables]
        super().build(variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable."""
        if self._factor != 1 and self._in_backbone[self._get_variable_index(variable)]:
            learning_rate = learning_rate * self._factor
        super().update_step(gradient, variable, learning_rate)


def build_optimizer(settings: Train, steps: int) -> Any:
    """Adam for the original network, as its README says; AdamW with warm-up and cosine decay for ours.

    Args:
        settings: params.yaml's `train`.
        steps: batches per epoch.
    """
    if settings.network == "original":
        return keras.optimizers.Adam(settings.learning_rate)
    warmup = settings.warmup_epochs * steps
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=settings.learning_rate / 100 if warmup else settings.learning_rate,
        decay_steps=max(1, settings.epochs * steps - warmup),
        warmup_target=settings.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    decoupled = BackboneAdamW(schedule, settings.weight_decay, settings.backbone_learning_rate)
    decoupled.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return decoupled
