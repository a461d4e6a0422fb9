"""Sample settings -> a zip in the Kaggle layout: portraits drawn by our own code, JPEG 256x256, half of them fake."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
from tqdm import tqdm

from deepfake_detector.data.archives import ROOT, SPLITS, pack, written_whole
from deepfake_detector.data.camera import through_camera, through_generator
from deepfake_detector.data.drawing.portrait import draw_portrait
from deepfake_detector.settings import Sample

JPEG_QUALITY = 95  # with 4:2:0 colour: what every file of the Kaggle set has
_WORKERS = 2


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
    # spawn: forking a process that has threads (OpenCV, TensorFlow) may hang it.
    context = multiprocessing.get_context("spawn")
    with (
        written_whole(to) as fresh,
        ProcessPoolExecutor(_WORKERS, mp_context=context) as pool,
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
    cv2.setNumThreads(1)  # one process per core already
    return draw_sample(seed, *job)


def _counted(data: bytes, bar: tqdm[NoReturn]) -> bytes:
    bar.update()
    return data
