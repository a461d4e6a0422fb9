"""Accepted pictures with reporters and groups -> those that may be exported, and on which side; by digests alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence


def is_held_out(group: str, share: float) -> bool:
    """Whether a group of pictures is kept from training: always the same ones, whatever else is exported.

    Args:
        group: the digest that names it.
        share: of the groups, 0 to 1.
    """
    return _position(f"held out {group}") < share


def capped(reporters: Mapping[str, str], max_share: float) -> set[str]:
    """The pictures that stay when no reporter may have given more than a share of them: as many as possible.

    Args:
        reporters: picture (SHA-256) -> the reporter that it counts for.
        max_share: of all pictures that stay, above 0 and up to 1.

    Returns:
        Digests. Of a reporter with too many those stay that come first in an order that nobody chose: of the digests
        of their digests. Empty if there are too few reporters for such a share.
    """
    by_reporter: dict[str, list[str]] = {}
    for picture, reporter in reporters.items():
        by_reporter.setdefault(reporter, []).append(picture)
    counts = [len(pictures) for pictures in by_reporter.values()]
    limit = _largest_limit(counts, max_share)
    ordered = (sorted(pictures, key=_position) for pictures in by_reporter.values())
    return {picture for pictures in ordered for picture in pictures[:limit]}


def _largest_limit(counts: Sequence[int], max_share: float) -> int:
    """The largest number per reporter with which each has at most `max_share` of the sum of min(count, number)."""
    for limit in range(max(counts, default=0), 0, -1):
        if limit <= max_share * sum(min(count, limit) for count in counts) + 1e-9:
            return limit
    return 0


def _position(text: str) -> float:
    """Uniform in 0..1, by the digest of a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
