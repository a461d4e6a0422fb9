"""Training and serving make the same crop of the same bytes, or reject the face for the same reason."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.config import read_settings
from deepfake_detector.datasets.archive import KAGGLE_ROOT, Archive
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.inference.detector import Detector
from deepfake_detector.inference.engine import Engine, EngineOutput
from deepfake_detector.media.face_detector import FaceDetector
from deepfake_detector.media.image import ORIENTATION_TAG, decode_image, encode_jpeg, encode_png
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.preparation import crops
from deepfake_detector.preparation.crop_requests import crop_requests
from deepfake_detector.preparation.crops import CropResult, FaceCropper
from deepfake_detector.validation.manifest import build_manifest, read_manifest, write_manifest

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture(scope="module")
def detector(tiny_bundle: Bundle) -> Detector:
    return Detector(tiny_bundle)


@pytest.fixture
def prepare_crop(tmp_path: Path, tiny_bundle: Bundle) -> Callable[[str, bytes], CropResult]:
    """File name and bytes -> the crop that `prepare` makes with the settings of the bundle's contract."""

    def crop(name: str, data: bytes) -> CropResult:
        with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
            archive.writestr(f"{KAGGLE_ROOT}/train/real/{name}", data)
        contract = tiny_bundle.contract
        with Archive(tmp_path / "faces.zip", max_unpacked_bytes=2**24) as opened:
            (entry,) = opened.entries
            cropper = FaceCropper(contract.side_px, contract.min_face_px, contract.crop_scale)
            return cropper(entry, opened.read(entry))

    return crop


def jpeg(label: str, index: int) -> bytes:
    return draw_sample(5, "train", label, index)


def png(label: str, index: int) -> bytes:
    return encode_png(decode_image(jpeg(label, index)))


@pytest.mark.parametrize(("name", "encode"), [("0.jpg", jpeg), ("0.png", png)])
@pytest.mark.parametrize("label", ["real", "fake"])
@pytest.mark.parametrize("index", [0, 1])
def test_the_training_crop_is_the_serving_crop(
    detector: Detector,
    prepare_crop: Callable[[str, bytes], CropResult],
    name: str,
    encode: Callable[[str, int], bytes],
    label: str,
    index: int,
) -> None:
    data = encode(label, index)
    crop = prepare_crop(name, data)
    (served,) = detector.crop_faces(decode_image(data, detector.limits.image))
    assert crop.pixels is not None
    assert served.pixels is not None
    assert crop.pixels.shape == served.pixels.shape
    assert crop.pixels.tobytes() == served.pixels.tobytes()


def sideways(rgb: NDArray[np.uint8]) -> bytes:
    """A JPEG that is stored rotated, with an EXIF orientation tag."""
    stream, tagged = io.BytesIO(), Image.Exif()
    tagged[ORIENTATION_TAG] = 6
    Image.fromarray(np.rot90(rgb)).save(stream, "JPEG", quality=92, exif=tagged)
    return stream.getvalue()


def test_the_face_in_the_manifest_gives_the_serving_crop(
    detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was detected in other processes with one thread each and stored; it is cropped without a second detection."""
    rgb = decode_image(jpeg("real", 1))
    large = np.asarray(cv2.resize(rgb, (1000, 1000), interpolation=cv2.INTER_CUBIC))
    pictures = {
        "drawn.jpg": jpeg("fake", 1), "same.png": encode_png(rgb), "large.jpg": encode_jpeg(large),
        "wide.png": encode_png(np.hstack([rgb[:, ::-1], rgb[::2, ::2].repeat(2, axis=0), large[:256, :300]])),
        "sideways.jpg": sideways(large[:900]),
    }  # fmt: skip
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for name, data in pictures.items():
            archive.writestr(f"{KAGGLE_ROOT}/train/real/{name}", data)
    write_manifest(build_manifest(tmp_path / "faces.zip", {}), tmp_path / "manifest.parquet")

    def never(*_: object) -> None:
        raise AssertionError("a face was detected again")

    contract, settings = detector.bundle.contract, read_settings(PARAMS).prepare
    prepare = replace(settings, side_px=contract.side_px, crop_scale=contract.crop_scale, reencode=0)
    with monkeypatch.context() as patch:
        patch.setattr(crops, "process_map", map)
        patch.setattr(FaceDetector, "find", never)
        requests = crop_requests(read_manifest(tmp_path / "manifest.parquet"), {}, reuse_faces=True)
        found = {
            c.entry.path.rpartition("/")[2]: c
            for c in crops.crop_images(tmp_path / "faces.zip", requests, prepare, 2**30)
        }
    assert set(found) == set(pictures)
    for name, data in pictures.items():
        served, crop = detector.crop_faces(decode_image(data))[0].pixels, found[name].pixels
        assert served is not None, name
        assert crop is not None, name
        assert crop.tobytes() == served.tobytes(), name


def test_the_engine_gets_that_crop_and_nothing_else(
    detector: Detector, prepare_crop: Callable[[str, bytes], CropResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[NDArray[np.uint8]] = []
    score = Engine.score

    def spy(engine: Engine, crops: NDArray[np.uint8]) -> EngineOutput:
        scored.append(crops.copy())
        return score(engine, crops)

    monkeypatch.setattr(Engine, "score", spy)
    detector.predict_image(jpeg("real", 2))
    crop = prepare_crop("2.jpg", jpeg("real", 2))
    assert crop.pixels is not None
    assert [crops.shape for crops in scored] == [(1, *crop.pixels.shape)]
    assert scored[0].tobytes() == crop.pixels.tobytes()


def blurred(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), 6), np.uint8)


def distant(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    small = cv2.resize(rgb, (80, 80), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.copyMakeBorder(small, 90, 90, 90, 90, cv2.BORDER_REPLICATE), np.uint8)


@pytest.mark.parametrize(("spoil", "reason"), [(blurred, "too blurred"), (distant, "at least 48 are needed")])
@pytest.mark.parametrize(("name", "encode"), [("0.jpg", encode_jpeg), ("0.png", encode_png)])
def test_a_face_that_serving_rejects_is_not_trained_on(
    detector: Detector,
    prepare_crop: Callable[[str, bytes], CropResult],
    spoil: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
    reason: str,
    name: str,
    encode: Callable[[NDArray[np.uint8]], bytes],
) -> None:
    data = encode(spoil(decode_image(jpeg("real", 0))))
    crop = prepare_crop(name, data)
    answer = detector.predict_image(data)
    assert crop.pixels is None
    assert crop.exclusion is not None
    assert reason in crop.exclusion.reason
    assert answer.faces[0].problem == crop.exclusion.reason
    assert (answer.verdict, answer.p_fake) == ("inconclusive", None)
