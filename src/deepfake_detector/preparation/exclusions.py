"""Manifest -> pictures that training must do without, and why: named on a list, copies, labelled both ways."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from deepfake_detector.config import Settings
from deepfake_detector.datasets.archive import SPLITS
from deepfake_detector.errors import SettingsError
from deepfake_detector.preparation.selection import LeftOut
from deepfake_detector.validation.near_duplicates import group_twins

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


def read_drop_list(path: Path) -> frozenset[str]:
    """Paths from a text file, one a line; empty lines and those that begin with # say nothing.

    Raises:
        SettingsError: there is no such file.
    """
    if not path.is_file():
        raise SettingsError(f"prepare.drop names {path.name}, and no such file is there", "make it, empty if need be")
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))


def listed(manifest: pd.DataFrame, drop_list: Set[str]) -> dict[str, LeftOut]:
    """Pictures that somebody wrote on the list."""
    return {path: LeftOut("listed", "on the list prepare.drop") for path in manifest["path"] if path in drop_list}


def duplicates(manifest: pd.DataFrame, groups: NDArray[np.int64]) -> dict[str, LeftOut]:
    """Copies that must go so that what is learnt is not also tested, and nothing counts twice.

    Of each group those in the most held-out split stay (test before valid before train): the figures keep their
    meaning, and training loses what it must not have seen. There, one real and one fake picture may stay: a face swap
    looks like the picture it was made from, and that pair is worth having. The same bytes under both labels all go:
    nobody knows which label is wrong.

    Args:
        manifest: n rows to choose from.
        groups: (n,) as `group_twins` gives them.
    """
    rows = manifest.assign(group_of_twins=groups)[manifest["error"] == ""]
    labels = rows.groupby("sha256")["label"].transform("nunique")
    both = LeftOut("labelled both ways", "the same bytes are labelled real and fake")
    return dict.fromkeys(rows.loc[labels > 1, "path"], both) | _copies(rows[labels == 1])


def _copies(rows: pd.DataFrame) -> dict[str, LeftOut]:
    """All but the first of each group, in the order test, valid, train, and then by path."""
    ranks = {split: rank for rank, split in enumerate(reversed(SPLITS))}
    ranked = rows.assign(rank=rows["split"].map(ranks)).sort_values(["rank", "path"])
    found: dict[str, LeftOut] = {}
    several = ranked[ranked["group_of_twins"].duplicated(keep=False)]
    for _, twins in several.groupby("group_of_twins", sort=False):
        stay = twins[twins["rank"] == twins["rank"].iloc[0]].drop_duplicates("label")
        for row in twins[~twins["path"].isin(stay["path"])].itertuples():
            exact = stay.loc[stay["sha256"] == row.sha256, "path"]
            why = "copy" if len(exact) else "near copy"
            found[str(row.path)] = LeftOut(why, f"{why} of {[*exact, *stay['path']][0]}")
    return found


def omissions(manifest: pd.DataFrame, drop_list: Set[str], archive: Path, settings: Settings) -> dict[str, LeftOut]:
    """Path -> why it is left out.

    Args:
        manifest: as `read_manifest` gives it.
        drop_list: paths, as `read_drop_list` gives them.
        archive: what the manifest was built from; read only where copies are looked for.
        settings: `prepare.drop_duplicates` and `validate.near_duplicate_bits` of params.yaml, and the limit.
    """
    left_out = listed(manifest, drop_list)
    if settings.prepare.drop_duplicates:
        rest = manifest[~manifest["path"].isin(left_out)]
        limit = settings.download.max_unpacked_bytes
        left_out |= duplicates(rest, group_twins(rest, archive, settings.validate.near_duplicate_bits, limit))
    return left_out
