"""A manifest -> the tables that checks look at: a row per file, and a row per split and class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_detector.datasets.archive import LABELS, SPLITS

_SEEN = ("mode", "format", "brightness", "contrast", "sharpness", "faces")  # unknown of unreadable pictures
_JPEG = ("quantization", "subsampling")  # other formats have none


def file_table(manifest: pd.DataFrame, lookalikes: NDArray[np.int64], listed: pd.Series) -> pd.DataFrame:
    """The manifest and what follows from it.

    Args:
        manifest: as `build_manifest` gives it.
        lookalikes: (pairs, 2) row numbers, as `find_lookalikes` gives them.
        listed: (n,) as `listed_labels` gives it.

    Returns:
        The same rows. What nobody could see (an unreadable picture's brightness, a PNG's quantization tables) is
        missing. Added: `kind` real or fake, `side_px` the shorter side, `listed`, and columns that name the path of a
        partner, "" if there is none: `copy_elsewhere` and `lookalike_elsewhere` (in another split), `copy_beside`
        (in the same one), `copy_otherwise` and `lookalike_otherwise` (with the other label), `group_elsewhere`.
    """
    table = manifest.reset_index(drop=True).assign(listed=listed.to_numpy())
    table["kind"] = table["label"].map({number: name for name, number in LABELS.items()})
    readable = table["error"] == ""
    table["side_px"] = table[["width_px", "height_px"]].min(axis=1).where(readable)
    for name in _SEEN:
        table[name] = table[name].where(readable)
    for name in _JPEG:
        table[name] = table[name].where(readable & (table[name] != ""))
    table["copy_elsewhere"] = _partner(table, "sha256", "split")
    table["copy_otherwise"] = _partner(table, "sha256", "label")
    table["copy_beside"] = _neighbour(table, "sha256", "split")
    table["group_elsewhere"] = _partner(table, "group", "split")
    for name, side in (("lookalike_elsewhere", "split"), ("lookalike_otherwise", "label")):
        table[name] = _lookalike(table, lookalikes, side)
    return table


def _partner(table: pd.DataFrame, key: str, side: str) -> pd.Series:
    """Path of the first row with the same key on another side."""
    shared = table.loc[table.duplicated(key, keep=False), [key, side, "path"]].reset_index()
    firsts = shared.drop_duplicates([key, side])
    pairs = shared.merge(firsts, on=key, suffixes=("", "_other"))
    pairs = pairs[pairs[side] != pairs[f"{side}_other"]].drop_duplicates("index").set_index("index")
    return pairs["path_other"].reindex(table.index, fill_value="")


def _neighbour(table: pd.DataFrame, key: str, side: str) -> pd.Series:
    """Path of another row with the same key on the same side."""
    shared = table.loc[table.duplicated([key, side], keep=False), [key, side, "path"]].reset_index()
    firsts = shared[shared.groupby([key, side]).cumcount() < 2]
    pairs = shared.merge(firsts, on=[key, side], suffixes=("", "_other"))
    pairs = pairs[pairs["index"] != pairs["index_other"]].drop_duplicates("index").set_index("index")
    return pairs["path_other"].reindex(table.index, fill_value="")


def _lookalike(table: pd.DataFrame, pairs: NDArray[np.int64], side: str) -> pd.Series:
    """Path of a lookalike on another side.

    Of a swapped face and the picture it was put into, which are one group, nothing is said: they must look alike.
    """
    sides, groups, paths = (table[name].to_numpy() for name in (side, "group", "path"))
    found: dict[int, str] = {}
    for i, j in (*pairs, *pairs[:, ::-1]):
        if sides[i] != sides[j] and (side == "split" or groups[i] != groups[j]):
            found.setdefault(int(i), str(paths[j]))
    return pd.Series(found, dtype=object).reindex(table.index, fill_value="")


def class_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """Readable pictures per split and class, the empty ones included; and the same per source, if there are several.

    Returns:
        Six rows, and six for each source: `path` (split/class, named so because reports name offenders by path;
        split/class of source), `source` ("" for all together), `images`, and `imbalance`, the |real - fake| / all of
        the split (1 if it is empty; within a source 0, as a source need not have every split).
    """
    readable = manifest[manifest["error"] == ""]
    sources = sorted(readable["source"].unique())
    parts = [("", readable)]
    if len(sources) > 1:
        parts += [(source, readable[readable["source"] == source]) for source in sources]
    return pd.DataFrame([row for source, part in parts for row in _counted(part, source)])


def _counted(part: pd.DataFrame, source: str) -> Iterator[dict[str, object]]:
    for split in SPLITS:
        labels = part.loc[part["split"] == split, "label"]
        count = {name: int((labels == number).sum()) for name, number in LABELS.items()}
        total = sum(count.values())
        imbalance = abs(count["real"] - count["fake"]) / total if total else float(source == "")
        for name, images in count.items():
            path = f"{split}/{name} of {source}" if source else f"{split}/{name}"
            yield {"path": path, "source": source, "images": images, "imbalance": imbalance}
