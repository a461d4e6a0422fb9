"""Copies with matched degradation: of training pictures only, the same at every run, each found and cropped anew."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.config import read_settings
from deepfake_detector.datasets.archive import Entry
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.errors import ArchiveRejected
from deepfake_detector.media.face_detector import Face, FaceDetector
from deepfake_detector.media.image import decode_image, encode_png
from deepfake_detector.preparation import crops
from deepfake_detector.preparation.crop_requests import CropRequest
from deepfake_detector.preparation.crops import CropResult, FaceCropper

SIDE_PX = 64
COPIES = 3


@pytest.fixture(scope="module")
def data() -> bytes:
    return draw_sample(5, "train", "real", 0)


@pytest.fixture(scope="module")
def cropper() -> FaceCropper:
    return FaceCropper(SIDE_PX, 64, 0.5, matched_copies=COPIES, seed=7)


def entry(split: str = "train", name: str = "a") -> Entry:
    return Entry(f"s/{name}.jpg", split, 1, "group", "s")


def pixels(result: CropResult) -> NDArray[np.uint8]:
    return np.stack([copy.pixels for copy in result.copies if copy.pixels is not None])


def test_copies_differ_and_depend_on_path_seed_and_number_alone(cropper: FaceCropper, data: bytes) -> None:
    first = cropper(entry(), data)
    assert first.pixels is not None
    assert first.entry == first.copies[0].entry == entry()
    crops = pixels(first)
    assert crops.shape == (COPIES, SIDE_PX, SIDE_PX, 3)
    assert all((crops[i] != crops[j]).any() for i in range(COPIES) for j in range(i))
    cropper(entry(name="other"), data)
    again = FaceCropper(SIDE_PX, 64, 0.5, matched_copies=COPIES + 1, seed=7)(entry(), data)
    assert np.array_equal(pixels(again)[:COPIES], crops)
    assert not np.array_equal(pixels(cropper(entry(name="other"), data)), crops)
    assert not np.array_equal(
        pixels(FaceCropper(SIDE_PX, 64, 0.5, matched_copies=COPIES, seed=8)(entry(), data)), crops
    )


def test_pictures_of_several_zips_are_cropped_in_any_order(
    tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crops, "process_map", map)
    settings = replace(read_settings(Path(__file__).parents[2] / "params.yaml").prepare, side_px=SIDE_PX)
    paths = ("b/part-1/x.jpg", "a/x.jpg", "b/part-0/x.jpg")
    for path in paths:
        (tmp_path / path).parent.parent.mkdir(exist_ok=True)
        write_zip((tmp_path / path).parent.with_suffix(".zip"), [("x.jpg", data)])
    digest = hashlib.sha256(data).hexdigest()
    requests = [CropRequest(Entry(path, "test", 0), digest, None, None) for path in paths]
    results = list(crops.crop_images(tmp_path, requests, settings, 2**30))
    assert [result.entry.path for result in results] == list(paths)
    assert all(result.pixels is not None for result in results)
    with pytest.raises(ArchiveRejected, match="b/part-2/x"):
        list(
            crops.crop_images(
                tmp_path, [CropRequest(Entry("b/part-2/x.jpg", "test", 0), "", None, None)], settings, 2**30
            )
        )


def test_the_picture_itself_is_cropped_as_without_copies(cropper: FaceCropper, data: bytes) -> None:
    alone, with_copies = FaceCropper(SIDE_PX, 64, 0.5)(entry(), data), cropper(entry(), data)
    assert alone.copies == ()
    assert alone.pixels is not None
    assert with_copies.pixels is not None
    assert np.array_equal(alone.pixels, with_copies.pixels)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_held_out_pictures_have_no_copies(cropper: FaceCropper, data: bytes, split: str) -> None:
    result = cropper(entry(split), data)
    assert result.pixels is not None
    assert result.copies == ()


def test_a_copy_shows_the_same_face_at_the_same_place(cropper: FaceCropper, data: bytes) -> None:
    original = cropper(entry(), data)
    assert original.pixels is not None
    assert original.landmarks_px is not None
    for copy in original.copies:
        assert copy.pixels is not None
        assert copy.landmarks_px is not None
        assert np.abs(copy.landmarks_px - original.landmarks_px).mean() < SIDE_PX / 16
        assert np.corrcoef(copy.pixels.ravel(), original.pixels.ravel())[0, 1] > 0.8


def test_copies_of_a_picture_that_is_upside_down_are_found_and_upright(cropper: FaceCropper, data: bytes) -> None:
    upright, turned = cropper(entry(), data), cropper(entry(), encode_png(np.rot90(decode_image(data), 2)))
    assert upright.pixels is not None
    assert len(pixels(turned)) == COPIES
    for crop in pixels(turned):
        assert np.corrcoef(crop.ravel(), upright.pixels.ravel())[0, 1] > 0.8


def test_a_copy_without_its_face_is_excluded_and_the_others_are_kept(
    cropper: FaceCropper, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, calls = FaceDetector.find_upright, list[tuple[int, ...]]()

    def lose_the_second(self: FaceDetector, rgb: NDArray[np.uint8]) -> Sequence[Face]:
        calls.append(rgb.shape)
        return [] if len(calls) == 2 else find(self, rgb)

    face = FaceDetector().find(decode_image(data))[0]
    monkeypatch.setattr(FaceDetector, "find_upright", lose_the_second)
    monkeypatch.setattr(FaceDetector, "find", lambda self, rgb: [])  # not needed: the picture's own face is known
    result = cropper(entry(), data, face)
    assert len(calls) == COPIES
    assert [copy.exclusion.code if copy.exclusion else "" for copy in result.copies] == ["", "faceless", ""]
    assert [copy.pixels is None for copy in result.copies] == [False, True, False]


def test_a_picture_without_a_crop_has_no_copies(cropper: FaceCropper, data: bytes) -> None:
    assert cropper(entry(), data[:4000]).copies == ()
    small = FaceCropper(SIDE_PX, 1000, 0.5, matched_copies=COPIES)(entry(), data)
    assert small.exclusion is not None
    assert small.copies == ()
