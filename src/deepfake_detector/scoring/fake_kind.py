"""Logits (n, k) of the kinds of fakes -> which kind a fake looks like: shares that add up to 1, and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Shares = Mapping[str, float]  # kind -> 0..1

# As the sentence needs them; a kind without a word goes by its own name.
WORDS = {"synthetic": "a generated face", "swap": "a face swap"}
# Twice as likely as all other kinds together; the shares are not calibrated, so nearer than that says nothing.
CLEAR_SHARE = 2 / 3


def kind_shares(logits: NDArray[np.float32], kinds: Sequence[str]) -> list[dict[str, float] | None]:
    """Softmax over the kinds: were the crop a fake, which one.

    Args:
        logits: (n, k), of each kind against "real".
        kinds: (k,), their names; a model that learnt one kind only cannot tell, hence None.
    """
    if len(kinds) < 2:
        return [None] * len(logits)
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares = odds / odds.sum(axis=1, keepdims=True)
    return [{kind: round(float(share), 4) for kind, share in zip(kinds, row, strict=True)} for row in shares]


def mean_shares(shares: Sequence[Shares | None], weights: Sequence[float]) -> dict[str, float] | None:
    """Shares of one face through time -> one; sightings that look real (small weight) say little of the kind."""
    known = [(each, weight) for each, weight in zip(shares, weights, strict=True) if each]
    total = sum(weight for _, weight in known)
    if total <= 0:
        return None
    kinds = list(known[0][0])
    return {kind: round(sum(each[kind] * weight for each, weight in known) / total, 4) for kind in kinds}


def leading(shares: Shares | None) -> tuple[str, float] | None:
    """The kind that it looks like and its share; None when that is unknown or unclear."""
    if not shares:
        return None
    kind = max(shares, key=lambda name: shares[name])
    return (kind, shares[kind]) if shares[kind] >= CLEAR_SHARE else None


def say_kind(shares: Shares | None) -> list[str]:
    """One sentence on the kind of a fake, with the number; [] where the model cannot tell kinds."""
    if not shares:
        return []
    found = leading(shares)
    if found is None:
        listed = ", ".join(f"{WORDS.get(kind, kind)} {share:.2f}" for kind, share in shares.items())
        return [f"which kind of fake it is stays unclear ({listed})"]
    kind, share = found
    others = " or ".join(WORDS.get(name, name) for name in shares if name != kind)
    return [f"it looks like {WORDS.get(kind, kind)} rather than {others} ({share:.2f})"]
