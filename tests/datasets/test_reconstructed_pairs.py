"""Pairs keep the splits and groups of their source, and `download` packs the archive as it is."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.datasets.archive import KAGGLE_ROOT, Archive
from deepfake_detector.datasets.labelled import pack_labelled
from deepfake_detector.datasets.reconstructed_pairs import PairOptions, write_reconstructed_pairs
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.errors import ArchiveRejected
from deepfake_detector.media.image import decode_image, encode_png

LIMIT = 2**30


class Inverted:
    """An autoencoder that makes a negative."""

    def encode(self, rgb: NDArray[np.uint8], /) -> NDArray[np.float32]:
        return rgb.astype(np.float32)

    def decode(self, latents: NDArray[np.float32], /) -> NDArray[np.uint8]:
        return 255 - np.clip(latents, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raw") / "faces.zip"
    drawn = {
        f"{KAGGLE_ROOT}/{split}/{label}/{i}.jpg": draw_sample(5, split, label, i)
        for split in ("train", "valid", "test")
        for label in ("real", "fake")
        for i in range(4)
    }
    wall = encode_png(np.full((64, 64, 3), 90, np.uint8))
    broken = drawn[f"{KAGGLE_ROOT}/train/real/0.jpg"][:500]
    extra = {f"{KAGGLE_ROOT}/train/real/wall.png": wall, f"{KAGGLE_ROOT}/train/real/broken.jpg": broken}
    write_zip(path, (drawn | extra).items())
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with zipfile.ZipFile(path) as archive:
        return list(csv.DictReader(io.StringIO(archive.read("labels.csv").decode())))


def test_an_archive_of_pairs_is_packed_as_a_labelled_source(source: Path, tmp_path: Path) -> None:
    made = write_reconstructed_pairs(source, tmp_path / "pairs.zip", Inverted(), PairOptions(100, 0, LIMIT))
    assert made == {"train": 4, "valid": 4, "test": 4}  # all there are
    listed = rows(tmp_path / "pairs.zip")
    assert len(listed) == 24
    assert pack_labelled(tmp_path / "pairs.zip", tmp_path / "packed.zip", 0.1, LIMIT) == 0
    with Archive(tmp_path / "packed.zip", LIMIT) as packed:
        assert packed.counts() == {split: {"real": 4, "fake": 4} for split in ("train", "valid", "test")}
        groups = [entry.group for entry in packed.entries]
        assert all(groups.count(group) == 2 for group in groups)
        sizes = {entry.group: decode_image(packed.read(entry)).shape for entry in packed.entries}
        assert all(decode_image(packed.read(entry)).shape == sizes[entry.group] for entry in packed.entries)


def test_held_out_splits_get_an_eighth_and_the_same_seed_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        made = write_reconstructed_pairs(source, tmp_path / name, Inverted(), PairOptions(8, seed, LIMIT))
        assert made == {"train": 4, "valid": 1, "test": 1}
    contents = [(tmp_path / name).read_bytes() for name in "abc"]
    assert contents[0] == contents[1] != contents[2]


def test_an_archive_without_faces_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    wall = encode_png(np.full((64, 64, 3), 90, np.uint8))
    write_zip(tmp_path / "walls.zip", [(f"{KAGGLE_ROOT}/train/real/{i}.png", wall) for i in range(2)])
    with pytest.raises(ArchiveRejected, match=r"no real picture of walls\.zip has a face of 48 px"):
        write_reconstructed_pairs(tmp_path / "walls.zip", tmp_path / "out.zip", Inverted(), PairOptions(2, 0, LIMIT))
    assert [path.name for path in tmp_path.iterdir()] == ["walls.zip"]
