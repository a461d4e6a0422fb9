"""Labelled pictures without a validation or test split -> the same pictures, whole groups of each class moved there.

Which groups are moved depends on a hash of their names alone, so the same pictures give the same splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from deepfake_detector.datasets.archive import Entry

MIN_HELD_OUT = 5  # pictures of a class in a drawn split, if that is at most a quarter of them
# Of so many groups chance draws the share of each class closely enough. Their draw does not depend on other groups, so
# that more pictures move none from training to test.
STRATIFIED_BELOW = 1000


def with_held_out_splits(entries: Sequence[Entry], share: float) -> list[Entry]:
    """Draw the splits that have no picture from the training pictures.

    A group (one person, or one video and its fakes) moves as a whole. Groups of reals, of fakes and of both are drawn
    apart, each in proportion, so that few pictures give every split both classes. A class keeps training pictures.

    Args:
        entries: the pictures; those without a group stand alone.
        share: of the training pictures, for each missing split; 0: the split stays empty.
    """
    if not share:
        return list(entries)
    missing = [split for split in ("valid", "test") if all(entry.split != split for entry in entries)]
    groups: dict[str, list[int]] = {}  # labels of its pictures
    for entry in entries:
        if entry.split == "train":
            groups.setdefault(_group(entry), []).append(entry.label)
    if len(groups) >= STRATIFIED_BELOW:
        splits = {group: _hashed_split(group, missing, share) for group in groups}
    else:
        splits = _stratified_splits(groups, missing, share)
    return [
        replace(entry, split=splits.get(_group(entry), "train")) if entry.split == "train" else entry
        for entry in entries
    ]


def _group(entry: Entry) -> str:
    return entry.group or entry.path


def _position(group: str) -> float:
    """Uniform from 0 to 1."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8]) / 2**64


def _hashed_split(group: str, missing: Sequence[str], share: float) -> str:
    position = _position(group) / share
    return missing[int(position)] if position < len(missing) else "train"


def _stratified_splits(groups: Mapping[str, list[int]], missing: Sequence[str], share: float) -> dict[str, str]:
    """Group -> its missing split; groups that stay in training are left out."""
    splits: dict[str, str] = {}
    for classes in ({0}, {1}, {0, 1}):
        stratum = {name: groups[name] for name in sorted(groups, key=_position) if set(groups[name]) == classes}
        sizes = {name: len(labels) / len(classes) for name, labels in stratum.items()}  # pictures per class
        total = sum(sizes.values())
        target = max(round(share * total), min(MIN_HELD_OUT, total // 4))
        for later, split in enumerate(reversed(missing)):
            kept = len(missing) - later  # groups for training and for the splits that come after this one
            splits |= dict.fromkeys(_draw(sizes, target, kept), split)
            sizes = {name: size for name, size in sizes.items() if name not in splits}
    return splits


def _draw(sizes: Mapping[str, float], target: float, kept: int) -> list[str]:
    """Groups, in this order, with at most `target` pictures together, else the smallest; at least `kept` are left."""
    drawn: list[str] = []
    for name, size in sizes.items():
        if size <= target and len(sizes) - len(drawn) > kept:
            drawn.append(name)
            target -= size
    if not drawn and len(sizes) > kept:
        drawn = [min(sizes, key=lambda name: sizes[name])]
    return drawn
