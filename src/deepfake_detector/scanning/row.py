"""An answer or an error -> the flat row of a scan."""

from __future__ import annotations

import os
from typing import NamedTuple

from deepfake_detector.errors import DetectorError
from deepfake_detector.scoring.fake_kind import leading
from deepfake_detector.scoring.verdict import ImageVerdict, VideoVerdict


class Row(NamedTuple):
    """What a scan says of one file; what does not apply is None."""

    path: str  # from the folder that was scanned
    kind: str | None = None  # image | video
    verdict: str | None = None  # fake | real | inconclusive
    p_fake: float | None = None  # 0..1
    kind_of_fake: str | None = None  # of a fake: synthetic | swap; None where it is unclear
    kind_share: float | None = None  # how much speaks for that kind, 0..1
    faces: int | None = None  # found; of a video, tracks
    reason: str | None = None
    error: str | None = None  # "code: message"
    bytes: int | None = None
    sha256: str | None = None


def answered(name: str, answer: ImageVerdict | VideoVerdict) -> Row:
    """The row of an answer."""
    kind, share = (leading(answer.kind_of_fake) if answer.verdict == "fake" else None) or (None, None)
    return Row(
        path=shown(name),
        kind=answer.kind,
        verdict=answer.verdict,
        p_fake=answer.p_fake,
        kind_of_fake=kind,
        kind_share=share,
        faces=len(answer.tracks if isinstance(answer, VideoVerdict) else answer.faces),
        reason="; ".join(answer.reasons),
    )


def failed(name: str, error: DetectorError) -> Row:
    """The row of an error."""
    return Row(path=shown(name), error=f"{error.code}: {error.message}")


def shown(name: str) -> str:
    """A file's name as text: bytes that are no UTF-8 are written as \\xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
