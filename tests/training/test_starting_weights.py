"""`train.start_from`: what is read from where, what fits which network, and what is refused with its name."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from deepfake_detector.config import Train, read_settings
from deepfake_detector.errors import BundleCorrupt, ModelNotFound, SettingsError
from deepfake_detector.model.bundle import Bundle, write_bundle
from deepfake_detector.model.export import export_onnx, save_trained
from deepfake_detector.model.network import BACKBONE_MAP, MAP_LAYER, RESIDUAL_MAP, build_network
from deepfake_detector.paths import Workspace
from deepfake_detector.training import starting_weights as module
from deepfake_detector.training.starting_weights import starting_weights
from tests.small_networks import use_small_backbone, use_small_residual

SIDE_PX = 64
KINDS = ("synthetic", "swap")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few layers, and a backbone whose ImageNet weights are all 0.25."""
    use_small_backbone(monkeypatch)
    use_small_residual(monkeypatch)

    def load(model: keras.Model) -> None:
        layer = model.get_layer("stem")
        layer.set_weights([np.full(array.shape, 0.25, np.float32) for array in layer.get_weights()])

    monkeypatch.setattr(module, "load_imagenet_weights", load)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def settings() -> Train:
    return replace(read_settings(ROOT / "params.yaml").train, network="fused", dropout=0.0)


