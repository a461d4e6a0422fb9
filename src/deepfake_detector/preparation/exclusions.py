"""Manifest and settings -> path -> `Exclusion`: listed pictures, duplicates, and bytes with both labels."""

from __future__ import annotations

from collections.abc import Set
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_detector.config import Settings
from deepfake_detector.datasets.archive import SPLITS
from deepfake_detector.errors import SettingsError
from deepfake_detector.preparation.crop_requests import Exclusion
from deepfake_detector.validation.near_duplicates import duplicate_groups


def find_exclusions(
    manifest: pd.DataFrame, drop_list: Set[str], archive: Path, settings: Settings
) -> dict[str, Exclusion]:
    """Path -> why the picture is excluded.

    Args:
        manifest: as `read_manifest` returns it.
        drop_list: paths, as `read_drop_list` returns them.
        archive: what the manifest was built from; read only if duplicates are dropped.
        settings: `prepare.drop_duplicates`, `validate.near_duplicate_bits` and `download.max_unpacked_gib` count.
    """
    exclusions = exclude_listed(manifest, drop_list)
    if settings.prepare.drop_duplicates:
        rest = manifest[~manifest["path"].isin(exclusions)]
        limit = settings.download.max_unpacked_bytes
        groups = duplicate_groups(rest, archive, settings.validate.near_duplicate_bits, limit)
        exclusions |= exclude_duplicates(rest, groups)
    return exclusions


def read_drop_list(path: Path) -> frozenset[str]:
    """Paths from a text file, one a line; empty lines and lines that begin with # are ignored.

    Raises:
        SettingsError: there is no such file.
    """
    if not path.is_file():
        raise SettingsError(f"prepare.drop names {path.name}, which does not exist", "create it; it may be empty")
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))


def exclude_listed(manifest: pd.DataFrame, drop_list: Set[str]) -> dict[str, Exclusion]:
    """Pictures named by `prepare.drop`."""
    return {path: Exclusion("listed", "listed by prepare.drop") for path in manifest["path"] if path in drop_list}


def exclude_duplicates(manifest: pd.DataFrame, groups: NDArray[np.int64]) -> dict[str, Exclusion]:
    """Duplicates to leave out, so that no training picture is also tested and none counts twice.

    Of each group those in the most held-out split stay (test before valid before train): the figures keep their
    meaning, and training loses the pictures that it must not see. Within that split one real and one fake picture may
    stay: a face swap and its original resemble each other, and the pair is useful. Equal bytes with both labels all go:
    nobody knows which label is wrong.

    Args:
        manifest: n rows to choose from.
        groups: (n,) as `duplicate_groups` returns them.
    """
    rows = manifest.assign(duplicate_group=groups)[manifest["error"] == ""]
    labels = rows.groupby("sha256")["label"].transform("nunique")
    conflict = Exclusion("conflicting_labels", "the same bytes are labelled real and fake")
    return dict.fromkeys(rows.loc[labels > 1, "path"], conflict) | _exclude_all_but_first(rows[labels == 1])


class _Duplicate(NamedTuple):
    """A picture that has duplicates."""

    path: str
    sha256: str
    label: int
    rank: int  # of its split
    duplicate_group: int


def _exclude_all_but_first(rows: pd.DataFrame) -> dict[str, Exclusion]:
    """Exclude all but the first of each group, in the order test, valid, train, and then by path."""
    ranks = {split: rank for rank, split in enumerate(reversed(SPLITS))}
    duplicated = rows[rows["duplicate_group"].duplicated(keep=False)]
    ranked = duplicated.assign(rank=duplicated["split"].map(ranks)).sort_values(["duplicate_group", "rank", "path"])
    exclusions: dict[str, Exclusion] = {}
    # Not pandas' groups: a table for each takes a millisecond, and large sets have hundreds of thousands.
    pictures = map(_Duplicate._make, ranked[list(_Duplicate._fields)].itertuples(index=False, name=None))
    for _, group in groupby(pictures, key=lambda picture: picture.duplicate_group):
        first, *others = group
        kept = {first.label: first}
        for row in others:
            if row.rank == first.rank and row.label not in kept:
                kept[row.label] = row
                continue
            exact = [each.path for each in kept.values() if each.sha256 == row.sha256]
            exclusions[row.path] = (
                Exclusion("duplicate", f"duplicate of {exact[0]}")
                if exact
                else Exclusion("near_duplicate", f"near-duplicate of {first.path}")
            )
    return exclusions
