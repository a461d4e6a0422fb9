"""The limits can be imported without a decoder."""

from __future__ import annotations

import subprocess
import sys


def test_limits_load_no_decoder() -> None:
    code = "import sys, deepfake_detector.media.limits; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "deepfake_detector.media.limits" in loaded.stdout.split()
    assert not {"PIL", "av", "cv2", "numpy"} & set(loaded.stdout.split())
