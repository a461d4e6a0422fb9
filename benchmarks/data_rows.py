"""The data stages: pictures described, cropped, tracked and checked per second, and the search for near duplicates."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.material import Material
from benchmarks.start_rows import running
from benchmarks.timing import MIB, Comparison, Variant, compare, row
from deepfake_detector.config import read_settings
from deepfake_detector.datasets.archive import Archive
from deepfake_detector.errors import ToolFailed
from deepfake_detector.media.face_detector import FaceDetector
from deepfake_detector.media.image import decode_image
from deepfake_detector.parallel import available_cores
from deepfake_detector.preparation.crop_requests import crop_requests, shuffled_within_splits
from deepfake_detector.preparation.crops import crop_images
from deepfake_detector.validation.manifest import build_manifest
from deepfake_detector.validation.near_duplicates import hamming_pairs

PICTURES, TRACKED, ROUNDS = 1536, 4096, 3  # enough for the worker processes to pay for their start
HASHES = 140_000  # as in the Kaggle set
FEW = 512  # that brute force compares with the rest; with all of them one would wait for minutes
LIMIT = 8 * 2**30
DECODING = 0.6  # goal of issue 7
LINEAR = 0.9  # at ten times the pictures: as fast per picture
_own = threading.local()  # a face detector serves one thread


def data_rows(material: Material) -> Iterator[Comparison]:
    """Every row, one after another."""
    archive, rounds = material.archive(material.some(PICTURES)), material.some(ROUNDS)
    decoding = Variant("libjpeg decoding only", lambda: _on_all_cores(archive, _decode))
    finding = Variant("decode and find the face only", lambda: _on_all_cores(archive, _find))
    looked = Variant("build_manifest", lambda: len(build_manifest(archive, {}, LIMIT)))
    yield from compare("validate", looked, [decoding, finding], "picture", rounds, (DECODING,))
    yield from compare(
        "prepare", Variant("cut_crops", _cutting(material, archive)), [decoding], "picture", rounds, (DECODING,)
    )
    yield from _tracking(material, rounds)
    yield from _searching(material, rounds)
    yield from check_rows(material, rounds)


def check_rows(material: Material, rounds: int) -> Iterator[Comparison]:
    """The data checks of as many pictures as the Kaggle set has, and of a tenth; each run is a process of its own."""
    many, few = material.some(HASHES), material.some(HASHES // 10)
    pairs = [(_checked(material, many), _checked(material, few)) for _ in range(rounds)]
    rates = [(many / big["checks_s"], many / big["suites_s"]) for big, _ in pairs]
    yield row(f"check {many:,} pictures", ("checkpoint and Data Docs", "the suites alone"), "picture", rates)
    names = (f"{many:,} pictures", f"{few:,} pictures")
    growth = [(many / big["checks_s"], few / little["checks_s"]) for big, little in pairs]
    yield row("data checks grow in line with the pictures", names, "picture", growth, LINEAR)
    yield row("memory of the data checks", names, MIB, [(big["peak_mib"], little["peak_mib"]) for big, little in pairs])


def _checked(material: Material, pictures: int) -> dict[str, float]:
    folder, root = material.scratch / "checks", material.workspace.root
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / "gx", folder / "gx")
    command = (sys.executable, "-m", "benchmarks.check_manifest", str(folder), str(pictures))
    environment = material.workspace.tool_environment() | os.environ
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolFailed(f"benchmarks.check_manifest ended with {done.returncode}", done.stderr[-2000:])
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _on_all_cores(archive: Path, work: Callable[[bytes], object]) -> int:
    """Threads, not processes: nothing is started or sent about, so the limit is as fast as can be."""
    with Archive(archive, LIMIT) as opened, ThreadPoolExecutor(available_cores()) as pool:
        return sum(1 for _ in pool.map(lambda entry: work(opened.read(entry)), opened.entries))


def _decode(data: bytes) -> None:
    Image.open(io.BytesIO(data)).convert("RGB")


def _find(data: bytes) -> None:
    if not hasattr(_own, "finder"):
        _own.finder = FaceDetector()
    _own.finder.find(decode_image(data))


def _cutting(material: Material, archive: Path) -> Callable[[], int]:
    """As the stage does it: `validate` has found the faces, and pictures are cut as they are."""
    settings = read_settings(material.workspace.params)
    manifest = shuffled_within_splits(build_manifest(archive, {}, LIMIT), settings.prepare.seed)
    how = replace(settings.prepare, reencode=0)
    return lambda: sum(1 for _ in crop_images(archive, crop_requests(manifest, {}, reuse_faces=True), how, LIMIT))


def _tracking(material: Material, rounds: int) -> list[Comparison]:
    """Pictures put under DVC: one archive, as ours are, or loose files, as most data sets are."""
    count = material.some(TRACKED)
    archive, folder = material.archive(count), material.folder(count)
    ways = [_added(material.scratch, "dvc add, one archive", archive, count),
            _added(material.scratch, "dvc add, loose files", folder, count)]  # fmt: skip
    return compare("track pictures", ways[0], ways[1:], "picture", rounds)


def _added(scratch: Path, name: str, what: Path, count: int) -> Variant:
    """Each time in a new repository: what DVC has seen once it does not read again."""
    home = scratch / f"dvc-{what.stem}"
    environment = {**os.environ, "DVC_SITE_CACHE_DIR": str(home / ".site")}
    dvc = (sys.executable, "-m", "dvc")

    def prepare() -> None:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        (shutil.copytree if what.is_dir() else shutil.copyfile)(what, home / what.name)
        running((*dvc, "init", "--no-scm", "--quiet"), home, environment)()

    add = running((*dvc, "add", "--quiet", what.name), home, environment)
    return Variant(name, lambda: count * add(), prepare)


def _searching(material: Material, rounds: int) -> list[Comparison]:
    """Hashes per second, each compared with all that follow it: in the same set, so that the rates can be compared."""
    max_bits = read_settings(material.workspace.params).validate.near_duplicate_bits
    hashes = np.random.default_rng(0).permutation(np.unique(_drawn(material.some(HASHES))))

    def ours() -> int:
        hamming_pairs(hashes, max_bits)
        return len(hashes)

    def other() -> int:
        every = range(0, len(hashes), max(1, len(hashes) // FEW))
        for i in every:
            np.flatnonzero(np.bitwise_count(hashes[i + 1 :] ^ hashes[i]) <= max_bits)
        return len(every)

    name = f"near duplicates among {len(hashes):,}"
    return compare(name, Variant("bands", ours), [Variant("brute force in numpy", other)], "hash", rounds)


def _drawn(count: int) -> NDArray[np.uint64]:
    """Hashes with half of their bits set, as a perceptual hash splits its frequencies at their median."""
    order = np.random.default_rng(1).random((count, 64)).argsort(axis=1)
    return np.packbits(order < 32, axis=1).view(np.uint64).ravel()
