"""A bundle's graph -> logits (n,) and logit maps (n, h, w) for uint8 crops (n, side, side, 3), with OpenVINO."""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.errors import BundleCorrupt, ToolFailed
from deepfake_detector.model.bundle import Bundle

# On import OpenVINO reports to its maker, unasked, and writes to the home folder; where this package is missing it
# uses a stub instead. There is no setting for it.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino as ov  # noqa: E402

# Larger batches gain nothing (4 to 5 ms a crop at 1, 16 and 64 on two cores, seven layers) and memory grows.
BATCH = 32
# bf16 keeps 8 bits of mantissa: the residual network's logits (up to 9.5) moved by 0.04, its maps (27.5) by 0.20.
ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE = 0.1, 0.02  # relative to the largest value, as errors of sums are

SEAL_ANEW_HINT = "run `dvc repro --force --single-item evaluate` to seal it anew, or name another bundle with --model"


@dataclass(frozen=True)
class Scores:
    """What the graph says of n crops; above 0 means fake."""

    logits: NDArray[np.float32]  # (n,)
    logit_map: NDArray[np.float32]  # (n, h, w)


class Engine:
    """A compiled graph, shared by threads.

    Args:
        bundle: a sealed bundle.
        precision: "f32" to forbid bf16; None leaves it to OpenVINO, which picks bf16 where the processor multiplies it.

    Raises:
        BundleCorrupt: the graph cannot be compiled or has other inputs or outputs than the contract says.
        ToolFailed: on this machine the graph gives other numbers than those sealed in the bundle.
    """

    def __init__(self, bundle: Bundle, precision: str | None = None) -> None:
        self.bundle = bundle
        self.side_px = bundle.contract.side_px
        self._compiled = _compile(bundle, precision)
        # A request serves one call at a time; idle ones wait here. deque's append and pop are atomic.
        self._idle: deque[ov.InferRequest] = deque()
        self._map_shape = self.self_test()

    def score(self, crops: NDArray[np.uint8]) -> Scores:
        """Score crops (n, side, side, 3) RGB; n may be 0."""
        expected = (self.side_px, self.side_px, 3)
        if crops.dtype != np.uint8 or crops.shape[1:] != expected:
            raise ValueError(
                f"crops are {crops.dtype} {crops.shape}, wanted uint8 (n, {', '.join(map(str, expected))})"
            )
        if len(crops) == 0:
            return Scores(np.zeros(0, np.float32), np.zeros((0, *self._map_shape), np.float32))
        parts = [self._infer(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
        return Scores(np.concatenate([p.logits for p in parts]), np.concatenate([p.logit_map for p in parts]))

    def p_fake(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Calibrated probabilities (n,) of logits (n,)."""
        scaled = np.clip(logits.astype(np.float64) / self.bundle.contract.temperature, -60.0, 60.0)
        return np.asarray(1.0 / (1.0 + np.exp(-scaled)), np.float64)

    def self_test(self) -> tuple[int, int]:
        """Score the bundle's reference crops and compare; returns the logit map's (h, w)."""
        with np.load(self.bundle.reference) as reference:
            crops, logits, logit_map = reference["crops"], reference["logits"], reference["logit_map"]
        found = self._infer(crops)
        if found.logits.shape != logits.shape or found.logit_map.shape != logit_map.shape:
            raise BundleCorrupt(
                f"{self.bundle.graph} gives logits {found.logits.shape} and map {found.logit_map.shape}, "
                f"sealed were {logits.shape} and {logit_map.shape}",
                SEAL_ANEW_HINT,
            )
        _compare("logits", found.logits, logits)
        _compare("logit_map", found.logit_map, logit_map)
        return (int(logit_map.shape[1]), int(logit_map.shape[2]))

    def _infer(self, crops: NDArray[np.uint8]) -> Scores:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            request.infer({0: np.ascontiguousarray(crops)})
            return Scores(
                np.array(request.get_tensor("logits").data, np.float32),
                np.array(request.get_tensor("logit_map").data, np.float32),
            )
        finally:
            self._idle.append(request)


def _compile(bundle: Bundle, precision: str | None) -> ov.CompiledModel:
    # Two cores, ms a crop: alone 4.1 (THROUGHPUT: 4.8), two callers at once 3.9 (2.7), batch of 64 4.5 (4.2).
    config = {"PERFORMANCE_HINT": "LATENCY"} | ({"INFERENCE_PRECISION_HINT": precision} if precision else {})
    side_px = bundle.contract.side_px
    try:
        core = ov.Core()
        model = core.read_model(bundle.graph)
        model.reshape([-1, side_px, side_px, 3])
        steps = ov.preprocess.PrePostProcessor(model)
        steps.input().tensor().set_element_type(ov.Type.u8)
        compiled = core.compile_model(steps.build(), "CPU", config)
        names = {name for output in compiled.outputs for name in output.names}
    except RuntimeError as error:
        raise BundleCorrupt(f"OpenVINO cannot use {bundle.graph}: {error}", SEAL_ANEW_HINT) from error
    if not {"logits", "logit_map"} <= names:
        raise BundleCorrupt(f"{bundle.graph} has outputs {sorted(names)}, wanted logits and logit_map", SEAL_ANEW_HINT)
    return compiled


def _compare(name: str, found: NDArray[np.float32], sealed: NDArray[np.float32]) -> None:
    apart = np.abs(found - sealed)
    if bool(np.all(apart <= ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * np.abs(sealed).max())):  # False for NaN too
        return
    worst = int(np.argmax(np.nan_to_num(apart, nan=np.inf)))
    raise ToolFailed(
        f"{name} of the reference crops: {found.flat[worst]:.4f} on this machine, sealed were {sealed.flat[worst]:.4f}",
        "the processor or this OpenVINO computes the graph differently: try another OpenVINO version, and report it",
    )
