"""Crop results -> TFRecord shards, with an index of all pictures.

    shards/
      train-00000.tfrecord ...   one record per crop: `pixels` raw bytes, `label` 1 = fake, `kind` of fake or "",
                                 `landmarks` (5, 2) px in the crop, `path`, `source`, `group`, `copy`
      index.parquet              one row per picture of the manifest and one per copy with matched degradation, with the
                                 columns of `IndexRow`
      shards.json                side_px, the number of crops per split without copies, the number of copies, the kinds
                                 of fakes in the training split

Pixels are raw: a second lossy encoding would blur the traces that are to be learned, and a lossless one costs more time
to decode than the disk needs to read.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import tensorflow as tf

from deepfake_detector.preparation.crops import CropResult
from deepfake_detector.preparation.partial_shards import IndexRow, PartialShards
from deepfake_detector.preparation.shards import FAKE_KINDS, RECORD_OVERHEAD_BYTES

MAX_LISTED = 50  # excluded pictures that a report names


def write_shards(
    crops: Iterable[CropResult],
    folder: Path,
    side_px: int,
    shard_bytes: int,
    fake_kinds: Mapping[str, str],
    partial: PartialShards | None = None,
) -> pd.DataFrame:
    """Write crops in the order given, a new file whenever `shard_bytes` are reached or another split begins.

    Args:
        crops: split by split, without the first `partial.pictures`.
        folder: the shards' folder; its old content stays until the new shards are complete.
        side_px: side of the crops.
        shard_bytes: size of a file.
        fake_kinds: source -> kind of its fakes.
        partial: shards of an interrupted run, to which new ones are added; none by default.

    Returns:
        The index, with the columns of `IndexRow`.
    """
    if partial is None:
        scratch = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(scratch, ignore_errors=True)
        partial = PartialShards(scratch)
    crops_per_shard = max(1, shard_bytes // (side_px * side_px * 3))
    for rows, shard in _written_shards(crops, partial, crops_per_shard, fake_kinds):
        partial.add(rows, shard)
    index = partial.index
    index.to_parquet(partial.shards / "index.parquet", index=False)
    description = {"side_px": side_px, **_contents(index)}
    (partial.shards / "shards.json").write_text(json.dumps(description, indent=2, sort_keys=True) + "\n")
    partial.publish(folder)
    return index


def summarize_index(index: pd.DataFrame) -> dict[str, Any]:
    """Counts of crops, copies and exclusions, for a report. The index itself names every picture."""
    pictures, copies = index[index["copy"] == 0], index[index["copy"] > 0]
    kept, excluded = pictures[pictures["shard"] != ""], pictures[pictures["shard"] == ""]
    return {
        "crops": kept.groupby("split").size().to_dict(),
        "crops_per_source": {name: rows.groupby("split").size().to_dict() for name, rows in kept.groupby("source")},
        "copies": int((copies["shard"] != "").sum()),
        "lost_copies": _counts(copies[copies["shard"] == ""], ["source", "label", "code"]),
        "excluded": _counts(excluded, ["source", "split", "label", "code"]),
        "excluded_first": excluded.sort_values("path")[["path", "reason"]].head(MAX_LISTED).to_dict("records"),
    }


def _counts(rows: pd.DataFrame, by: list[str]) -> list[dict[Any, Any]]:
    return rows.groupby(by).size().rename("count").reset_index().to_dict("records")


def _written_shards(
    crops: Iterable[CropResult], partial: PartialShards, crops_per_shard: int, fake_kinds: Mapping[str, str]
) -> Iterator[tuple[list[IndexRow], Path | None]]:
    """Complete files, each with the rows since the one before it; the last rows may have no file.

    A picture and its copies are never in different files. Crops are held by TFRecord's writer alone: memory does not
    grow with their number.
    """
    rows, shard = list[IndexRow](), None
    for crop in crops:
        entry = crop.entry
        kind = fake_kinds[entry.source] if entry.label and crop.pixels is not None else ""
        if crop.pixels is not None and shard is not None and shard.split != entry.split:
            yield rows, shard.close()
            rows, shard = [], None
        for number, copy in enumerate((crop, *crop.copies)):
            if copy.pixels is None:
                rows.append(_index_row(copy, number, kind, "", -1))
                continue
            if shard is None:
                shard = _OpenShard(partial.shards, entry.split, partial.shard_count(entry.split))
            rows.append(_index_row(copy, number, kind, shard.name, shard.write(_record(copy, number, kind))))
        if shard is not None and shard.crops >= crops_per_shard:
            yield rows, shard.close()
            rows, shard = [], None
    yield rows, shard.close() if shard is not None else None


class _OpenShard:
    """A file that is being written, under a temporary name."""

    def __init__(self, folder: Path, split: str, number: int) -> None:
        self.split, self.name, self.crops = split, f"{split}-{number:05d}.tfrecord", 0
        self._path = folder / f"{self.name}.part"
        self._bytes = 0
        self._writer = tf.io.TFRecordWriter(str(self._path))

    def write(self, record: bytes) -> int:
        """Add a record; return its offset in bytes."""
        offset = self._bytes
        self._writer.write(record)
        self._bytes += len(record) + RECORD_OVERHEAD_BYTES
        self.crops += 1
        return offset

    def close(self) -> Path:
        self._writer.close()
        return self._path


def _index_row(crop: CropResult, copy: int, kind: str, shard: str, offset: int) -> IndexRow:
    entry, exclusion = crop.entry, crop.exclusion
    code, reason = (exclusion.code, exclusion.reason) if exclusion is not None else ("", "")
    return IndexRow(
        entry.path, entry.source, entry.group, entry.split, entry.label, kind, copy, shard, offset, code, reason
    )


def _contents(index: pd.DataFrame) -> dict[str, Any]:
    kept = index[(index["shard"] != "") & (index["copy"] == 0)]
    kinds = set(kept.loc[(kept["split"] == "train") & (kept["label"] == 1), "kind"])
    copies = int(((index["shard"] != "") & (index["copy"] > 0)).sum())
    crops = kept.groupby("split").size().to_dict()
    return {"crops": crops, "copies": copies, "kinds": sorted(kinds, key=FAKE_KINDS.index)}


def _record(crop: CropResult, copy: int, kind: str) -> bytes:
    assert crop.pixels is not None
    assert crop.landmarks_px is not None
    features = {
        "pixels": tf.train.Feature(bytes_list=tf.train.BytesList(value=[crop.pixels.tobytes()])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[crop.entry.label])),
        "kind": tf.train.Feature(bytes_list=tf.train.BytesList(value=[kind.encode()])),
        "landmarks": tf.train.Feature(float_list=tf.train.FloatList(value=crop.landmarks_px.ravel())),
        "path": tf.train.Feature(bytes_list=tf.train.BytesList(value=[crop.entry.path.encode()])),
        "source": tf.train.Feature(bytes_list=tf.train.BytesList(value=[crop.entry.source.encode()])),
        "group": tf.train.Feature(bytes_list=tf.train.BytesList(value=[crop.entry.group.encode()])),
        "copy": tf.train.Feature(int64_list=tf.train.Int64List(value=[copy])),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    # Deterministic: else each process orders the features differently, and DVC sees other shards of the same crops.
    serialized: bytes = example.SerializeToString(deterministic=True)
    return serialized