def crops(n: int) -> NDArray[np.uint8]:
    return np.random.default_rng(n).integers(0, 256, (n, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)


def batches(first: int) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((crops(32), np.zeros(32, np.int64))).batch(16).repeat()


def trained(name: str, kinds: int = 2, seed: int = 5) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return build_network(name, SIDE_PX, 0.0, kinds=kinds)


def make_bundle(tiny: Callable[..., object], model: keras.Model, path: Path, **changed: object) -> Bundle:
    path.parent.mkdir(parents=True, exist_ok=True)
    graph, reference = path.with_suffix(".onnx"), path.with_suffix(".npz")
    export_onnx(model, crops(2), graph, reference)
    contract = tiny.contract(network=model.name, **changed)  # type: ignore[attr-defined]
    return write_bundle(path, graph, contract, reference, "# card\n")


def start(workspace: Workspace, settings: Train, kinds: tuple[str, ...] = KINDS) -> keras.Model:
    """A new network with its starting weights."""
    keras.utils.set_random_seed(1)
    model = build_network(settings.network, SIDE_PX, 0.0, fused=True, kinds=len(kinds))
    starting_weights(workspace, settings).apply(model, kinds, batches)
    return model


def maps(model: keras.Model, *names: str) -> list[NDArray[np.float32]]:
    """Outputs of inner layers for four crops."""
    inner = [keras.Model(model.input, model.get_layer(name).output) for name in names]
    return [np.asarray(each.predict(crops(4), verbose=0)) for each in inner]


@pytest.mark.parametrize("start_from", ["", "imagenet"])
def test_a_backbone_has_imagenet_weights_and_the_rest_is_random(
    settings: Train, tmp_path: Path, start_from: str
) -> None:
    found = start(Workspace(tmp_path), replace(settings, start_from=start_from))
    assert np.all(found.get_layer("stem").get_weights()[0] == 0.25)
    keras.utils.set_random_seed(1)
    random = build_network("fused", SIDE_PX, 0.0, fused=True, kinds=2)
    assert np.array_equal(found.get_layer("conv0_0").get_weights()[0], random.get_layer("conv0_0").get_weights()[0])


def test_imagenet_needs_a_backbone(settings: Train, tmp_path: Path) -> None:
    wanted = replace(settings, network="residual", start_from="imagenet")
    with pytest.raises(SettingsError, match=r"train\.start_from imagenet needs the network .*fused, not residual"):
        starting_weights(Workspace(tmp_path), wanted)


def test_no_model_means_an_empty_digest(settings: Train, tmp_path: Path) -> None:
    assert starting_weights(Workspace(tmp_path), settings).sha256 == ""


@pytest.mark.parametrize(
    ("start_from", "folder"), [("shipped", "pretrained"), ("champion", "models/champion"), ("x/y", "x/y")]
)
def test_the_residual_branch_comes_from_a_bundle(
    settings: Train, tmp_path: Path, tiny: Callable[..., object], start_from: str, folder: str
) -> None:
    source = trained("residual")
    bundle = make_bundle(tiny, source, tmp_path / folder)
    wanted = replace(settings, start_from=start_from)
    assert starting_weights(Workspace(tmp_path), wanted).sha256 == bundle.sha256
    found = start(Workspace(tmp_path), wanted)
    expected, got = maps(source, MAP_LAYER)[0], maps(found, RESIDUAL_MAP)[0]
    assert np.allclose(expected, got, atol=1e-4)
    assert np.all(found.get_layer("stem").get_weights()[0] == 0.25)  # the backbone has ImageNet weights


def test_both_branches_come_from_a_fused_bundle(settings: Train, tmp_path: Path, tiny: Callable[..., object]) -> None:
    source = trained("fused")
    make_bundle(tiny, source, tmp_path / "pretrained")
    found = start(Workspace(tmp_path), replace(settings, start_from="shipped"))
    for expected, got in zip(
        maps(source, RESIDUAL_MAP, BACKBONE_MAP), maps(found, RESIDUAL_MAP, BACKBONE_MAP), strict=True
    ):
        assert np.allclose(expected, got, atol=1e-3)


def test_kinds_of_a_bundle_are_matched_by_name(settings: Train, tmp_path: Path, tiny: Callable[..., object]) -> None:
    source = trained("residual")
    make_bundle(tiny, source, tmp_path / "pretrained", kinds=("synthetic", "swap"))
    found = start(Workspace(tmp_path), replace(settings, network="residual", start_from="shipped"), ("swap",))
    assert np.allclose(maps(source, MAP_LAYER)[0][..., 1:], maps(found, MAP_LAYER)[0], atol=1e-4)


@pytest.mark.parametrize(
    ("source", "target", "pairs"),
    [
        ("residual", "residual", [(MAP_LAYER, MAP_LAYER)]),
        ("residual", "fused", [(MAP_LAYER, RESIDUAL_MAP)]),
        ("fused", "residual", [(RESIDUAL_MAP, MAP_LAYER)]),
        ("efficientnet_lite0", "fused", [(BACKBONE_MAP, BACKBONE_MAP)]),
        ("fused", "efficientnet_lite0", [(BACKBONE_MAP, BACKBONE_MAP)]),
        ("fused", "fused", [(RESIDUAL_MAP, RESIDUAL_MAP), (BACKBONE_MAP, BACKBONE_MAP)]),
        ("plain", "plain", [(MAP_LAYER, MAP_LAYER)]),
        ("original", "original", [(MAP_LAYER, MAP_LAYER)]),
    ],
)
def test_branches_come_from_a_keras_file(
    settings: Train, tmp_path: Path, source: str, target: str, pairs: list[tuple[str, str]]
) -> None:
    given = trained(source)
    save_trained(given, tmp_path / "m.keras")
    wanted = replace(settings, network=target, start_from="m.keras")  # type: ignore[arg-type]
    found = start(Workspace(tmp_path), wanted)
    for theirs, ours in pairs:
        assert np.allclose(maps(given, theirs)[0], maps(found, ours)[0], atol=1e-4)


def test_a_path_without_a_model_is_refused(settings: Train, tmp_path: Path) -> None:
    for named in ("champion", "nowhere.keras", "nowhere"):
        with pytest.raises(ModelNotFound, match=f"train.start_from is {named}") as caught:
            starting_weights(Workspace(tmp_path), replace(settings, start_from=named))
        assert "imagenet, shipped, champion" in caught.value.hint


def test_a_changed_bundle_is_refused(settings: Train, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "pretrained", tmp_path / "pretrained")
    (tmp_path / "pretrained" / "card.md").write_text("changed", encoding="utf-8")
    with pytest.raises(BundleCorrupt):
        starting_weights(Workspace(tmp_path), replace(settings, start_from="shipped"))


def test_a_network_that_shares_no_branch_is_refused(settings: Train, tmp_path: Path) -> None:
    save_trained(trained("plain"), tmp_path / "m.keras")
    with pytest.raises(SettingsError, match=r"train\.start_from m\.keras has no weights for train\.network fused"):
        start(Workspace(tmp_path), replace(settings, start_from="m.keras"))


def test_a_network_with_other_kinds_is_refused(settings: Train, tmp_path: Path) -> None:
    save_trained(trained("residual", kinds=1), tmp_path / "m.keras")
    with pytest.raises(SettingsError, match=r"train\.start_from: the layer residual_kinds_map has weights"):
        start(Workspace(tmp_path), replace(settings, start_from="m.keras"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"side_px": 96}, "made for crops of 96 px"),
        ({"kinds": ("swap",)}, "and swap; this training has 64 px and synthetic"),
    ],
)
def test_a_bundle_for_other_crops_or_kinds_is_refused(
    settings: Train, tmp_path: Path, tiny: Callable[..., object], changed: dict[str, object], message: str
) -> None:
    make_bundle(tiny, trained("residual"), tmp_path / "pretrained", **changed)
    with pytest.raises(SettingsError, match=f"train.start_from names .*{message}"):
        start(Workspace(tmp_path), replace(settings, start_from="shipped"))


def test_a_bundle_whose_graph_cannot_be_unfolded_is_refused(
    settings: Train, tmp_path: Path, tiny: Callable[..., object]
) -> None:
    make_bundle(tiny, trained("original", kinds=1), tmp_path / "pretrained")
    with pytest.raises(SettingsError, match="whose network original cannot be read from its graph"):
        start(Workspace(tmp_path), replace(settings, start_from="shipped"))
