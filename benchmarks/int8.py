"""pretrained/ in 8-bit integers: what it costs on validation pictures, what it gains; `python -m benchmarks.int8`.

Off `make bench`: it needs NNCF (`uv pip install nncf`), which nothing else does, and photographs (see `material`). The
graph is quantised on training crops; the areas under the ROC curve are compared on the validation split, in pairs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.material import Material, find_data
from benchmarks.timing import Variant, compare
from deepfake_detector.datasets.archive import Archive
from deepfake_detector.errors import BadInput
from deepfake_detector.parallel import available_cores
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.crops import FaceCropper
from pipelines.stage import run_stage

CALIBRATED_ON, ROUNDS, RESAMPLES, SPEED_CROPS = 300, 9, 2000, 64
MAX_LOSS = 0.002  # of the AUC: issue 7's bound for keeping it


def main() -> None:
    """Print AUC and speed of the sealed graph and of two ways to quantise it."""
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    workspace = Workspace().enter()
    data = find_data(workspace.root)
    if data is None:
        raise BadInput("there are no photographs to judge by", "name their folder in DEEPFAKE_BENCH_DATA")
    with TemporaryDirectory() as scratch:
        material = Material(workspace, Path(scratch), data)
        learnt, _ = _crops(material, data, "train", CALIBRATED_ON)
        held_out, labels = _crops(material, data, "valid", 0)
    graph = _graph(material)
    sealed = _compiled(graph)
    before = _logits(sealed, held_out)
    print(f"{len(held_out)} validation crops, AUC {roc_auc_score(labels, before):.4f} as sealed", flush=True)
    minmax = RangeEstimatorParametersSet.MINMAX
    exact = nncf.AdvancedQuantizationParameters(
        activations_range_estimator_params=minmax, weights_range_estimator_params=minmax
    )
    for name, how in (("min-max ranges", exact), ("NNCF's default ranges", None)):
        dataset = nncf.Dataset([crop[None] for crop in learnt])
        small = _compiled(nncf.quantize(_graph(material), dataset, subset_size=len(learnt), advanced_parameters=how))
        low, middle, high = _difference(_logits(small, held_out), before, labels)
        print(f"{name}: AUC {middle:+.4f} [{low:+.4f}, {high:+.4f}]", flush=True)
        _speed(name, small, sealed, held_out[:SPEED_CROPS])


def _crops(material: Material, data: Path, split: str, most: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Crops (n, side, side, 3) and labels (n,) of a split, spread evenly over it; 0 for all of it."""
    contract = material.bundle.contract
    cutter = FaceCropper(contract.side_px, contract.min_face_px, contract.crop_scale)
    with Archive(data / "real_vs_fake.zip", 8 * 2**30) as archive:
        entries = [entry for entry in archive.entries if entry.split == split]
        entries = entries[:: max(1, len(entries) // most)] if most else entries
        cut = [(cutter(entry, archive.read(entry)).pixels, entry.label) for entry in entries]
    found = [(pixels, label) for pixels, label in cut if pixels is not None]
    return np.stack([pixels for pixels, _ in found]), np.array([label for _, label in found], np.int64)


def _graph(material: Material) -> Any:
    """The sealed graph as the engine reads it: one crop, uint8."""
    from deepfake_detector.openvino_graph import ov  # type: ignore[attr-defined]

    model = ov.Core().read_model(material.bundle.graph)
    side_px = material.bundle.contract.side_px
    model.reshape([1, side_px, side_px, 3])
    steps = ov.preprocess.PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8)
    return steps.build()


def _compiled(model: Any) -> Any:
    """As the engine: a stream per core, and a few requests ahead of each."""
    from deepfake_detector.openvino_graph import ov  # type: ignore[attr-defined]

    compiled = ov.Core().compile_model(
        model, "CPU", {"NUM_STREAMS": str(available_cores()), "INFERENCE_NUM_THREADS": available_cores()}
    )
    return ov.AsyncInferQueue(compiled, 2 * available_cores())


def _logits(queue: Any, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    found = np.zeros(len(crops))

    def keep(request: Any, place: int) -> None:
        found[place] = float(request.get_tensor("logits").data.ravel()[0])

    queue.set_callback(keep)
    for place in range(len(crops)):
        queue.start_async([crops[place : place + 1]], place)
    queue.wait_all()
    return found


def _difference(after: NDArray[np.float64], before: NDArray[np.float64], labels: NDArray[np.int64]) -> Sequence[float]:
    """AUC after minus before, with its 95 % interval: both on the same resampled crops."""
    random, found = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        drawn = random.integers(0, len(labels), len(labels))
        found.append(roc_auc_score(labels[drawn], after[drawn]) - roc_auc_score(labels[drawn], before[drawn]))
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), roc_auc_score(labels, after) - roc_auc_score(labels, before), float(high)


def _speed(name: str, small: Any, sealed: Any, crops: NDArray[np.uint8]) -> None:
    def ways(queue: Any) -> Any:
        return lambda: len(_logits(queue, crops))

    (row,) = compare("int8", Variant(name, ways(small)), [Variant("sealed", ways(sealed))], "crop", ROUNDS)
    low, high = row.spread
    kept_ms, small_ms = 1000 / row.other_figure, 1000 / row.ours_figure
    print(
        f"  {small_ms:.2f} ms a crop against {kept_ms:.2f}: {row.ratio:.2f} times [{low:.2f}, {high:.2f}]", flush=True
    )


if __name__ == "__main__":
    sys.exit(run_stage(main))
