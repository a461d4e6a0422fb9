"""Classes (b,), 0 = real, and logits of kinds (b, k) or of places (b, h, w, k) -> loss (b,), figures, optimizer."""

from __future__ import annotations

from typing import Any

import keras

from deepfake_detector.config import Train

LOGIT_REACH, LOGIT_STEPS = 32.0, 4001  # logits up to 32 either way, 0.016 apart


def kinds_loss(classes: Any, logits: Any) -> Any:
    """Cross-entropy (b,) of real against k kinds of fakes; a real face has the logit 0 by definition.

    With k = 1 this is the binary cross-entropy of the original README, and every kind counts as fake.

    Args:
        classes: of faces (b,) or (b, 1), or of the places of each (b, h, w, 1), as `augment.Patchwork` gives them.
        logits: of faces (b, k) or of the places of each (b, h, w, k), whose mean is that of the face.

    Returns:
        With classes of places, half of it is of the face as a whole, whose truth is the mixture of its places, and
        half is the mean of its places.
    """
    logits = keras.ops.cast(logits, "float32")
    if len(classes.shape) < 4:
        return keras.losses.sparse_categorical_crossentropy(_known(classes, logits), _with_real(_whole(logits)), True)
    known = keras.ops.reshape(_known(classes, logits), keras.ops.shape(logits)[:3])
    mixture = keras.ops.mean(keras.ops.one_hot(known, logits.shape[-1] + 1, dtype="float32"), axis=(1, 2))
    of_face = keras.losses.categorical_crossentropy(mixture, _with_real(_whole(logits)), True)
    of_places = keras.losses.sparse_categorical_crossentropy(known, _with_real(logits), True)
    return (of_face + keras.ops.mean(of_places, axis=(1, 2))) / 2


def any_fake(logits: Any) -> Any:
    """The logit (b,) of being a fake of any kind, from logits of faces (b, k) or of the places of each (b, h, w, k)."""
    return keras.ops.logsumexp(_whole(keras.ops.cast(logits, "float32")), axis=-1)


def _whole(logits: Any) -> Any:
    return logits if len(logits.shape) == 2 else keras.ops.mean(logits, axis=(1, 2))


def _with_real(logits: Any) -> Any:
    return keras.ops.concatenate([keras.ops.zeros_like(logits[..., :1]), logits], axis=-1)


def _known(classes: Any, logits: Any) -> Any:
    """Flat; kinds that the network does not tell apart count as its last one."""
    return keras.ops.minimum(keras.ops.cast(keras.ops.reshape(classes, (-1,)), "int32"), logits.shape[-1])


def _is_fake(classes: Any) -> Any:
    """(b,): of a patchwork, whether half of its places or more are."""
    fake = keras.ops.cast(classes > 0, "float32")
    if len(classes.shape) < 4:
        return keras.ops.reshape(fake, (-1,))
    return keras.ops.cast(keras.ops.mean(fake, axis=(1, 2, 3)) >= 0.5, "float32")


class FakeAUC(keras.metrics.AUC):  # type: ignore[misc]
    """Area under the ROC curve of fake against real.

    Keras counts in 200 steps of probability, most of them around one half, where a sure network has no scores: an AUC
    of 0.977 came out as 0.958, and the best epoch was the least sure one. So the steps are of the logit here.
    """

    def __init__(self, name: str = "auc") -> None:
        super().__init__(num_thresholds=LOGIT_STEPS, name=name)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: classes and logits as `kinds_loss` takes them."""
        place = keras.ops.clip(any_fake(y_pred) / (2 * LOGIT_REACH) + 0.5, 0, 1)
        super().update_state(_is_fake(y_true), place, sample_weight)


class FakeAccuracy(keras.metrics.BinaryAccuracy):  # type: ignore[misc]
    """Share of faces on their own side of an even chance."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: classes and logits as `kinds_loss` takes them."""
        super().update_state(_is_fake(y_true), any_fake(y_pred), sample_weight)


def metrics() -> list[keras.metrics.Metric]:
    """Fresh ones, for `compile`."""
    return [FakeAccuracy(threshold=0.0, name="accuracy"), FakeAUC()]


def optimizer(settings: Train, steps: int) -> Any:
    """Adam for the original network, as its README says; Adam with decoupled weight decay for ours.

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
    decoupled = keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay)
    decoupled.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return decoupled
