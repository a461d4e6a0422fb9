"""The public Python API, as docs/api.md describes it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import deepfake_detector
from deepfake_detector import Detector
from deepfake_detector.errors import MissingExtra
from deepfake_detector.media.image import encode_png
from deepfake_detector.model.bundle import Bundle

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def test_it_answers_about_a_file_and_about_bytes(
    tiny_bundle: Bundle, red_portrait: NDArray[np.uint8], tmp_path: Path
) -> None:
    detector = Detector.load(tiny_bundle.path)
    data = encode_png(red_portrait)
    (tmp_path / "red.png").write_bytes(data)
    answers = [detector.image(source, prior=0.01) for source in (tmp_path / "red.png", str(tmp_path / "red.png"), data)]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0].verdict == "fake"
    assert answers[0].posterior is not None
    assert detector.model.sha256 == tiny_bundle.sha256


def test_a_video_without_pyav_names_the_extra(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("deepfake_detector.media.video")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "deepfake_detector.inference.frame_sampling", raising=False)
    monkeypatch.setitem(sys.modules, "av", None)  # as if it were not installed
    with pytest.raises(MissingExtra, match="videos need the package av") as raised:
        Detector.load(tiny_bundle.path).video("clip.mp4")
    assert "deepfake-detector[video]" in raised.value.hint


def test_importing_the_package_loads_no_library() -> None:
    code = "import sys, deepfake_detector; print([n for n in ('numpy', 'cv2', 'openvino') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = deepfake_detector.Nothing


@pytest.mark.slow
def test_the_code_in_the_page_runs(portrait: NDArray[np.uint8], tmp_path: Path) -> None:
    (tmp_path / "portrait.jpg").write_bytes(encode_png(portrait))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] in ("fake", "real", "inconclusive")


@pytest.mark.slow
def test_the_example_runs(portrait: NDArray[np.uint8], clip: Path, tmp_path: Path) -> None:
    (tmp_path / "portrait.png").write_bytes(encode_png(portrait))
    shutil.copy(ROOT / "docs" / "examples" / "python_api.py", tmp_path)
    command = [sys.executable, "python_api.py", "portrait.png", str(clip)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "where 1 % are fake" in done.stdout


def test_the_page_names_what_exists() -> None:
    names = re.findall(r"^\| `Detector\.(\w+)", PAGE, re.MULTILINE)
    assert {"load", "image", "video", "model"} == set(names)
    assert all(hasattr(Detector, name) for name in names if name != "model")
