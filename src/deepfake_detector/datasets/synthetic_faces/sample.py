"""Sample settings -> a zip in the Kaggle layout: portraits drawn by our own code, JPEG 256x256, half of them fake."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
from tqdm import tqdm

from deepfake_detector.config import Sample
from deepfake_detector.datasets.archive import ROOT, SPLITS, pack
from deepfake_detector.datasets.synthetic_faces.camera import through_camera, through_generator
from deepfake_detector.datasets.synthetic_faces.portrait import draw_portrait
from deepfake_detector.io import atomic_write
from deepfake_detector.parallel import process_pool

JPEG_QUALITY = 95  # with 4:2:0 colour: what every file of the Kaggle set has


def write_sample(settings: Sample, to: Path) -> None:
    """Draw the embedded data set; the same settings give the same bytes.

    Args:
        settings: seed and pictures per split.
        to: the zip to write; it appears only when whole.
    """
    jobs = [
        (split, label, i)
        for split in sorted(SPLITS)
        for label in ("fake", "real")
        for i in range(getattr(settings, split) // 2)
    ]
    with (
        atomic_write(to) as fresh,
        process_pool() as pool,
        tqdm(total=len(jobs), desc="drawing", unit="img") as bar,
    ):
        pictures = pool.map(partial(_encoded, settings.seed), jobs, chunksize=32)
        pack(
            fresh,
            (
                (f"{ROOT}/{split}/{label}/{i:05d}.jpg", _counted(data, bar))
                for (split, label, i), data in zip(jobs, pictures, strict=True)
            ),
        )


def draw_sample(seed: int, split: str, label: str, index: int) -> bytes:
    """One picture of the set as JPEG, 256x256.

    Args:
        seed: of the data set.
        split: train, valid or test.
        label: real (through a simulated camera) or fake (through a simulated generator).
        index: counts from 0 within split and label.
    """
    stream = np.random.SeedSequence((seed, SPLITS.index(split), ("real", "fake").index(label), index))
    rng = np.random.default_rng(stream)
    drawing = draw_portrait(rng)
    rgb = through_camera(drawing, rng) if label == "real" else through_generator(drawing, rng)
    settings = [
        cv2.IMWRITE_JPEG_QUALITY,
        JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]
    return bytes(cv2.imencode(".jpg", rgb[..., ::-1], settings)[1])


def _encoded(seed: int, job: tuple[str, str, int]) -> bytes:
    return draw_sample(seed, *job)


def _counted(data: bytes, bar: tqdm[NoReturn]) -> bytes:
    bar.update()
    return data
