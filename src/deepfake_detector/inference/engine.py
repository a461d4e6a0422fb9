"""A bundle's graph -> logits (n,), maps (n, h, w) and kinds (n, k) for uint8 crops (n, side, side, 3), by OpenVINO."""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.errors import BundleCorrupt, ToolFailed
from deepfake_detector.model.bundle import Bundle, probabilities
from deepfake_detector.openvino_graph import CompiledModel, InferRequest, RequestPool, compile_graph
from deepfake_detector.parallel import available_cores

# One crop per request, on one core, and as many streams as cores. Two cores with AMX (Xeon, busy with a training), a
# graph of 0.6 M weights, ms of processor time a crop, medians of interleaved rounds, each also over the first line's:
#                                            bf16          f32
#   one stream of both cores, batches of 32   0.84  1.00    4.61  5.3
#   one stream of both cores, one crop        1.44  1.69    5.15  6.0
#   a stream per core, batches of 8, 2 ahead  0.83  0.98    4.52  5.3
#   a stream per core, one crop, 2 ahead      1.12  1.29    4.86  5.7
#   a stream per core, one crop, 4 ahead      1.02  1.16    4.89  5.7
# Without AMX (EPYC 9004, AVX512-bf16) one crop per request was the fastest of all: 0.61 of the first line.
# A graph that also scores the mirror image (params.yaml evaluate.mirrored) takes twice as long.
# Batches would save a fifth here, but a crop that is computed alone gets a score that depends on no other crop.
REQUESTS_PER_STREAM = 4  # one is computed while the next is prepared
# bf16 keeps 8 bits of mantissa: the residual network's logits (up to 9.5) moved by 0.04, its maps (27.5) by 0.20.
ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE = 0.1, 0.02  # relative to the largest value, as errors of sums are
OUTPUTS = ("logits", "logit_map", "kinds")

logger = logging.getLogger("deepfake")

# What numpy and zipfile raise for files that are no .npz, or a broken one.
UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error),
)
RESEAL_HINT = "run `dvc repro --force --single-item evaluate` to seal it again, or name another bundle with --model"


@dataclass(frozen=True)
class EngineOutput:
    """Outputs of the graph for n crops; above 0 means fake."""

    logits: NDArray[np.float32]  # (n,)
    logit_map: NDArray[np.float32]  # (n, h, w)
    kinds: NDArray[np.float32]  # (n, k), per kind of fake; `logits` is their logsumexp


