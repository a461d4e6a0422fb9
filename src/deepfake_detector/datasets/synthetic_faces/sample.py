"""Sample settings -> a zip in Kaggle's layout: drawn portraits as JPEG 256x256, half of them fake."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
from tqdm import tqdm

from deepfake_detector.config import Sample
from deepfake_detector.datasets.archive import KAGGLE_ROOT, SPLITS
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.datasets.synthetic_faces.camera import simulate_camera, simulate_generator
from deepfake_detector.datasets.synthetic_faces.portrait import draw_portrait
from deepfake_detector.io import atomic_write
from deepfake_detector.parallel import process_pool

JPEG_QUALITY = 95  # with 4:2:0 chroma, as every file of the Kaggle set


def write_sample(settings: Sample, to: Path) -> None:
    """Draw the embedded data set in worker processes; the same settings give the same bytes.

    Args:
        settings: seed and images per split.
        to: the zip to write, atomically.
    """
    jobs = [
        (split, label, i)
        for split in sorted(SPLITS)
        for label in ("fake", "real")
        for i in range(getattr(settings, split) // 2)
    ]
    with (
        atomic_write(to) as temporary,
        process_pool() as pool,
        tqdm(total=len(jobs), desc="drawing", unit="img") as bar,
    ):
        images = pool.map(partial(_draw_job, settings.seed), jobs, chunksize=32)
        write_zip(
            temporary,
            (
                (f"{KAGGLE_ROOT}/{split}/{label}/{i:05d}.jpg", _advance(bar, data))
                for (split, label, i), data in zip(jobs, images, strict=True)
            ),
        )


def draw_sample(seed: int, split: str, label: str, index: int) -> bytes:
    """Draw one image of the set as JPEG, 256x256.

    Args:
        seed: of the data set.
        split: train, valid or test.
        label: real (simulated camera) or fake (simulated generator).
        index: counts from 0 within split and label.
    """
    seeds = np.random.SeedSequence((seed, SPLITS.index(split), ("real", "fake").index(label), index))
    rng = np.random.default_rng(seeds)
    drawing = draw_portrait(rng)
    rgb = simulate_camera(drawing, rng) if label == "real" else simulate_generator(drawing, rng)
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]
    return bytes(cv2.imencode(".jpg", rgb[..., ::-1], options)[1])


def _draw_job(seed: int, job: tuple[str, str, int]) -> bytes:
    return draw_sample(seed, *job)


def _advance(bar: tqdm[NoReturn], data: bytes) -> bytes:
    bar.update()
    return data
