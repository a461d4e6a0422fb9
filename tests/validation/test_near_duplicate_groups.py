"""One picture saved twice is a group; two people who hash alike are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepfake_detector.datasets.archive import ROOT, pack
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.media.image import decode_image, encode_jpeg
from deepfake_detector.validation.manifest import build_manifest
from deepfake_detector.validation.near_duplicates import group_twins


def test_copies_and_pictures_saved_again_are_grouped_and_nothing_else(tmp_path: Path) -> None:
    one, two, three = (draw_sample(7, "train", "real", n) for n in range(3))
    flat = [encode_jpeg(np.full((64, 64, 3), grey, np.uint8)) for grey in (40, 200)]  # hash alike, look different
    files = {"0": one, "1": two, "2": one, "3": encode_jpeg(decode_image(two), quality=60), "4": three,
             "5": flat[0], "6": flat[1], "7": three[:2000], "8": three[:2000]}  # fmt: skip
    pack(tmp_path / "a.zip", ((f"{ROOT}/train/real/{name}.jpg", data) for name, data in files.items()))
    manifest = build_manifest(tmp_path / "a.zip", {})
    groups = group_twins(manifest, tmp_path / "a.zip", 4, 2**30)
    together = {tuple(np.flatnonzero(groups == group)) for group in set(groups.tolist())}
    assert together == {(0, 2), (1, 3), (4,), (5,), (6,), (7, 8)}
