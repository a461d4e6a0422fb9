"""Bundle + the test pictures of this checkout -> its scores of them (n,), and the processor time of one crop (ms).

The gate compares two models on the same pictures, and MLflow keeps no pictures: only here do the registry's bundles,
the engine and the data meet.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.config import Settings
from deepfake_detector.errors import BadInput, ModelNotFound
from deepfake_detector.evaluation.prediction_table import SOURCE, PredictionTable, slice_masks
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.paths import Workspace

if TYPE_CHECKING:
    from deepfake_detector.preparation.shards import HeldOutSplit, Shards

TIMED_RUNS, WARM_UP_RUNS = 50, 5
LATENCY_PERCENTILE = 10


class EngineRescorer:
    """Scores bundles on the test split of a workspace, which is read only when needed: TensorFlow takes 10 s to load.

    Args:
        workspace: with data/shards, and data/raw for models with another crop size or scale.
        settings: params.yaml.
    """

    def __init__(self, workspace: Workspace, settings: Settings) -> None:
        self._workspace, self._settings = workspace, settings
        self._split: HeldOutSplit | None = None

    def latency_ms(self, bundle: Bundle) -> float:
        """Processor time of one crop in the serving engine, on this machine: a low percentile of many runs.

        Time on the clock would count other processes too: the same model took 3 ms on an idle machine and 77 on a busy
        one. Processor time does not, and the percentile leaves out runs in which a neighbour emptied the caches.

        Raises:
            BundleCorrupt, ToolFailed: the engine cannot use the bundle.
        """
        from deepfake_detector.inference.engine import Engine

        engine = Engine(bundle)
        with np.load(bundle.reference) as reference:
            crop = reference["crops"][:1]
        times_s = []
        for _ in range(WARM_UP_RUNS + TIMED_RUNS):
            start_s = time.process_time()
            engine.score(crop)
            times_s.append(time.process_time() - start_s)
        return 1000 * float(np.percentile(times_s[WARM_UP_RUNS:], LATENCY_PERCENTILE))

    def scores(self, bundle: Bundle) -> PredictionTable:
        """Score all test pictures; if the bundle has another crop size or scale, they are cropped again from data/raw.

        Raises:
            ModelNotFound: no crops, or no archives, in this checkout.
            BadInput: no test picture has a face that this bundle can score.
        """
        from deepfake_detector.inference.engine import Engine

        split, shards = self._test_split()
        crops, paths = split.crops, split.paths
        settings, contract = self._settings.prepare, bundle.contract
        if (contract.side_px, contract.crop_scale) != (shards.side_px, settings.crop_scale):
            crops, paths = self._crop_again(split, contract.side_px, contract.crop_scale)
        known = dict(zip(split.paths, zip(split.labels.tolist(), split.sources, strict=True), strict=True))
        order = sorted(range(len(paths)), key=paths.__getitem__)
        engine = Engine(bundle)
        p_fake = engine.p_fake(engine.score(crops).logits)
        names = [paths[i] for i in order]
        return PredictionTable(
            paths=tuple(names),
            labels=np.array([known[name][0] for name in names], dtype=np.int64),
            p_fake=p_fake[order],
            flag=contract.thresholds.flag,
            test_digest=split.sha256,
            slices=slice_masks({SOURCE: [known[name][1] for name in names]}),
            clear=contract.thresholds.clear,
            left_out=self._settings.download.left_out,
            feedback=self._settings.download.feedback_slices,
        )

    def _test_split(self) -> tuple[HeldOutSplit, Shards]:
        from deepfake_detector.preparation.shards import Shards

        if not (self._workspace.shards / "shards.json").is_file():
            raise ModelNotFound(f"no test pictures at {self._workspace.shards}", "`dvc repro prepare`, or `dvc pull`")
        shards = Shards.open(self._workspace.shards)
        if self._split is None:
            self._split = shards.arrays("test")
        return self._split, shards

    def _crop_again(self, split: HeldOutSplit, side_px: int, crop_scale: float) -> tuple[NDArray[np.uint8], list[str]]:
        from deepfake_detector.preparation.crop_requests import crop_requests
        from deepfake_detector.preparation.crops import crop_images
        from deepfake_detector.validation.manifest import read_manifest

        if not (self._workspace.raw.is_dir() and self._workspace.manifest.is_file()):
            raise ModelNotFound(f"no archives at {self._workspace.raw}", "`dvc repro validate`, or `dvc pull`")
        manifest = read_manifest(self._workspace.manifest)
        rows = manifest[manifest["path"].isin(split.paths)]
        prepare = replace(self._settings.prepare, side_px=side_px, crop_scale=crop_scale)
        requests = crop_requests(rows, {}, reuse_faces=not prepare.reencode)
        crops = crop_images(self._workspace.raw, requests, prepare, self._settings.download.max_unpacked_bytes)
        kept = {crop.entry.path: crop.pixels for crop in crops if crop.pixels is not None}
        if not kept:
            raise BadInput(
                f"none of {len(rows)} test pictures gives a crop of {side_px} px",
                f"lower `prepare.min_face_px` ({prepare.min_face_px}) in params.yaml, or use larger pictures",
            )
        return np.stack(list(kept.values())), list(kept)
