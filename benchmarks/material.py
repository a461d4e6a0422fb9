"""../shared/data if it is there, else drawings -> the pictures, crops, clip and models that all ways are given."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.datasets.archive import KAGGLE_ROOT, Archive, Entry
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.model.bundle import Bundle, read_bundle
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.crops import FaceCropper

DATA = "DEEPFAKE_BENCH_DATA"  # names a folder like ../shared/data
LABELS = ("real", "fake")
SEED, DRAWN = 20261122, 64  # drawings that differ; more are the same ones again
CLIP_S, CLIP_FPS = 10, 25
CLIP_SIDE_PX = (640, 360)


@dataclass(frozen=True)
class Material:
    """What is measured on.

    Attributes:
        workspace: the checkout.
        scratch: a folder for files in between.
        data: a folder with real_vs_fake.zip and videos/, or None.
        scale: 1 for `make bench`; tests, and DEEPFAKE_BENCH_SCALE, ask for a fraction of the work.
    """

    workspace: Workspace
    scratch: Path
    data: Path | None
    scale: float = 1.0

    @property
    def said(self) -> str:
        """What it is, for people."""
        return "photographs of the Kaggle set" if self.data else "the drawn sample"

    def some(self, count: int) -> int:
        """A number of pictures, runs or files, at the scale asked for."""
        return max(1, round(count * self.scale))

    def pictures(self, count: int) -> list[bytes]:
        """Encoded pictures, half real, half fake; the same ones again where there are not enough."""
        found = self._real[:count] if self.data else self._drawn[:count]
        return [found[i % len(found)] for i in range(count)]

    def archive(self, count: int) -> Path:
        """A zip of pictures in the Kaggle layout, none of them twice as a file."""
        path = self.scratch / f"faces-{count}.zip"
        if not path.exists():
            named = (
                (f"{KAGGLE_ROOT}/train/{LABELS[i % 2]}/{i:05}.jpg", data) for i, data in enumerate(self.pictures(count))
            )
            write_zip(path, named)
        return path

    def folder(self, count: int) -> Path:
        """The same pictures as loose files."""
        folder = self.scratch / f"loose-{count}"
        if not folder.exists():
            folder.mkdir()
            for i, data in enumerate(self.pictures(count)):
                (folder / f"{i:05}.jpg").write_bytes(data)
        return folder

    def crops(self, count: int) -> NDArray[np.uint8]:
        """Aligned crops (count, side, side, 3), as the model is shown them."""
        contract = self.bundle.contract
        cutter = FaceCropper(contract.side_px, contract.min_face_px, contract.crop_scale)
        cut = (cutter(Entry(f"{i}.jpg", "test", i % 2), data).pixels for i, data in enumerate(self.pictures(count)))
        found = [pixels for pixels in cut if pixels is not None]
        return np.stack([found[i % len(found)] for i in range(count)])

    @cached_property
    def clip(self) -> Path:
        """A video of some seconds with a face in it."""
        if self.data:
            return next(iter(sorted((self.data / "videos" / "real").glob("*.mp4"))))
        path = self.scratch / "clip.mp4"
        _draw_clip(path, self.pictures(1)[0], round(max(1, CLIP_S * self.scale) * CLIP_FPS))
        return path

    @property
    def bundle(self) -> Bundle:
        """The model that ships."""
        return read_bundle(self.workspace.pretrained)

    @cached_property
    def _drawn(self) -> list[bytes]:
        return [draw_sample(SEED, "train", LABELS[i % 2], i // 2) for i in range(self.some(DRAWN))]

    @cached_property
    def _real(self) -> list[bytes]:
        assert self.data is not None
        with Archive(self.data / "real_vs_fake.zip", 8 * 2**30) as archive:
            return [archive.read(entry) for entry in _alternating(archive.entries)]


def find_data(root: Path) -> Path | None:
    """The folder named by the environment, or ../shared/data beside the checkout, if it holds pictures."""
    folder = Path(os.environ.get(DATA) or root.parent / "shared" / "data")
    return folder.resolve() if (folder / "real_vs_fake.zip").is_file() else None


def decoded(data: bytes) -> NDArray[np.uint8]:
    """A picture as libjpeg gives it, with no check of ours: the limit of everything that reads pictures."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _alternating(entries: Sequence[Entry]) -> Iterator[Entry]:
    by_label = [[entry for entry in entries if entry.label == label] for label in (0, 1)]
    for pair in zip(*by_label, strict=False):
        yield from pair


def _draw_clip(path: Path, picture: bytes, frames: int) -> None:
    """A portrait that wanders over a grey wall, H.264."""
    import av

    width_px, height_px = CLIP_SIDE_PX
    face = decoded(picture)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=CLIP_FPS, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
        for i in range(frames):
            shift_px = round(60 * np.sin(i / CLIP_FPS))
            page = np.full((height_px, width_px, 3), 90, np.uint8)
            page[50 : 50 + face.shape[0], 190 + shift_px : 190 + shift_px + face.shape[1]] = face
            page = cv2.add(page, cv2.randu(np.empty_like(page), 0, 6))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(page, format="rgb24")))
        container.mux(stream.encode())
