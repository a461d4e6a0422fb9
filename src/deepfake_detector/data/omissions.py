"""Manifest and settings -> pictures that training does without, and why: those on the list and, if asked, copies."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

import pandas as pd

from deepfake_detector.data.repairs import LeftOut, duplicates, listed
from deepfake_detector.data.twins import group_twins
from deepfake_detector.settings import Settings


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
