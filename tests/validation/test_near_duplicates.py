"""Copies that were saved anew are found; pictures whose hashes are near by chance are not."""

from __future__ import annotations

import io
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.datasets.archive import ROOT, pack
from deepfake_detector.validation.near_duplicates import find_lookalikes, same_picture
from deepfake_detector.validation.thumbnails import thumbnail

LIMIT = 2**30


def scene(seed: int) -> NDArray[np.uint8]:
    """A smooth picture (128, 128, 3): a few random waves."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
    return np.asarray(small.resize((128, 128), Image.Resampling.BICUBIC))


def encoded(rgb: NDArray[np.uint8], quality: int = 95, side_px: int = 128) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).resize((side_px, side_px)).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def build(tmp_path: Path, pictures: dict[str, bytes]) -> tuple[pd.DataFrame, Path]:
    archive = tmp_path / "faces.zip"
    pack(archive, ((f"{ROOT}/{name}", data) for name, data in pictures.items()))
    rows = []
    for name, data in sorted(pictures.items()):
        split, label, _ = name.split("/")
        phash = str(imagehash.phash(Image.open(io.BytesIO(data))))
        rows.append({"path": f"{ROOT}/{name}", "split": split, "label": int(label == "fake"), "phash": phash,
                     "group": name, "sha256": str(hash(data)), "error": ""})  # fmt: skip
    return pd.DataFrame(rows), archive


def found(manifest: pd.DataFrame, archive: Path, max_bits: int = 4) -> list[set[str]]:
    pairs = find_lookalikes(manifest, archive, max_bits, LIMIT)
    names = manifest["path"].str.removeprefix(f"{ROOT}/")
    return [{names[i], names[j]} for i, j in pairs]


@pytest.mark.parametrize(("quality", "side_px"), [(90, 128), (50, 128), (20, 128), (80, 96)])
def test_a_picture_saved_anew_is_found(tmp_path: Path, quality: int, side_px: int) -> None:
    pictures = {f"train/real/{n}.jpg": encoded(scene(n)) for n in range(8)}
    pictures["test/real/again.jpg"] = encoded(scene(3), quality, side_px)
    assert found(*build(tmp_path, pictures)) == [{"train/real/3.jpg", "test/real/again.jpg"}]


def test_only_other_splits_and_other_labels_are_asked_and_no_equal_bytes(tmp_path: Path) -> None:
    again = encoded(scene(3), 50)
    manifest, archive = build(
        tmp_path,
        {
            "train/real/a.jpg": encoded(scene(3)),
            "train/real/b.jpg": again,  # beside it: counts double, which is no leak
            "train/fake/c.jpg": again,
            "valid/real/d.jpg": encoded(scene(9)),
            "test/real/e.jpg": encoded(scene(9)),
        },
    )
    pairs = found(manifest, archive)
    assert {"train/real/a.jpg", "train/fake/c.jpg"} in pairs
    assert all("train/fake/c.jpg" in pair for pair in pairs)  # d and e are one and the same file


def test_a_swapped_face_may_look_like_the_picture_of_its_group_in_the_same_split(tmp_path: Path) -> None:
    pictures = {"train/real/a.jpg": encoded(scene(3)), "train/fake/b.jpg": encoded(scene(3), 50)}
    manifest, archive = build(tmp_path, pictures)
    assert len(found(manifest, archive)) == 1
    manifest["group"] = "a.mp4"
    assert found(manifest, archive) == []
    manifest["split"] = ["train", "test"]
    assert len(found(manifest, archive)) == 1


def test_near_hashes_of_different_pictures_are_no_pair(tmp_path: Path) -> None:
    manifest, archive = build(tmp_path, {"train/real/a.jpg": encoded(scene(1)), "test/real/b.jpg": encoded(scene(2))})
    manifest["phash"] = ["0" * 16, "0" * 15 + "1"]
    assert found(manifest, archive) == []


def test_unreadable_pictures_are_left_alone(tmp_path: Path) -> None:
    pictures = {"train/real/a.jpg": encoded(scene(1)), "test/real/b.jpg": encoded(scene(1), 50)}
    manifest, archive = build(tmp_path, pictures)
    assert len(found(manifest, archive)) == 1
    manifest.loc[0, "error"] = "cut short"
    assert found(manifest, archive) == []


def test_nothing_is_read_when_no_hashes_are_near(tmp_path: Path) -> None:
    manifest, _ = build(tmp_path, {"train/real/a.jpg": encoded(scene(1)), "test/real/b.jpg": encoded(scene(2))})
    assert len(find_lookalikes(manifest, tmp_path / "missing.zip", 4, LIMIT)) == 0


def test_same_picture_allows_for_encoding_but_not_for_light_or_content() -> None:
    one, other = thumbnail(scene(1)), thumbnail(scene(2))
    lighter = np.clip(one.astype(int) + 12, 0, 255).astype(np.uint8)
    noisy = np.clip(one + np.random.default_rng(0).normal(0, 3, one.shape), 0, 255).astype(np.uint8)
    first = np.stack([one, one, one, one])
    assert same_picture(first, np.stack([one, noisy, lighter, other])).tolist() == [True, True, False, False]
    flat = np.full((1, 32, 32), 7, np.uint8)
    assert same_picture(flat, flat).all()
    assert not same_picture(flat, flat + np.uint8(20)).any()
