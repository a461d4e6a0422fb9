"""A picture's bytes, and a video file: to our verdict, against the original project's way and against mere decoding."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.baselines import keras_network
from benchmarks.material import Material, decoded
from benchmarks.timing import Comparison, Variant, compare
from deepfake_detector.inference.detector import Detector
from deepfake_detector.io import suppress_native_stderr
from deepfake_detector.media.face_detector import FaceDetector
from deepfake_detector.media.image import decode_image

PICTURES, ROUNDS, VIDEO_ROUNDS = 48, 7, 3
FEW = 12  # for Keras, which takes longer
ORIGINAL_FPS = 3  # the original looks at three frames of each second, one by one
DECODE_AND_FIND, DECODE_VIDEO = 0.5, 0.67  # goals of issue 7: within 2 and 1.5 times


def verdict_rows(material: Material) -> Iterator[Comparison]:
    """Every row."""
    detector = Detector(material.bundle)
    yield from _pictures(material, detector)
    yield from _videos(material, detector)


def _pictures(material: Material, detector: Detector) -> list[Comparison]:
    pictures = material.pictures(material.some(PICTURES))
    model, side_px, finder = keras_network(detector.bundle), detector.bundle.contract.side_px, FaceDetector()
    others = [
        Variant(
            "Keras: decode, resize, predict",
            _each(pictures[:FEW], lambda data: model.predict(_resized(data, side_px)[None], verbose=0)),
        ),
        Variant("decode and find the face only", _each(pictures, lambda data: finder.find(decode_image(data)))),
        Variant("libjpeg decoding only", _each(pictures, decoded)),
    ]
    rounds = material.some(ROUNDS)
    goals = (None, DECODE_AND_FIND)
    return compare(
        "image, bytes to verdict",
        Variant("Detector", _each(pictures, detector.predict_image)),
        others,
        "picture",
        rounds,
        goals,
    )


def _each(pictures: Sequence[bytes], ask: Callable[[bytes], Any]) -> Callable[[], int]:
    def work() -> int:
        for data in pictures:
            ask(data)
        return len(pictures)

    return work


def _videos(material: Material, detector: Detector) -> list[Comparison]:
    clip, original = material.clip, _original_network()

    def ours() -> int:
        return 1 if detector.predict_video(clip) else 0

    def others() -> int:
        frames = [frame for number, frame in _frames(clip) if number % max(1, round(_fps(clip) / ORIGINAL_FPS)) == 0]
        for frame in frames:
            original.predict(_resized_frame(frame)[None], verbose=0)
        return 1

    def decode() -> int:
        return min(1, sum(1 for _ in _frames(clip)))

    ways = [
        Variant("InceptionV3 at 299 px, 3 frames a second", others),
        Variant("decoding the file once", decode),
    ]
    rounds = material.some(VIDEO_ROUNDS)
    return compare("video to verdict", Variant("Detector", ours), ways, "video", rounds, (None, DECODE_VIDEO))


def _original_network() -> Any:
    """The original project's video model: InceptionV3 and one decision. Untrained: how long it takes is the same."""
    with suppress_native_stderr():
        import keras
    base = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(299, 299, 3), pooling="avg")
    return keras.Sequential([base, keras.layers.Dense(1, activation="sigmoid")])


def _resized(data: bytes, side_px: int) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((side_px, side_px)))


def _resized_frame(frame: Any) -> Any:
    return np.asarray(frame.to_image().resize((299, 299)), np.float32) / 255


def _frames(path: Path) -> Iterator[tuple[int, Any]]:
    import av

    with av.open(str(path)) as container:
        yield from enumerate(container.decode(video=0))


def _fps(path: Path) -> float:
    import av

    with av.open(str(path)) as container:
        return float(container.streams.video[0].average_rate or 25)
