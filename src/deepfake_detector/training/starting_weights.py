"""`train.start_from` -> the weights that a training starts from: random, ImageNet, a bundle or a .keras file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from deepfake_detector.config import Train
from deepfake_detector.errors import ModelNotFound, SettingsError
from deepfake_detector.io import sha256_of_file
from deepfake_detector.model.backbone import load_imagenet_weights
from deepfake_detector.model.bundle import Contract, read_bundle
from deepfake_detector.model.export import load_trained
from deepfake_detector.model.network import (
    BACKBONE_MAP,
    KINDS_LAYER,
    MAP_LAYER,
    RESIDUAL_MAP,
    WITH_BACKBONE,
    WITH_RESIDUAL,
    build_network,
    classifier_layers,
    dtype_policy,
)
from deepfake_detector.model.unfolding import BACKBONE, RESIDUAL, folded_convolutions, unfold
from deepfake_detector.paths import Workspace

IMAGENET, SHIPPED, CHAMPION = "imagenet", "shipped", "champion"
# Crops on which means and variances of a bundle's layers are measured: 7 batches of 64.
MEASURED_BATCHES = 7
BRANCHES = {RESIDUAL: WITH_RESIDUAL, BACKBONE: WITH_BACKBONE}


@dataclass(frozen=True)
class StartingWeights:
    """Where the weights of a new network come from; checked before the training starts.

    Attributes:
        settings: params.yaml's `train`.
        path: a bundle's folder or a .keras file; None without one.
        sha256: digest of it; "" without one.
    """

    settings: Train
    path: Path | None
    sha256: str
    contract: Contract | None = None  # of a bundle

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of fakes that a bundle tells apart: a network that starts from it keeps them."""
        return self.contract.kinds if self.contract else ()

    @property
    def calibration(self) -> dict[str, float]:
        """Temperature and thresholds of a bundle."""
        if self.contract is None:
            return {}
        return {"temperature": self.contract.temperature, **self.contract.thresholds.model_dump()}

    def apply(self, model: keras.Model, kinds: tuple[str, ...], batches: Callable[[int], tf.data.Dataset]) -> None:
        """Set the weights of a network that has just been built.

        Args:
            model: the network, with random weights.
            kinds: of fakes, in the order of its outputs.
            batches: of the training; the first are measured where a bundle has no statistics of its own.

        Raises:
            SettingsError: what `train.start_from` names does not fit the network.
        """
        if model.name in WITH_BACKBONE:
            load_imagenet_weights(model)
        if self.path is None:
            return
        source = _from_bundle(self.path, model, kinds, batches) if self.path.is_dir() else load_trained(self.path)
        copied = [branch for branch in BRANCHES if _copy_branch(source, model, branch)]
        if not copied and source.name == model.name:
            copied = _copy_all(source, model)
        if not copied:
            raise _refusal(self.settings, f"has no weights for train.network {model.name}, but those of {source.name}")


def starting_weights(workspace: Workspace, settings: Train) -> StartingWeights:
    """Resolve `train.start_from`.

    Raises:
        SettingsError: it is `imagenet`, and the network has no backbone; or no bundle's folder or .keras file.
        ModelNotFound: there is no such bundle or file.
    """
    named = settings.start_from
    if named == IMAGENET and settings.network not in WITH_BACKBONE:
        raise _refusal(settings, f"needs the network {' or '.join(WITH_BACKBONE)}, not {settings.network}")
    if named in ("", IMAGENET):
        return StartingWeights(settings, None, "")
    path = {SHIPPED: workspace.pretrained, CHAMPION: workspace.champion}.get(named, workspace.root / named)
    if path.is_dir():
        bundle = read_bundle(path)
        return StartingWeights(settings, path, bundle.sha256, bundle.contract)
    if path.is_file() and path.suffix == ".keras":
        return StartingWeights(settings, path, sha256_of_file(path))
    raise ModelNotFound(
        f"train.start_from is {named}, and there is no bundle and no .keras file at {path}",
        "set it to '', imagenet, shipped, champion, or the path of a bundle's folder or of a .keras file",
    )


