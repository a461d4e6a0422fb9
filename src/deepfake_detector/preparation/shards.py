"""TFRecord shards -> crops uint8 (n, side, side, 3) with labels, landmarks and paths; written by `shard_writer`."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from deepfake_detector.errors import DataRejected

FAKE_KINDS = ("synthetic", "swap")  # in the order of the networks' outputs
LANDMARKS_SHAPE = (5, 2)
# TFRecord: length (8 bytes) and its checksum (4) before each record, the record's checksum (4) behind it.
_LENGTH_BYTES, RECORD_OVERHEAD_BYTES = 12, 16
_FEATURES = {
    "pixels": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "kind": tf.io.FixedLenFeature([], tf.string),
    "landmarks": tf.io.FixedLenFeature(LANDMARKS_SHAPE, tf.float32),
    "path": tf.io.FixedLenFeature([], tf.string),
    "source": tf.io.FixedLenFeature([], tf.string),
    "copy": tf.io.FixedLenFeature([], tf.int64),
}


class HeldOutSplit(NamedTuple):
    """A split in memory; n crops."""

    crops: NDArray[np.uint8]  # (n, side, side, 3)
    labels: NDArray[np.int64]  # (n,)
    paths: list[str]
    sources: list[str]
    landmarks_px: NDArray[np.float32]  # (n, 5, 2), in the crops
    kinds: list[str]  # of fake; "" for a real picture

    def select(self, rows: NDArray[np.int64]) -> HeldOutSplit:
        """Some rows (m,) of the split."""
        paths, sources, kinds = ([each[i] for i in rows] for each in (self.paths, self.sources, self.kinds))
        arrays = self.crops[rows], self.labels[rows]
        return HeldOutSplit(*arrays, paths, sources, self.landmarks_px[rows], kinds)

    @property
    def sha256(self) -> str:
        """Digest of pixels, labels and paths, in hex."""
        digest = hashlib.sha256()
        for crop, label, path in zip(self.crops, self.labels, self.paths, strict=True):
            digest.update(crop.tobytes() + bytes([int(label)]) + path.encode() + b"\0")
        return digest.hexdigest()


class Record(NamedTuple):
    """One crop."""

    pixels: NDArray[np.uint8]  # (side, side, 3) RGB, read-only
    landmarks_px: NDArray[np.float32]  # (5, 2) in the crop
    label: int  # 1 = fake
    kind: str  # of fake; "" for a real picture


@dataclass(frozen=True)
class Shards:
    """A folder of shards."""

    folder: Path
    side_px: int
    crops: dict[str, int]  # per split, without copies
    kinds: tuple[str, ...]  # of fakes in the training split
    copies: int = 0  # with matched degradation, all of training pictures

    @classmethod
    def open(cls, folder: Path) -> Shards:
        """Read the folder's description `shards.json`."""
        description = json.loads((folder / "shards.json").read_text(encoding="utf-8"))
        kinds = tuple(description["kinds"])
        return cls(folder, description["side_px"], description["crops"], kinds, description["copies"])

    def rows(self, split: str) -> tf.data.Dataset:
        """A split in its own order, one mapping per crop: a record's features, `pixels` as uint8 (side, side, 3).

        Copies with matched degradation are left out.
        """
        files = sorted(str(path) for path in self.folder.glob(f"{split}-*.tfrecord"))
        parsed = tf.data.TFRecordDataset(files).map(_parsed, num_parallel_calls=tf.data.AUTOTUNE)
        unchanged = parsed.filter(lambda row: row["copy"] == 0) if self.copies else parsed
        return unchanged.map(self._with_pixels, num_parallel_calls=tf.data.AUTOTUNE)

    def index(self) -> pd.DataFrame:
        """One row per picture and per copy, with the columns of `partial_shards.IndexRow`; `shard` is "" without crop.

        `read` of a `RecordReader` takes the columns `shard` and `offset`.
        """
        return pd.read_parquet(self.folder / "index.parquet")

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

    def _with_pixels(self, row: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        pixels = tf.reshape(tf.io.decode_raw(row["pixels"], tf.uint8), (self.side_px, self.side_px, 3))
        return row | {"pixels": pixels}


class RecordReader:
    """Reads single records in any order, about 50,000 a second from the page cache; safe to share between threads.

    It is a context manager that closes its files. Checksums are not verified: DVC compares the digests of whole files.

        index = shards.index()
        train = index[(index["split"] == "train") & (index["shard"] != "")]
        with RecordReader(shards.folder) as reader:
            record = reader.read(train["shard"].iloc[0], train["offset"].iloc[0])

    Args:
        folder: of shards, as `write_shards` leaves it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._side_px = Shards.open(folder).side_px
        self._files: dict[str, int] = {}  # descriptors by name; `os.pread` does not share a position

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def read(self, shard: str, offset: int) -> Record:
        """Read one crop.

        Args:
            shard: file name, as the index has it.
            offset: of the record, bytes, as the index has it.

        Raises:
            DataRejected: no record of this folder begins there.
            FileNotFoundError: there is no such file.
        """
        file = self._file(shard)
        length = os.pread(file, _LENGTH_BYTES, int(offset))
        size = struct.unpack("<Q", length[:8])[0] if len(length) == _LENGTH_BYTES else 0
        pixels_bytes = self._side_px**2 * 3
        if not pixels_bytes < size < 2 * pixels_bytes + 2**16:
            raise _no_record(self._folder / shard, offset)
        return self._parsed(os.pread(file, size, int(offset) + _LENGTH_BYTES), self._folder / shard, offset)

    def close(self) -> None:
        """Close the files; a later `read` opens them again."""
        with self._lock:
            for descriptor in self._files.values():
                os.close(descriptor)
            self._files.clear()

    def _file(self, shard: str) -> int:
        descriptor = self._files.get(shard)
        if descriptor is None:
            with self._lock:
                descriptor = self._files.get(shard)
                if descriptor is None:
                    descriptor = self._files[shard] = os.open(self._folder / shard, os.O_RDONLY)
        return descriptor

    def _parsed(self, record: bytes, shard: Path, offset: int) -> Record:
        try:
            features = tf.train.Example.FromString(record).features.feature
            pixels = np.frombuffer(features["pixels"].bytes_list.value[0], np.uint8)
            landmarks_px = np.array(features["landmarks"].float_list.value, np.float32)
            return Record(
                pixels.reshape(self._side_px, self._side_px, 3),
                landmarks_px.reshape(LANDMARKS_SHAPE),
                int(features["label"].int64_list.value[0]),
                features["kind"].bytes_list.value[0].decode(),
            )
        except Exception as error:  # protobuf's own errors derive from nothing more special
            raise _no_record(shard, offset) from error


def _no_record(shard: Path, offset: int) -> DataRejected:
    return DataRejected(
        f"no record of {shard} begins at byte {offset}", "run `dvc repro prepare`: index and files differ"
    )


def _parsed(record: tf.Tensor) -> dict[str, tf.Tensor]:
    row: dict[str, tf.Tensor] = tf.io.parse_single_example(record, _FEATURES)
    return row
