"""Crops uint8 (side, side, 3) with labels <-> TFRecord shards <-> tf.data batches (b, side, side, 3), (b,).

    shards/
      train-00000.tfrecord ...   one record per crop: `pixels` raw bytes, `label` 1 = fake, `path`, `source`
      index.parquet              one row per picture of the manifest: path, source, split, label, shard; if left out,
                                 why (a short name) and reason (a sentence)
      shards.json                side_px and the number of crops per split

Raw pixels, because a second lossy encoding would blur the very traces that are to be learnt, and a lossless one would
cost more to decode than the disk costs to read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from deepfake_detector.data.crops import Crop
from deepfake_detector.errors import DataRejected

Augment = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # crop uint8 (side, side, 3), seed (2,) -> crop
SHUFFLE_BYTES = 512 * 2**20  # what the shuffle buffer may hold; the shards themselves lie in random order
_FEATURES = {
    "pixels": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "path": tf.io.FixedLenFeature([], tf.string),
    "source": tf.io.FixedLenFeature([], tf.string),
}
SHOWN = 50  # pictures that a report names
INDEX_COLUMNS = ("path", "source", "split", "label", "shard", "why", "reason")


class Held(NamedTuple):
    """A whole split in memory; n crops."""

    crops: NDArray[np.uint8]  # (n, side, side, 3)
    labels: NDArray[np.int64]  # (n,)
    paths: list[str]
    sources: list[str]


def write_shards(crops: Iterable[Crop], folder: Path, side_px: int, shard_bytes: int) -> pd.DataFrame:
    """Write crops in the order given, a new file whenever `shard_bytes` are reached.

    Returns:
        The index: path, source, split, label, shard ("" if left out), why and reason ("" if kept).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.tfrecord"):
        old.unlink()  # an earlier run may have needed more files
    per_shard = max(1, shard_bytes // (side_px * side_px * 3))
    kept: dict[str, int] = {}
    rows, writers = [], {}
    for crop in crops:
        split, shard = crop.entry.split, ""
        if crop.pixels is not None:
            shard = f"{split}-{kept.get(split, 0) // per_shard:05d}.tfrecord"
            if shard not in writers:
                writers[shard] = tf.io.TFRecordWriter(str(folder / shard))
            writers[shard].write(_record(crop))
            kept[split] = kept.get(split, 0) + 1
            if kept[split] % per_shard == 0:
                writers[shard].close()
        rows.append((crop.entry.path, crop.entry.source, split, crop.entry.label, shard, crop.why, crop.reason))
    for writer in writers.values():
        writer.close()
    index = pd.DataFrame(rows, columns=list(INDEX_COLUMNS))
    index.to_parquet(folder / "index.parquet", index=False)
    (folder / "shards.json").write_text(
        json.dumps({"side_px": side_px, "crops": kept}, indent=2, sort_keys=True) + "\n"
    )
    return index


def summary(index: pd.DataFrame) -> dict[str, Any]:
    """What `write_shards` kept and left out, counted; for a report. The index itself names every picture."""
    kept, left_out = index[index["shard"] != ""], index[index["shard"] == ""]
    counted = left_out.groupby(["source", "split", "label", "why"]).size().rename("n").reset_index()
    return {
        "crops": kept.groupby("split").size().to_dict(),
        "crops_per_source": {name: rows.groupby("split").size().to_dict() for name, rows in kept.groupby("source")},
        "left_out": counted.to_dict("records"),
        "left_out_first": left_out.sort_values("path")[["path", "reason"]].head(SHOWN).to_dict("records"),
    }


def _record(crop: Crop) -> bytes:
    assert crop.pixels is not None
    features = {
        "pixels": tf.train.Feature(bytes_list=tf.train.BytesList(value=[crop.pixels.tobytes()])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[crop.entry.label])),
        "path": tf.train.Feature(bytes_list=tf.train.BytesList(value=[crop.entry.path.encode()])),
        "source": tf.train.Feature(bytes_list=tf.train.BytesList(value=[crop.entry.source.encode()])),
    }
    serialized: bytes = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    return serialized


