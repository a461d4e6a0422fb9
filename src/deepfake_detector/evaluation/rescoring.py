"""Bundle + the test pictures of this checkout -> its scores on them (n,), and how long one crop takes.

Here the registry, the engine and the data meet, which otherwise know nothing of each other: the gate must see two
models on the same pictures, and MLflow keeps none.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.config import Settings
from deepfake_detector.errors import BadInput, ModelNotFound
from deepfake_detector.evaluation.prediction_table import Scores, slices_of
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.paths import Workspace

if TYPE_CHECKING:
    from deepfake_detector.preparation.shards import Held, Shards

TIMED_CROPS, WARM_CROPS = 30, 5


class TestPictures:
    """The test split of a workspace; read only when it is asked for, as TensorFlow takes 10 s to load.

    Args:
        workspace: with data/shards, and data/raw for models whose crops are cut otherwise.
        settings: params.yaml.
    """

    __test__ = False  # for pytest, whose classes are called so too

    def __init__(self, workspace: Workspace, settings: Settings) -> None:
        self._workspace, self._settings = workspace, settings
        self._held: Held | None = None

    def latency_ms(self, bundle: Bundle) -> float:
        """Median time of one crop in the engine that serves, on this machine."""
        from deepfake_detector.inference.engine import Engine

        engine = Engine(bundle)
        with np.load(bundle.reference) as reference:
            crop = reference["crops"][:1]
        taken_s = []
        for _ in range(WARM_CROPS + TIMED_CROPS):
            started_s = time.perf_counter()
            engine.score(crop)
            taken_s.append(time.perf_counter() - started_s)
        return 1000 * statistics.median(taken_s[WARM_CROPS:])

    def scores(self, bundle: Bundle) -> Scores:
        """Score a bundle on all test pictures; where its crops are cut otherwise, they are cut anew from data/raw.

        Raises:
            ModelNotFound: no crops, or no archives, in this checkout.
            BadInput: no test picture shows a face that this bundle judges.
        """
        from deepfake_detector.inference.engine import Engine

        held, shards = self._test_split()
        crops, paths = held.crops, held.paths
        settings, contract = self._settings.prepare, bundle.contract
        if (contract.side_px, contract.crop_scale) != (shards.side_px, settings.crop_scale):
            crops, paths = self._cut_anew(held, contract.side_px, contract.crop_scale)
        known = dict(zip(held.paths, zip(held.labels.tolist(), held.sources, strict=True), strict=True))
        order = sorted(range(len(paths)), key=paths.__getitem__)
        engine = Engine(bundle)
        p_fake = engine.p_fake(engine.score(crops).logits)
        names = [paths[i] for i in order]
        return Scores(
            paths=tuple(names),
            labels=np.array([known[name][0] for name in names], dtype=np.int64),
            p_fake=p_fake[order],
            flag=contract.thresholds.flag,
            test_digest=held.sha256,
            slices=slices_of({"source": [known[name][1] for name in names]}),
        )

    def _test_split(self) -> tuple[Held, Shards]:
        from deepfake_detector.preparation.shards import Shards

        if not (self._workspace.shards / "shards.json").is_file():
            raise ModelNotFound(f"no test pictures at {self._workspace.shards}", "`dvc repro prepare`, or `dvc pull`")
        shards = Shards.open(self._workspace.shards)
        if self._held is None:
            self._held = shards.arrays("test")
        return self._held, shards

    def _cut_anew(self, held: Held, side_px: int, crop_scale: float) -> tuple[NDArray[np.uint8], list[str]]:
        from deepfake_detector.preparation.crops import cut_crops
        from deepfake_detector.preparation.selection import wanted
        from deepfake_detector.validation.manifest import read_manifest

        if not (self._workspace.raw.is_dir() and self._workspace.manifest.is_file()):
            raise ModelNotFound(f"no archives at {self._workspace.raw}", "`dvc repro validate`, or `dvc pull`")
        manifest = read_manifest(self._workspace.manifest)
        tested = manifest[manifest["path"].isin(held.paths)]
        how = replace(self._settings.prepare, side_px=side_px, crop_scale=crop_scale)
        pictures = wanted(tested, {}, as_they_are=not how.reencode)
        crops = cut_crops(self._workspace.raw, pictures, how, self._settings.download.max_unpacked_bytes)
        kept = {crop.entry.path: crop.pixels for crop in crops if crop.pixels is not None}
        if not kept:
            raise BadInput(f"none of {len(tested)} test pictures gives a crop of {side_px} px", "look at them")
        return np.stack(list(kept.values())), list(kept)
