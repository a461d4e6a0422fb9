"""Crops uint8 (side, side, 3) with labels <-> TFRecord shards.

    shards/
      train-00000.tfrecord ...   one record per crop: `pixels` raw bytes, `label` 1 = fake, `kind` of fake or "",
                                 `landmarks` (5, 2) px in the crop, `path`, `source`
      index.parquet              one row per picture of the manifest: path, source, split, label, shard; if left out,
                                 why (a short name) and reason (a sentence)
      shards.json                side_px, the number of crops per split, the kinds of fakes in the training split

Raw pixels, because a second lossy encoding would blur the very traces that are to be learnt, and a lossless one would
cost more to decode than the disk costs to read.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import tensorflow as tf

from deepfake_detector.preparation.crops import Crop
from deepfake_detector.preparation.resume import IndexRow, Unfinished
from deepfake_detector.preparation.shards import KINDS

SHOWN = 50  # pictures that a report names


def write_shards(
    crops: Iterable[Crop],
    folder: Path,
    side_px: int,
    shard_bytes: int,
    fake_kinds: Mapping[str, str],
    unfinished: Unfinished | None = None,
) -> pd.DataFrame:
    """Write crops in the order given, a new file whenever `shard_bytes` are reached or another split begins.

    Args:
        crops: with pixels, or without and with the reason; split by split. The first `unfinished.done` are left out.
        folder: where; what an earlier run left there stays until the new shards are whole.
        side_px: side of the crops.
        shard_bytes: size of a file.
        fake_kinds: source -> the kind of its fakes.
        unfinished: what a killed run with the same crops has left, and where this one leaves its own; none by default.

    Returns:
        The index: path, source, split, label, shard ("" if left out), why and reason ("" if kept).
    """
    if unfinished is None:
        scratch = folder.with_name(f".{folder.name}.making")
        shutil.rmtree(scratch, ignore_errors=True)
        unfinished = Unfinished(scratch)
    per_shard = max(1, shard_bytes // (side_px * side_px * 3))
    for rows, file in _filled(crops, unfinished, per_shard, fake_kinds):
        unfinished.keep(rows, file)
    index = unfinished.index
    index.to_parquet(unfinished.shards / "index.parquet", index=False)
    about = {"side_px": side_px, **_contents(index, fake_kinds)}
    (unfinished.shards / "shards.json").write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")
    unfinished.move(folder)
    return index


def _filled(
    crops: Iterable[Crop], unfinished: Unfinished, per_shard: int, fake_kinds: Mapping[str, str]
) -> Iterator[tuple[list[IndexRow], Path | None]]:
    """Files as they are filled, closed, each with the rows since the one before it; at the end there may be only rows.

    TFRecord's own writer is all that holds crops: memory does not grow with them.
    """
    rows, shard = list[IndexRow](), None
    for crop in crops:
        split = crop.entry.split
        if crop.pixels is not None:
            if shard is not None and shard.split != split:
                yield rows, shard.close()
                rows, shard = [], None
            if shard is None:
                shard = _OpenShard(unfinished.shards, split, unfinished.shards_of(split))
            shard.write(_record(crop, fake_kinds[crop.entry.source] if crop.entry.label else ""))
        name = shard.name if shard is not None and crop.pixels is not None else ""
        rows.append((crop.entry.path, crop.entry.source, split, crop.entry.label, name, crop.why, crop.reason))
        if shard is not None and shard.crops == per_shard:
            yield rows, shard.close()
            rows, shard = [], None
    yield rows, shard.close() if shard is not None else None


class _OpenShard:
    """A file that is being filled, under a temporary name."""

    def __init__(self, folder: Path, split: str, number: int) -> None:
        self.split, self.name, self.crops = split, f"{split}-{number:05d}.tfrecord", 0
        self._path = folder / f"{self.name}.part"
        self._writer = tf.io.TFRecordWriter(str(self._path))

    def write(self, record: bytes) -> None:
        self._writer.write(record)
        self.crops += 1

    def close(self) -> Path:
        self._writer.close()
        return self._path


def _contents(index: pd.DataFrame, fake_kinds: Mapping[str, str]) -> dict[str, Any]:
    kept = index[index["shard"] != ""]
    fakes = kept[(kept["split"] == "train") & (kept["label"] == 1)]
    kinds = {fake_kinds[source] for source in fakes["source"].unique()}
    return {"crops": kept.groupby("split").size().to_dict(), "kinds": sorted(kinds, key=KINDS.index)}


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


def _record(crop: Crop, kind: str) -> bytes:
    assert crop.pixels is not None
    assert crop.landmarks_px is not None
    features = {
        "pixels": tf.train.Feature(bytes_list=tf.train.BytesList(value=[crop.pixels.tobytes()])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[crop.entry.label])),
        "kind": tf.train.Feature(bytes_list=tf.train.BytesList(value=[kind.encode()])),
        "landmarks": tf.train.Feature(float_list=tf.train.FloatList(value=crop.landmarks_px.ravel())),
        "path": tf.train.Feature(bytes_list=tf.train.BytesList(value=[crop.entry.path.encode()])),
        "source": tf.train.Feature(bytes_list=tf.train.BytesList(value=[crop.entry.source.encode()])),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    # Deterministic: else each process orders the features its own way, and DVC sees other shards in the same crops.
    serialized: bytes = example.SerializeToString(deterministic=True)
    return serialized
