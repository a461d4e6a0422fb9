"""A manifest -> the tables that are checked: one row per file, and one row per split and class."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_detector.datasets.archive import LABELS, SPLITS

_MEASURED = ("mode", "format", "brightness", "contrast", "sharpness", "faces")  # unknown of unreadable pictures
_JPEG_ONLY = ("quantization", "subsampling")  # other formats have none


def file_table(
    manifest: pd.DataFrame, near_duplicates: NDArray[np.int64], csv_labels: pd.Series, left_out: Collection[str] = ()
) -> pd.DataFrame:
    """The manifest with derived columns.

    Args:
        manifest: as `build_manifest` returns it.
        near_duplicates: (pairs, 2) row numbers, as `find_near_duplicates` returns them.
        csv_labels: (n,) as `labels_from_csv` returns them.
        left_out: sources with `use: test`; how they are encoded cannot be learnt.

    Returns:
        The same rows. Unknown values (an unreadable picture's brightness, a PNG's quantization tables) are missing.
        Added: `class_name` real or fake, missing for `left_out`; `side_px` the shorter side, `csv_label`, and columns
        that hold the path of a matching picture, "" if there is none: `duplicate_in_other_split`,
        `near_duplicate_in_other_split`,
        `duplicate_in_split`, `duplicate_with_other_label` and `near_duplicate_with_other_label`,
        `group_in_other_split`.
    """
    table = manifest.reset_index(drop=True).assign(csv_label=csv_labels.to_numpy())
    class_names = table["label"].map({number: name for name, number in LABELS.items()})
    table["class_name"] = class_names.where(~table["source"].isin(left_out))
    readable = table["error"] == ""
    table["side_px"] = table[["width_px", "height_px"]].min(axis=1).where(readable)
    for name in _MEASURED:
        table[name] = table[name].where(readable)
    for name in _JPEG_ONLY:
        table[name] = table[name].where(readable & (table[name] != ""))
    table["duplicate_in_other_split"] = _match_across(table, "sha256", "split")
    table["duplicate_with_other_label"] = _match_across(table, "sha256", "label")
    table["duplicate_in_split"] = _match_within(table, "sha256", "split")
    table["group_in_other_split"] = _match_across(table, "group", "split")
    table["near_duplicate_in_other_split"] = _near_duplicate_across(table, near_duplicates, "split")
    table["near_duplicate_with_other_label"] = _near_duplicate_across(table, near_duplicates, "label")
    return table


def class_table(manifest: pd.DataFrame, left_out: Collection[str] = ()) -> pd.DataFrame:
    """Readable pictures per split and class, over all sources and, if there are several, of each source.

    Args:
        manifest: as `build_manifest` returns it.
        left_out: sources with `use: test`; they are not counted.

    Returns:
        Six rows, and six for each source: `path` (split/class, or split/class of source: reports name rows by it),
        `source` ("" for all together), `images`, `imbalance`, the |real - fake| / all of the split (1 if it is empty;
        within a source 0, as a source need not have every split, and in a source of one class), and `only_class`: real
        or fake in the first row with pictures of a source of one class, else "".
    """
    readable = manifest[(manifest["error"] == "") & ~manifest["source"].isin(left_out)]
    sources = sorted(readable["source"].unique())
    parts = [("", readable)]
    if len(sources) > 1:
        parts += [(source, readable[readable["source"] == source]) for source in sources]
    return pd.DataFrame([row for source, part in parts for row in _class_rows(part, source)])


def _match_across(table: pd.DataFrame, key: str, side: str) -> pd.Series:
    """For each row the path of the first row with the same key and another value of `side`."""
    shared = table.loc[table.duplicated(key, keep=False), [key, side, "path"]].reset_index()
    firsts = shared.drop_duplicates([key, side])
    pairs = shared.merge(firsts, on=key, suffixes=("", "_other"))
    pairs = pairs[pairs[side] != pairs[f"{side}_other"]].drop_duplicates("index").set_index("index")
    return pairs["path_other"].reindex(table.index, fill_value="")


def _match_within(table: pd.DataFrame, key: str, side: str) -> pd.Series:
    """For each row the path of another row with the same key and the same value of `side`."""
    shared = table.loc[table.duplicated([key, side], keep=False), [key, side, "path"]].reset_index()
    firsts = shared[shared.groupby([key, side]).cumcount() < 2]
    pairs = shared.merge(firsts, on=[key, side], suffixes=("", "_other"))
    pairs = pairs[pairs["index"] != pairs["index_other"]].drop_duplicates("index").set_index("index")
    return pairs["path_other"].reindex(table.index, fill_value="")


def _near_duplicate_across(table: pd.DataFrame, pairs: NDArray[np.int64], side: str) -> pd.Series:
    """For each row the path of a near-duplicate with another value of `side`.

    A face swap and its original are one group and resemble each other: as near-duplicates with different labels they
    are not reported.
    """
    sides, groups, paths = (table[name].to_numpy() for name in (side, "group", "path"))
    first, second = np.concatenate([pairs, pairs[:, ::-1]]).T
    reported = sides[first] != sides[second]
    if side != "split":
        reported &= groups[first] != groups[second]
    pictures, at = np.unique(first[reported], return_index=True)
    matches = paths[second[reported][at]]
    return pd.Series(matches, index=pictures, dtype=object).reindex(table.index, fill_value="")


def _class_rows(part: pd.DataFrame, source: str) -> Iterator[dict[str, object]]:
    one_class = bool(source) and part["label"].nunique() == 1
    named = False
    for split in SPLITS:
        labels = part.loc[part["split"] == split, "label"]
        counts = {name: int((labels == number).sum()) for name, number in LABELS.items()}
        total = sum(counts.values())
        imbalance = abs(counts["real"] - counts["fake"]) / total if total else float(source == "")
        for name, images in counts.items():
            path = f"{split}/{name} of {source}" if source else f"{split}/{name}"
            only_class = name if one_class and images and not named else ""
            named = named or bool(only_class)
            yield {
                "path": path,
                "source": source,
                "images": images,
                "imbalance": 0.0 if one_class else imbalance,
                "only_class": only_class,
            }
