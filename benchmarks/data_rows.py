"""The comparisons of the data stages: validate, prepare, and the search for near duplicates."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.timing import Row, compare
from deepfake_detector.data.archives import ROOT, Archive, Entry, pack
from deepfake_detector.data.crops import cut_crops
from deepfake_detector.data.duplicates import near_pairs
from deepfake_detector.data.manifest import build_manifest
from deepfake_detector.data.stream import cores
from deepfake_detector.data.wanted import in_random_order, wanted
from deepfake_detector.settings import Settings, read_settings
from deepfake_detector.workspace import Workspace

PICTURES = 2048  # enough for the worker processes to pay for their start
HASHES = 140_000  # as in the Kaggle set
FEW = 512  # that brute force compares with the rest; with all of them one would wait for minutes
LIMIT = 8 * 2**30


def data_rows(workspace: Workspace) -> Iterator[Row]:
    """Every row, one after another: pictures of the sources in data/raw, hashes drawn at random."""
    settings = read_settings(workspace.params)
    with TemporaryDirectory() as folder:
        archive = Path(folder) / "faces.zip"
        _some(workspace.raw, archive)
        yield _validating(archive)
        yield _preparing(archive, settings)
    yield _searching(settings.validate.near_duplicate_bits)


def _some(raw: Path, to: Path) -> None:
    """Pack the first pictures into one zip that both ways read."""
    with Archive(raw, LIMIT) as archive:
        some = archive.entries[:: max(1, len(archive.entries) // PICTURES)][:PICTURES]
        label = ("real", "fake")
        names = [f"{ROOT}/{e.split}/{label[e.label]}/{i:05}{Path(e.path).suffix}" for i, e in enumerate(some)]
        pack(to, ((name, archive.read(entry)) for name, entry in zip(names, some, strict=True)))


def _decoding(archive: Path) -> int:
    """The limit: read and decode every picture with libjpeg on all cores, and do nothing else."""

    def decode(entry: Entry) -> None:
        Image.open(io.BytesIO(opened.read(entry))).convert("RGB")

    # Threads, not processes: nothing is started or sent about, so the limit is as fast as can be.
    with Archive(archive, LIMIT) as opened, ThreadPoolExecutor(cores()) as pool:
        return sum(1 for _ in pool.map(decode, opened.entries))


def _validating(archive: Path) -> Row:
    def ours() -> int:
        return len(build_manifest(archive, {}, LIMIT))

    other = ("libjpeg decoding only, all cores", lambda: _decoding(archive))
    return compare("validate: a row per picture", ("build_manifest", ours), other, "pictures", runs=3)


def _preparing(archive: Path, settings: Settings) -> Row:
    """As the stage does it: `validate` has found the faces, and pictures are cut as they are."""
    manifest = in_random_order(build_manifest(archive, {}, LIMIT), settings.prepare.seed)
    how = replace(settings.prepare, reencode=0)

    def ours() -> int:
        return sum(1 for _ in cut_crops(archive, wanted(manifest, {}, as_they_are=True), how, LIMIT))

    other = ("libjpeg decoding only, all cores", lambda: _decoding(archive))
    return compare("prepare: cut training crops", ("cut_crops", ours), other, "pictures", runs=3)


def _searching(max_bits: int) -> Row:
    """Hashes per second, each compared with all that follow it: in the same set, so that the rates can be compared."""
    hashes = np.random.default_rng(0).permutation(np.unique(_drawn(HASHES)))

    def ours() -> int:
        near_pairs(hashes, max_bits)
        return len(hashes)

    def other() -> int:
        every = range(0, len(hashes), len(hashes) // FEW)
        for i in every:
            np.flatnonzero(np.bitwise_count(hashes[i + 1 :] ^ hashes[i]) <= max_bits)
        return len(every)

    names = (f"bands, {len(hashes):,} hashes", "brute force in numpy, the same")
    return compare(f"near duplicates, {max_bits} bits", (names[0], ours), (names[1], other), "hashes", runs=3)


def _drawn(count: int) -> NDArray[np.uint64]:
    """Hashes with half of their bits set, as a perceptual hash splits its frequencies at their median."""
    order = np.random.default_rng(1).random((count, 64)).argsort(axis=1)
    return np.packbits(order < 32, axis=1).view(np.uint64).ravel()
