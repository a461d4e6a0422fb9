"""A bundle and what is said of it -> the answer of GET /about."""

from __future__ import annotations

from deepfake_detector.model.bundle import Bundle, Contract


class About(Contract):
    """Which model answers and why; then its contract: on what it was trained, how it was judged, its marks."""

    name: str  # champion | pretrained
    version: str
    reason: str
    sha256: str  # of the bundle


def about(bundle: Bundle, named: dict[str, str]) -> About:
    """Say it.

    Args:
        bundle: the one that answers.
        named: its `name`, `version` and the `reason` why it answers.
    """
    return About(**bundle.contract.model_dump(), **named, sha256=bundle.sha256)
