"""Manifest rows -> crop requests in the order of the shards, each with its known face or the reason to leave it out.

Worker processes import this module: it does not load pandas.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepfake_detector.datasets.archive import SPLITS, Entry
from deepfake_detector.media.face_detector import Face
from deepfake_detector.validation.image_record import FACE_COLUMNS, face_from_columns

if TYPE_CHECKING:
    import pandas as pd

_ENTRY_COLUMNS = ("path", "split", "label", "group", "source")


@dataclass(frozen=True)
class Exclusion:
    """Why a picture gives no crop.

    Attributes:
        code: listed | duplicate | near_duplicate | conflicting_labels | unreadable | faceless | unusable_face
        reason: one clause for people.
    """

    code: str
    reason: str


NO_FACE = Exclusion("faceless", "no face found")


@dataclass(frozen=True, eq=False)
class CropRequest:
    """One picture of the manifest that is to be cropped.

    Attributes:
        sha256: of the file that the manifest describes.
        exclusion: why it gives no crop, if that is known already.
        face: the largest one, as `validate` found it; None if it must be detected.
    """

    entry: Entry
    sha256: str
    exclusion: Exclusion | None
    face: Face | None


def shuffled_within_splits(manifest: pd.DataFrame, seed: int, left_out: Collection[str] = ()) -> pd.DataFrame:
    """Rows split by split, because shards are filled one at a time; within a split shuffled, because neighbours should
    be of both classes.

    Args:
        manifest: as `read_manifest` returns it.
        seed: of the order.
        left_out: sources with `use: test`; they come last, so that they do not change the order of the others.
    """
    # All columns are copied only once, at the end.
    rows = manifest[["path", "split", "source"]].reset_index(drop=True).sort_values("path")
    last = rows["source"].isin(left_out)
    parts = (rows[~last].sample(frac=1.0, random_state=seed), rows[last].sample(frac=1.0, random_state=seed))
    shuffled = rows.loc[[*parts[0].index, *parts[1].index]]
    ranks = {split: rank for rank, split in enumerate(SPLITS)}
    order = shuffled.sort_values("split", key=lambda split: split.map(ranks), kind="stable").index
    return manifest.iloc[order].reset_index(drop=True)


def crop_requests(
    manifest: pd.DataFrame, exclusions: Mapping[str, Exclusion], reuse_faces: bool
) -> Iterator[CropRequest]:
    """Rows of a manifest, one by one.

    Args:
        manifest: as `read_manifest` returns it, in any order.
        exclusions: path -> why it is left out.
        reuse_faces: use the faces of the manifest. They do not fit pictures that are recompressed before cropping.
    """
    entries = manifest[list(_ENTRY_COLUMNS)].itertuples(index=False)
    faces = manifest[list(FACE_COLUMNS)].itertuples(index=False, name=None)
    states = manifest[["sha256", "error", "faces"]].itertuples(index=False, name=None)
    for values, (sha256, error, face_count), face in zip(entries, states, faces, strict=True):
        entry = Entry(*values)
        exclusion = exclusions.get(entry.path)
        if exclusion is None and error:
            exclusion = Exclusion("unreadable", error)
        if exclusion is None and reuse_faces and not face_count:
            exclusion = NO_FACE
        known_face = face_from_columns(face) if reuse_faces and exclusion is None else None
        yield CropRequest(entry, sha256, exclusion, known_face)
