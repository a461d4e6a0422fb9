"""TFRecord shards -> crops uint8 (n, side, side, 3) with labels, landmarks and paths; written by `shard_writer`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

FAKE_KINDS = ("synthetic", "swap")  # in the order of the networks' outputs
LANDMARKS_SHAPE = (5, 2)
_FEATURES = {
    "pixels": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "kind": tf.io.FixedLenFeature([], tf.string),
    "landmarks": tf.io.FixedLenFeature(LANDMARKS_SHAPE, tf.float32),
    "path": tf.io.FixedLenFeature([], tf.string),
    "source": tf.io.FixedLenFeature([], tf.string),
}


class HeldOutSplit(NamedTuple):
    """A split in memory; n crops."""

    crops: NDArray[np.uint8]  # (n, side, side, 3)
    labels: NDArray[np.int64]  # (n,)
    paths: list[str]
    sources: list[str]
    landmarks_px: NDArray[np.float32]  # (n, 5, 2), in the crops
    kinds: list[str]  # of fake; "" for a real picture

    @property
    def sha256(self) -> str:
        """Digest of pixels, labels and paths, in hex."""
        digest = hashlib.sha256()
        for crop, label, path in zip(self.crops, self.labels, self.paths, strict=True):
            digest.update(crop.tobytes() + bytes([int(label)]) + path.encode() + b"\0")
        return digest.hexdigest()


@dataclass(frozen=True)
class Shards:
    """A folder of shards."""

    folder: Path
    side_px: int
    crops: dict[str, int]  # per split
    kinds: tuple[str, ...]  # of fakes in the training split

    @classmethod
    def open(cls, folder: Path) -> Shards:
        """Read the folder's description `shards.json`."""
        description = json.loads((folder / "shards.json").read_text(encoding="utf-8"))
        return cls(folder, description["side_px"], description["crops"], tuple(description["kinds"]))

    def rows(self, split: str) -> tf.data.Dataset:
        """A split in its own order, one mapping per crop: a record's features, `pixels` as uint8 (side, side, 3)."""
        files = sorted(str(path) for path in self.folder.glob(f"{split}-*.tfrecord"))
        return tf.data.TFRecordDataset(files).map(self._row, num_parallel_calls=tf.data.AUTOTUNE)

    def arrays(self, split: str) -> HeldOutSplit:
        """Read a split into memory."""
        rows = list(self.rows(split).as_numpy_iterator())
        return HeldOutSplit(
            crops=np.stack([row["pixels"] for row in rows]),
            labels=np.array([int(row["label"]) for row in rows]),
            paths=[row["path"].decode() for row in rows],
            sources=[row["source"].decode() for row in rows],
            landmarks_px=np.stack([row["landmarks"] for row in rows]),
            kinds=[row["kind"].decode() for row in rows],
        )

    def _row(self, record: tf.Tensor) -> dict[str, tf.Tensor]:
        row: dict[str, tf.Tensor] = tf.io.parse_single_example(record, _FEATURES)
        pixels = tf.reshape(tf.io.decode_raw(row["pixels"], tf.uint8), (self.side_px, self.side_px, 3))
        return row | {"pixels": pixels}
