"""deepfake-detector: a picture in, a verdict with reasons out; a data set in, a registered model out.

The public API is `Detector` and `__version__` (docs/api.md). Both are looked up on first use, so that importing a
module of this package loads nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepfake_detector.inference.detector import Detector

    __version__: str

__all__ = ["Detector", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Detector":
        from deepfake_detector.inference.detector import Detector

        return Detector
    if name == "__version__":
        from importlib.metadata import version

        return version("deepfake-detector")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