@dataclass(frozen=True)
class Shards:
    """A folder of shards, opened for reading."""

    folder: Path
    side_px: int
    crops: dict[str, int]  # per split

    @classmethod
    def open(cls, folder: Path) -> Shards:
        """Read the folder's own description."""
        about = json.loads((folder / "shards.json").read_text(encoding="utf-8"))
        return cls(folder, about["side_px"], about["crops"])

    def steps(self, batch: int) -> int:
        """Whole batches in one epoch of the training split.

        Raises:
            DataRejected: there are fewer crops than one batch.
        """
        crops = self.crops.get("train", 0)
        if crops < batch:
            raise DataRejected(f"{crops} training crops do not fill one batch of {batch}", "lower train.batch_size")
        return crops // batch

    def training(self, batch: int, seed: int, augment: Augment | None = None) -> Callable[[int], tf.data.Dataset]:
        """Endless, shuffled and augmented batches of the training split.

        Order and augmentation depend on (seed, epoch, position) alone, so a training that resumes at an epoch sees
        what it would have seen without the interruption.

        Returns:
            A function from the first epoch to a data set of (crops uint8 (b, side, side, 3), labels float32 (b,)).
        """
        buffer = max(1, min(self.crops["train"], SHUFFLE_BYTES // (self.side_px**2 * 3)))

        def epoch(number: tf.Tensor) -> tf.data.Dataset:
            rows = self._rows("train").shuffle(buffer, seed=seed * 100_003 + number)
            if augment is not None:
                rows = rows.enumerate().map(
                    lambda i, row: (augment(row[0], tf.stack([seed * 100_003 + number, i])), row[1]),
                    num_parallel_calls=tf.data.AUTOTUNE,
                )
            return rows.map(lambda crop, label, *_: (crop, label)).batch(batch, drop_remainder=True)

        return lambda first: tf.data.Dataset.range(first, 2**31).flat_map(epoch).prefetch(2)

    def batches(self, split: str, batch: int) -> tf.data.Dataset:
        """A split in its own order: (crops uint8 (b, side, side, 3), labels float32 (b,)), the last batch smaller."""
        rows = self._rows(split).map(lambda crop, label, *_: (crop, label)).batch(batch)
        # Keras warns of running dry when a data set cannot tell its length.
        return rows.apply(tf.data.experimental.assert_cardinality(-(-self.crops[split] // batch))).prefetch(2)

    def arrays(self, split: str) -> Held:
        """Read a whole split into memory."""
        rows = list(self._rows(split).as_numpy_iterator())
        crops = np.stack([row[0] for row in rows])
        labels = np.array([int(row[1]) for row in rows])
        return Held(crops, labels, [row[2].decode() for row in rows], [row[3].decode() for row in rows])

    def digest(self, split: str) -> str:
        """SHA-256 over pixels, labels and paths of a split: the same pictures give the same digest."""
        digest = hashlib.sha256()
        for crop, label, path, _ in self._rows(split).as_numpy_iterator():
            digest.update(crop.tobytes() + bytes([int(label)]) + path + b"\0")
        return digest.hexdigest()

    def _rows(self, split: str) -> tf.data.Dataset:
        files = sorted(str(path) for path in self.folder.glob(f"{split}-*.tfrecord"))
        return tf.data.TFRecordDataset(files).map(self._row, num_parallel_calls=tf.data.AUTOTUNE)

    def _row(self, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        row = tf.io.parse_single_example(record, _FEATURES)
        pixels = tf.reshape(tf.io.decode_raw(row["pixels"], tf.uint8), (self.side_px, self.side_px, 3))
        return pixels, tf.cast(row["label"], tf.float32), row["path"], row["source"]
