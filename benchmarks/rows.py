"""The comparisons: scoring a face, judging a picture, preparing training crops."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from benchmarks.data_rows import data_rows
from benchmarks.timing import Row, compare
from deepfake_detector.data.archives import Archive
from deepfake_detector.data.crops import Cutter
from deepfake_detector.media.face import FaceDetector
from deepfake_detector.media.image import decode_image
from deepfake_detector.model.bundle import read_bundle
from deepfake_detector.scoring.detector import Detector
from deepfake_detector.scoring.engine import Engine
from deepfake_detector.workspace import Workspace
from pipelines.stage import quietly

PICTURES = 64


def rows(workspace: Workspace) -> Iterator[Row]:
    """Every row, one after another."""
    bundle = read_bundle(workspace.bundle)
    detector = Detector(bundle)
    with Archive(workspace.raw, 8 * 2**30) as archive:
        entries = [e for e in archive.entries if e.split == "test"][:PICTURES]
        pictures = [archive.read(entry) for entry in entries]
        contract = bundle.contract
        cutter = Cutter(contract.side_px, contract.min_face_px, contract.crop_scale)
        cut = [cutter(entry, data).pixels for entry, data in zip(entries, pictures, strict=True)]
        crops = np.stack([pixels for pixels in cut if pixels is not None])
        yield from _scoring(workspace, Engine(bundle), crops)
        yield _picture(detector, pictures)
        yield _cutting(cutter, entries, pictures)
    yield from data_rows(workspace)


def _scoring(workspace: Workspace, engine: Engine, crops: np.ndarray) -> Iterator[Row]:
    with quietly():
        from deepfake_detector.model.export import load_trained
    model = load_trained(workspace.trained / "model.keras")
    singles = 8

    def one_by_one() -> int:
        for crop in crops[:singles]:
            model.predict(crop[None], verbose=0)
        return singles

    def ours_one_by_one() -> int:
        for crop in crops:
            engine.score(crop[None])
        return len(crops)

    def batch() -> int:
        model.predict(crops, batch_size=len(crops), verbose=0)
        return len(crops)

    def ours_batch() -> int:
        engine.score(crops)
        return len(crops)

    yield compare("score a face", ("engine", ours_one_by_one), ("model.predict, one by one", one_by_one), "faces")
    yield compare("score 64 faces", ("engine", ours_batch), ("model.predict, one batch", batch), "faces")


def _picture(detector: Detector, pictures: list[bytes]) -> Row:
    finder = FaceDetector()

    def ours() -> int:
        for data in pictures:
            detector.image(data)
        return len(pictures)

    def limit() -> int:
        for data in pictures:
            finder.find(decode_image(data))
        return len(pictures)

    return compare("image, bytes to verdict", ("Detector", ours), ("decode and find the face only", limit), "pictures")


def _cutting(cutter: Cutter, entries: list, pictures: list[bytes]) -> Row:
    def ours() -> int:
        for entry, data in zip(entries, pictures, strict=True):
            cutter(entry, data)
        return len(entries)

    def limit() -> int:
        for data in pictures:
            np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        return len(pictures)

    return compare("cut a training crop, one core", ("Cutter", ours), ("JPEG decoding only", limit), "pictures")
