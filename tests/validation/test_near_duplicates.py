"""Near-duplicates: similar hashes are found without comparing all pairs, and pixels confirm them."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.datasets.archive import KAGGLE_ROOT
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.media.image import decode_image, encode_jpeg
from deepfake_detector.validation import near_duplicates
from deepfake_detector.validation.manifest import build_manifest
from deepfake_detector.validation.near_duplicates import (
    duplicate_groups,
    find_near_duplicates,
    hamming_pairs,
    same_image,
    similar_hash_pairs,
)
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
    write_zip(archive, ((f"{KAGGLE_ROOT}/{name}", data) for name, data in pictures.items()))
    rows = []
    for name, data in sorted(pictures.items()):
        split, label, _ = name.split("/")
        phash = str(imagehash.phash(Image.open(io.BytesIO(data))))
        rows.append({"path": f"{KAGGLE_ROOT}/{name}", "split": split, "label": int(label == "fake"), "phash": phash,
                     "group": name, "sha256": str(hash(data)), "error": ""})  # fmt: skip
    return pd.DataFrame(rows), archive


def similar(manifest: pd.DataFrame, archive: Path, max_bits: int = 4) -> list[set[str]]:
    pairs = find_near_duplicates(manifest, archive, max_bits, LIMIT)
    names = manifest["path"].str.removeprefix(f"{KAGGLE_ROOT}/")
    return [{names[i], names[j]} for i, j in pairs]


@pytest.mark.parametrize(("quality", "side_px"), [(90, 128), (50, 128), (20, 128), (80, 96)])
def test_a_recompressed_picture_is_found(tmp_path: Path, quality: int, side_px: int) -> None:
    pictures = {f"train/real/{n}.jpg": encoded(scene(n)) for n in range(8)}
    pictures["test/real/again.jpg"] = encoded(scene(3), quality, side_px)
    assert similar(*build(tmp_path, pictures)) == [{"train/real/3.jpg", "test/real/again.jpg"}]


def test_pairs_within_one_split_and_class_and_equal_bytes_are_not_reported(tmp_path: Path) -> None:
    again = encoded(scene(3), 50)
    manifest, archive = build(
        tmp_path,
        {
            "train/real/a.jpg": encoded(scene(3)),
            "train/real/b.jpg": again,  # in the same split and class: no leak
            "train/fake/c.jpg": again,
            "valid/real/d.jpg": encoded(scene(9)),
            "test/real/e.jpg": encoded(scene(9)),
        },
    )
    pairs = similar(manifest, archive)
    assert {"train/real/a.jpg", "train/fake/c.jpg"} in pairs
    assert all("train/fake/c.jpg" in pair for pair in pairs)  # d and e are the same file


def test_a_face_swap_may_resemble_its_original_in_the_same_split(tmp_path: Path) -> None:
    pictures = {"train/real/a.jpg": encoded(scene(3)), "train/fake/b.jpg": encoded(scene(3), 50)}
    manifest, archive = build(tmp_path, pictures)
    assert len(similar(manifest, archive)) == 1
    manifest["group"] = "a.mp4"
    assert similar(manifest, archive) == []
    manifest["split"] = ["train", "test"]
    assert len(similar(manifest, archive)) == 1


def test_similar_hashes_of_different_pictures_are_no_pair(tmp_path: Path) -> None:
    manifest, archive = build(tmp_path, {"train/real/a.jpg": encoded(scene(1)), "test/real/b.jpg": encoded(scene(2))})
    manifest["phash"] = ["0" * 16, "0" * 15 + "1"]
    assert similar(manifest, archive) == []


def test_unreadable_pictures_are_ignored(tmp_path: Path) -> None:
    pictures = {"train/real/a.jpg": encoded(scene(1)), "test/real/b.jpg": encoded(scene(1), 50)}
    manifest, archive = build(tmp_path, pictures)
    assert len(similar(manifest, archive)) == 1
    manifest.loc[0, "error"] = "cut short"
    assert similar(manifest, archive) == []


def test_the_archive_is_not_read_without_similar_hashes(tmp_path: Path) -> None:
    manifest, _ = build(tmp_path, {"train/real/a.jpg": encoded(scene(1)), "test/real/b.jpg": encoded(scene(2))})
    assert len(find_near_duplicates(manifest, tmp_path / "missing.zip", 4, LIMIT)) == 0


def test_same_image_tolerates_recompression_but_not_other_light_or_content() -> None:
    one, other = thumbnail(scene(1)), thumbnail(scene(2))
    lighter = np.clip(one.astype(int) + 12, 0, 255).astype(np.uint8)
    noisy = np.clip(one + np.random.default_rng(0).normal(0, 3, one.shape), 0, 255).astype(np.uint8)
    first = np.stack([one, one, one, one])
    assert same_image(first, np.stack([one, noisy, lighter, other])).tolist() == [True, True, False, False]
    flat = np.full((1, 32, 32), 7, np.uint8)
    assert same_image(flat, flat).all()
    assert not same_image(flat, flat + np.uint8(20)).any()


@pytest.mark.parametrize("compared", [1, 2, 4096])
def test_exact_and_recompressed_duplicates_are_grouped_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compared: int
) -> None:
    monkeypatch.setattr(near_duplicates, "_COMPARED_PAIRS", compared)
    one, two, three = (draw_sample(7, "train", "real", n) for n in range(3))
    flat = [encode_jpeg(np.full((64, 64, 3), grey, np.uint8)) for grey in (40, 200)]  # hash alike, look different
    files = {"0": one, "1": two, "2": one, "3": encode_jpeg(decode_image(two), quality=60), "4": three,
             "5": flat[0], "6": flat[1], "7": three[:2000], "8": three[:2000]}  # fmt: skip
    write_zip(tmp_path / "a.zip", ((f"{KAGGLE_ROOT}/train/real/{name}.jpg", data) for name, data in files.items()))
    manifest = build_manifest(tmp_path / "a.zip", {})
    groups = duplicate_groups(manifest, tmp_path / "a.zip", 4, 2**30)
    together = {tuple(np.flatnonzero(groups == group)) for group in set(groups.tolist())}
    assert together == {(0, 2), (1, 3), (4,), (5,), (6,), (7, 8)}


def test_groups_are_closed_under_similarity(tmp_path: Path) -> None:
    # A chain: each hash is 3 bits from the next, the ends are 6 bits apart.
    pictures = {f"train/real/{n}.jpg": encoded(scene(3), quality) for n, quality in enumerate((95, 80, 60))}
    pictures["train/real/3.jpg"] = encoded(scene(4))
    manifest, archive = build(tmp_path, pictures)
    manifest["phash"] = ["0" * 16, "0" * 15 + "7", "0" * 14 + "3f", "f" * 16]
    groups = duplicate_groups(manifest, archive, 3, LIMIT)
    assert groups[0] == groups[1] == groups[2] != groups[3]
    assert len(set(duplicate_groups(manifest, archive, 2, LIMIT))) == 4


def digits(numbers: np.ndarray) -> list[str]:
    return [f"{number:016x}" for number in numbers.tolist()]


def brute_force(phash: list[str], max_bits: int) -> list[tuple[int, int, int]]:
    numbers = [int(text, 16) for text in phash]
    pairs = [(i, j, (numbers[i] ^ numbers[j]).bit_count()) for j in range(len(numbers)) for i in range(j)]
    return sorted(pair for pair in pairs if pair[2] <= max_bits)


def clustered_hashes(rng: np.random.Generator, clusters: int, each: int, flips: int) -> np.ndarray:
    """Distinct hashes that lie up to `flips` bits from one of a few centres."""
    centres = rng.integers(0, 2**64, clusters, np.uint64)
    hashes = np.repeat(centres, each)
    for _ in range(flips):
        bit = np.uint64(1) << rng.integers(0, 64, len(hashes)).astype(np.uint64)
        hashes = np.where(rng.random(len(hashes)) < 0.6, hashes ^ bit, hashes)
    return rng.permutation(np.unique(hashes))


@pytest.mark.parametrize("max_bits", [0, 1, 3, 4, 7])
@pytest.mark.parametrize("seed", range(4))
def test_clustered_hashes_give_what_brute_force_gives(seed: int, max_bits: int) -> None:
    phash = digits(clustered_hashes(np.random.default_rng(seed), 12, 40, 3))
    expected = brute_force(phash, max_bits)
    assert similar_hash_pairs(phash, max_bits) == expected
    assert bool(expected) == (max_bits > 0)


@pytest.mark.parametrize("max_bits", [0, 4, 8])
def test_smaller_buckets_for_many_hashes_give_the_same_pairs(monkeypatch: pytest.MonkeyPatch, max_bits: int) -> None:
    phash = digits(clustered_hashes(np.random.default_rng(1), 30, 40, 3))
    expected, masks = similar_hash_pairs(phash, max_bits), len(near_duplicates._masks(len(phash), max_bits))
    assert bool(expected) == (max_bits > 0)
    monkeypatch.setattr(near_duplicates, "_SORTING", 0.0)  # as if nothing but comparisons took time
    assert len(near_duplicates._masks(len(phash), max_bits)) >= masks
    assert max_bits == 0 or len(near_duplicates._masks(len(phash), max_bits)) > masks
    assert similar_hash_pairs(phash, max_bits) == expected


def test_random_hashes_give_what_brute_force_gives() -> None:
    rng = np.random.default_rng(5)
    phash = digits(rng.integers(0, 2**64, 600, np.uint64))
    # 20 bits: random 64-bit hashes are that near now and then; every band has three bits.
    expected = brute_force(phash, 20)
    assert len(expected) > 50
    assert similar_hash_pairs(phash, 20) == expected


@pytest.mark.parametrize("bits", range(5))
def test_differences_anywhere_in_the_hash_are_found(bits: int) -> None:
    rng = np.random.default_rng(bits)
    for _ in range(200):
        first = int(rng.integers(0, 2**64, dtype=np.uint64))
        second = first
        for bit in rng.permutation(64)[:bits]:
            second ^= 1 << int(bit)
        pair = [f"{first:016x}", f"{second:016x}"]
        assert similar_hash_pairs(pair, 4) == [(0, 1, bits)]
        assert similar_hash_pairs(pair, bits - 1 if bits else 0) == ([] if bits else [(0, 1, 0)])


def test_the_widest_search_compares_everything() -> None:
    phash = digits(np.random.default_rng(0).integers(0, 2**64, 30, np.uint64))
    assert similar_hash_pairs(phash, 63) == brute_force(phash, 63)


@pytest.mark.parametrize("phash", [[], [""], ["", ""], ["0" * 16], ["", "f" * 16, ""]])
def test_unreadable_and_lone_hashes_give_no_pair(phash: list[str]) -> None:
    assert similar_hash_pairs(phash, 4) == []


def test_unreadable_pictures_are_skipped_and_positions_kept() -> None:
    assert similar_hash_pairs(["", "0" * 16, "", "0" * 15 + "3"], 4) == [(1, 3, 2)]


def test_many_equal_hashes_give_a_linear_number_of_pairs() -> None:
    black, near = "8" + "0" * 15, "8" + "0" * 14 + "1"
    phash = [black] * 20_000 + [near] * 3
    pairs = similar_hash_pairs(phash, 4)
    assert len(pairs) == 19_999 + 2 + 20_000 + 2
    assert {i for pair in pairs for i in pair[:2]} == set(range(20_003))


def test_only_pairs_across_sides_are_found_and_every_such_picture_is_in_one() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        few = clustered_hashes(rng, 6, 5, 2)
        phash = digits(rng.choice(few, 60))  # many equal ones
        sides = rng.choice(["train", "valid", "test"], 60).tolist()
        expected = [pair for pair in brute_force(phash, 4) if sides[pair[0]] != sides[pair[1]]]
        found = similar_hash_pairs(phash, 4, sides)
        assert set(found) <= set(expected)
        assert {i for pair in found for i in pair[:2]} == {i for pair in expected for i in pair[:2]}
        assert len(found) == len(set(found))


def test_a_bucket_that_holds_every_hash_is_searched_in_linear_memory() -> None:
    # All are equal in one band of five (bits 0, 5, 10, ...): every pair is a candidate, hardly any is near.
    rng = np.random.default_rng(2)
    band = np.uint64(sum(1 << bit for bit in range(0, 64, 5)))
    hashes = np.unique(rng.integers(0, 2**64, 3000, np.uint64) & ~band)
    tracemalloc.start()
    first, _, _ = hamming_pairs(hashes, 4)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(first) == 0
    assert peak_bytes < 200 * len(hashes) + 2**20  # all 4.5 million candidates at once: 72 MB