class Engine:
    """A bundle's compiled graph; threads may share it.

    Args:
        bundle: a sealed bundle.
        precision: "f32" to forbid bf16; None leaves it to OpenVINO, which picks bf16 where the processor supports it.
            If its results are then too far from the sealed ones, the graph is compiled again for f32.
        streams: crops computed in parallel, each on one core; None for one per core.

    Raises:
        BundleCorrupt: the graph cannot be compiled or has other inputs or outputs than the contract says.
        ToolFailed: on this machine the graph computes other numbers than those sealed in the bundle.
    """

    def __init__(self, bundle: Bundle, precision: str | None = None, streams: int | None = None) -> None:
        self.bundle = bundle
        self.side_px = bundle.contract.side_px
        self._streams = streams or available_cores()
        self._max_running = REQUESTS_PER_STREAM * self._streams
        self._compile_and_test(precision)

    def score(self, crops: NDArray[np.uint8]) -> EngineOutput:
        """Score crops, uint8 (n, side, side, 3) RGB; n may be 0. The output for a crop does not depend on the others.

        Raises:
            ValueError: another shape or type.
        """
        expected = (self.side_px, self.side_px, 3)
        if crops.dtype != np.uint8 or crops.shape[1:] != expected:
            raise ValueError(
                f"crops are {crops.dtype} {crops.shape}, expected uint8 (n, {', '.join(map(str, expected))})"
            )
        outputs = {name: np.zeros((len(crops), *self._shape(name)), np.float32) for name in OUTPUTS}
        running: deque[tuple[int, InferRequest]] = deque()
        try:
            for index in range(len(crops)):
                if len(running) == self._max_running:
                    _collect(outputs, *running[0])
                    self._requests.release(running.popleft()[1])
                running.append((index, self._start(crops[index : index + 1])))
            for index, request in running:
                _collect(outputs, index, request)
        finally:
            for _, request in running:
                request.wait()
                self._requests.release(request)
        return EngineOutput(**outputs)

    def p_fake(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Calibrated probabilities (n,) of logits (n,)."""
        return probabilities(logits.astype(np.float64), self.bundle.contract.temperature)

    def self_test(self) -> None:
        """Score the bundle's reference crops and compare with the sealed outputs.

        Raises:
            BundleCorrupt, ToolFailed: see the class.
        """
        sealed = _read_reference(self.bundle)
        found = self.score(sealed["crops"])
        shapes = {name: getattr(found, name).shape for name in OUTPUTS}
        expected = {name: sealed[name].shape if name in sealed else None for name in OUTPUTS}
        expected["kinds"] = (len(found.kinds), len(self.bundle.contract.kinds))
        if shapes != expected or "kinds" not in sealed:
            raise BundleCorrupt(f"{self.bundle.graph} has outputs {shapes}, sealed were {expected}", RESEAL_HINT)
        for name in OUTPUTS:
            _compare(name, getattr(found, name), sealed[name])

    def _compile_and_test(self, precision: str | None) -> None:
        self.precision = precision
        self._compiled = _compile(self.bundle, precision, self._streams)
        self._requests = RequestPool(self._compiled)
        try:
            self.self_test()
        except ToolFailed as error:
            if precision is not None or isinstance(error, BundleCorrupt):
                raise
            # How far bf16 moves a logit depends on the weights and on the processor.
            logger.warning("%s; computing in float32, which is slower", error.message)
            self._compile_and_test("f32")

    def _shape(self, name: str) -> tuple[int, ...]:
        """Shape of an output for one crop."""
        return tuple(self._compiled.output(name).shape)[1:]

    def _start(self, crop: NDArray[np.uint8]) -> InferRequest:
        request = self._requests.acquire()
        request.start_async({0: np.ascontiguousarray(crop)})
        return request


def _collect(outputs: dict[str, NDArray[np.float32]], index: int, request: InferRequest) -> None:
    request.wait()
    for name, values in outputs.items():
        values[index] = request.get_tensor(name).data[0]


def _compile(bundle: Bundle, precision: str | None, streams: int) -> CompiledModel:
    side_px = bundle.contract.side_px
    try:
        compiled = compile_graph(bundle.graph, (1, side_px, side_px, 3), precision, streams)
        names = {name for output in compiled.outputs for name in output.names}
    except RuntimeError as error:
        raise BundleCorrupt(f"OpenVINO cannot use {bundle.graph}: {error}", RESEAL_HINT) from error
    if not set(OUTPUTS) <= names:
        raise BundleCorrupt(f"{bundle.graph} has outputs {sorted(names)}, expected {', '.join(OUTPUTS)}", RESEAL_HINT)
    return compiled


def _read_reference(bundle: Bundle) -> dict[str, NDArray[Any]]:
    """The crops and sealed outputs of a bundle, as far as the file has them."""
    try:
        # Opened here: of a broken zip, np.load leaves the file that it opened itself to the garbage collector.
        with bundle.reference.open("rb") as stream, np.load(stream, allow_pickle=False) as reference:
            sealed = {name: reference[name] for name in (*OUTPUTS, "crops") if name in reference}
    except UNREADABLE as error:
        raise BundleCorrupt(f"{bundle.reference} cannot be read: {error}", RESEAL_HINT) from error
    crops, side_px = sealed.get("crops", np.zeros(0)), bundle.contract.side_px
    if crops.dtype != np.uint8 or crops.shape[1:] != (side_px, side_px, 3) or len(crops) == 0:
        raise BundleCorrupt(f"{bundle.reference} has no crops, uint8 (m, {side_px}, {side_px}, 3)", RESEAL_HINT)
    if not all(np.issubdtype(sealed[name].dtype, np.floating) for name in OUTPUTS if name in sealed):
        raise BundleCorrupt(f"{bundle.reference} has outputs that are no numbers", RESEAL_HINT)
    return sealed


def _compare(name: str, found: NDArray[np.float32], sealed: NDArray[np.float32]) -> None:
    difference = np.abs(found - sealed)
    if bool(np.all(difference <= ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * np.abs(sealed).max())):  # False for NaN too
        return
    worst = int(np.argmax(np.nan_to_num(difference, nan=np.inf)))
    raise ToolFailed(
        f"{name} of the reference crops: {found.flat[worst]:.4f} on this machine, sealed were {sealed.flat[worst]:.4f}",
        "the processor or this OpenVINO computes the graph differently: try another OpenVINO version, and report it",
    )
