"""TODO."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from deepfake_detector.datasets.archive import SPLITS, Entry
from deepfake_detector.media.face_detector import Face
from deepfake_detector.validation.image_record import FACE_COLUMNS, face_from

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LeftOut:
    """Why one picture is left out: a short name to count by, and a sentence for people."""

    why: str
    reason: str


NO_FACE = "no face found"


_ENTRY = ("path", "split", "label", "group", "source")


@dataclass(frozen=True, eq=False)
class Wanted:
    """One picture of the manifest.

    Attributes:
        sha256: of the file that the manifest describes.
        left_out: why it gives no crop, if that is known already.
        face: the largest one, as `validate` found it; None if it must be looked for.
    """

    entry: Entry
    sha256: str
    left_out: LeftOut | None
    face: Face | None


def in_random_order(manifest: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A manifest's rows, split by split, so that one shard is filled at a time; shuffled by `seed` within each, so
    that neighbours are of both classes."""
    rows = manifest[["path", "split"]].reset_index(drop=True)  # all columns are copied once only, at the end
    shuffled = rows.sort_values("path").sample(frac=1.0, random_state=seed)
    ranks = {split: rank for rank, split in enumerate(SPLITS)}
    order = shuffled.sort_values("split", key=lambda split: split.map(ranks), kind="stable").index
    return manifest.iloc[order].reset_index(drop=True)


def wanted(manifest: pd.DataFrame, left_out: Mapping[str, LeftOut], as_they_are: bool) -> Iterator[Wanted]:
    """Rows of a manifest, one by one.

    Args:
        manifest: as `read_manifest` gives it, in any order.
        left_out: path -> why somebody or some repair left it out.
        as_they_are: pictures are cut as the manifest describes them, so its faces hold. Pictures that are saved anew
            first are other pictures.
    """
    entries = manifest[list(_ENTRY)].itertuples(index=False)
    figures = manifest[list(FACE_COLUMNS)].itertuples(index=False, name=None)
    facts = manifest[["sha256", "error", "faces"]].itertuples(index=False, name=None)
    for entry, (sha256, error, faces), face in zip(entries, facts, figures, strict=True):
        picture = Entry(*entry)
        why = left_out.get(picture.path)
        if why is None and error:
            why = LeftOut("unreadable", error)
        if why is None and as_they_are and not faces:
            why = LeftOut("faceless", NO_FACE)
        known = face_from(face) if as_they_are and why is None else None
        yield Wanted(picture, sha256, why, known)
