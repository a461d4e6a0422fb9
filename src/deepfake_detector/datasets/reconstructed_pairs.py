"""An archive of pictures -> a labelled archive of pairs: real face regions, and the same ones through an autoencoder.

Both pictures of a pair are saved alike and have the same group, so that they come in the same split and the same batch.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.datasets.archive import SPLITS, Archive, Entry, labels_file_bytes
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.errors import ArchiveRejected, InputTooLarge, UnreadableImage
from deepfake_detector.io import atomic_write
from deepfake_detector.media.face_detector import FaceDetector
from deepfake_detector.media.image import decode_image
from deepfake_detector.media.reconstruction import Autoencoder, reconstructed_pair

Pixels = NDArray[np.uint8]

CSV_NAME = "labels.csv"
MIN_FACE_PX = 48  # smaller ones have no detail for a decoder to change
HELD_OUT_SHARE = 1 / 8  # pairs of validation and of test, over those of training
QUALITY = 98  # JPEG with full chroma: nearly lossless, and the same for both


@dataclass(frozen=True)
class PairOptions:
    """How many pairs are made.

    Attributes:
        pairs: of the training split; each held-out split gets an eighth of that. Fewer where faces run out.
        seed: of choice, size, noise and masks.
        max_unpacked_bytes: see `Archive`.
    """

    pairs: int
    seed: int
    max_unpacked_bytes: int


def write_reconstructed_pairs(source: Path, to: Path, autoencoder: Autoencoder, options: PairOptions) -> dict[str, int]:
    """Write an archive of `kind: labelled`: `SPLIT/NUMBER_real.jpg`, `SPLIT/NUMBER_fake.jpg` and labels.csv.

    Args:
        source: a zip with real pictures, as `download` packs it; their splits are kept.
        to: the zip to write; an old one stays until the new one is complete.
        autoencoder: of the fake pictures.
        options: number and seed.

    Returns:
        Pairs per split.

    Raises:
        ArchiveRejected: no real picture of the archive has a usable face.
    """
    entries: list[Entry] = []
    with Archive(source, options.max_unpacked_bytes) as opened, atomic_write(to) as temporary:
        write_zip(temporary, _files(opened, source.stem, autoencoder, options, entries))
        if not entries:
            raise ArchiveRejected(
                f"no real picture of {source.name} has a face of {MIN_FACE_PX} px", "name another zip"
            )
    return {split: sum(entry.split == split for entry in entries) // 2 for split in SPLITS}


def _files(
    opened: Archive, source: str, autoencoder: Autoencoder, options: PairOptions, entries: list[Entry]
) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of all pictures, then of the CSV file; `entries` lists the pictures."""
    detector = FaceDetector()
    for split in SPLITS:
        limit = options.pairs if split == "train" else int(options.pairs * HELD_OUT_SHARE)
        number = 0
        for entry in _shuffled(opened, split, options.seed):
            if number >= limit:
                break
            rng = np.random.default_rng([options.seed, number, SPLITS.index(split)])
            pair = _pair(opened.read(entry), detector, autoencoder, rng)
            if pair is None:
                continue
            for label, pixels in enumerate(pair):
                name = f"{split}/{source}_{number:05d}_{('real', 'fake')[label]}.jpg"
                entries.append(Entry(name, split, label, f"{source}:{entry.group or entry.path}"))
                yield name, _jpeg(pixels)
            number += 1
    yield CSV_NAME, labels_file_bytes(entries)


def _shuffled(opened: Archive, split: str, seed: int) -> list[Entry]:
    """One real picture of each group, in random order."""
    real = [entry for entry in opened.entries if entry.split == split and entry.label == 0]
    order = np.random.default_rng(seed).permutation(len(real))
    groups = {real[i].group or real[i].path: real[i] for i in reversed(order)}
    return list(groups.values())[::-1]


def _pair(
    data: bytes, detector: FaceDetector, autoencoder: Autoencoder, rng: np.random.Generator
) -> tuple[Pixels, Pixels] | None:
    """The real region and its reconstruction; None without a usable face."""
    try:
        rgb = decode_image(data)
    except (UnreadableImage, InputTooLarge):
        return None
    face = next(iter(detector.find(rgb)), None)
    return None if face is None or face.side_px < MIN_FACE_PX else reconstructed_pair(rgb, face, autoencoder, rng)


def _jpeg(rgb: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=QUALITY, subsampling="4:4:4")
    return buffer.getvalue()