def _from_bundle(
    path: Path, model: keras.Model, kinds: tuple[str, ...], batches: Callable[[int], tf.data.Dataset]
) -> keras.Model:
    """The network of a bundle as a float32 Keras network whose kinds are those of `model`."""
    contract = read_bundle(path).contract
    side_px = model.input.shape[1]
    if contract.network not in {name for names in BRANCHES.values() for name in names}:
        raise SettingsError(
            f"train.start_from names {path}, whose network {contract.network} cannot be read from its graph",
            "name its .keras file, as models/trained/model.keras",
        )
    if contract.side_px != side_px or not set(kinds) <= set(contract.kinds):
        raise SettingsError(
            f"train.start_from names {path}, made for crops of {contract.side_px} px and {', '.join(contract.kinds)}; "
            f"this training has {side_px} px and {', '.join(kinds)}",
            "set prepare.side_px and the sources as there, or train.start_from to another one",
        )
    crops = np.concatenate([np.asarray(crops) for crops, *_ in batches(0).take(MEASURED_BATCHES)])
    with dtype_policy("float32"):
        source = build_network(contract.network, side_px, 0.0, kinds=len(contract.kinds))
        for branch, convolutions in folded_convolutions(path / "detector.onnx").items():
            unfold(source, branch, convolutions, crops)
        return _with_kinds(source, [contract.kinds.index(kind) for kind in kinds])


def _with_kinds(source: keras.Model, columns: list[int]) -> keras.Model:
    """The same network with some of its kinds, in this order."""
    chosen = build_network(source.name, source.input.shape[1], 0.0, kinds=len(columns))
    layers = {layer.name: layer for layer in source.layers}
    classifiers = {layer.name for layer in classifier_layers(source)}
    for layer in chosen.layers:
        if layer.weights:
            weights = layers[layer.name].get_weights()
            layer.set_weights([array[..., columns] for array in weights] if layer.name in classifiers else weights)
    return chosen


def _copy_branch(source: keras.Model, target: keras.Model, branch: str) -> bool:
    """Copy the layers of a branch, if both networks have it."""
    if source.name not in BRANCHES[branch] or target.name not in BRANCHES[branch]:
        return False
    for theirs, ours in zip(_branch_layers(source, branch), _branch_layers(target, branch), strict=True):
        _copy_layer(theirs, ours)
    return True


def _branch_layers(model: keras.Model, branch: str) -> list[Any]:
    """Layers with weights of one branch; a residual network's classifier has the name of the map."""
    own_classifier = BACKBONE_MAP if branch == BACKBONE else RESIDUAL_MAP if model.name == "fused" else MAP_LAYER
    prefixes = ("stem", "block") if branch == BACKBONE else ("conv",)
    named = [each for each in model.layers if each.name.startswith(prefixes) or each.name == own_classifier]
    return [layer for layer in named if layer.weights]


def _copy_all(source: keras.Model, target: keras.Model) -> list[str]:
    layers = {layer.name: layer for layer in source.layers}
    for layer in target.layers:
        if layer.weights:
            _copy_layer(layers[layer.name], layer)
    return [target.name]


def _copy_layer(source: Any, target: Any) -> None:
    found, expected = ([tuple(w.shape) for w in layer.weights] for layer in (source, target))
    if found != expected:
        raise SettingsError(
            f"train.start_from: the layer {target.name} has weights {found} there and {expected} in this training",
            f"other kinds of fakes change {KINDS_LAYER}, other crops change dense layers: start from another network",
        )
    target.set_weights(source.get_weights())


def _refusal(settings: Train, problem: str) -> SettingsError:
    return SettingsError(f"train.start_from {settings.start_from} {problem}", "change it, or train.network")
