"""The figure of the leak probes: colours, values and size follow the probes."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from deepfake_detector.validation.leak_figure import PASSED, STOPPED, WARNED, draw_leak_probes
from deepfake_detector.validation.leak_probes import LeakProbe

GOOD = LeakProbe("metadata", 0.51, 0.49, 0.53, 0.6, "stop", True, "", 4000)
BAD = LeakProbe("metadata", 0.71, 0.69, 0.73, 0.6, "stop", False, "", 4000)
DOUBTFUL = LeakProbe("thumbnail", 0.93, 0.91, 0.95, 0.85, "warn", False, "", 4000)
COMPARED = LeakProbe("centre", 0.77, 0.76, 0.78, None, "warn", True, "", 4000)
UNMEASURED = LeakProbe("border", None, None, None, None, "warn", True, "", 12)


@pytest.fixture(autouse=True)
def _no_screen() -> None:
    plt.switch_backend("Agg")


def share(path: Path, colour: str) -> float:
    """Share of the pixels that have this colour."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(float) / 255
    expected = np.array(to_rgb(colour))
    return float((np.abs(pixels - expected).max(axis=2) < 0.02).mean())


def test_colours_show_passed_warned_and_stopped(tmp_path: Path) -> None:
    passed = draw_leak_probes(tmp_path / "passed", [GOOD, COMPARED])
    stopped = draw_leak_probes(tmp_path / "stopped", [BAD, COMPARED])
    warned = draw_leak_probes(tmp_path / "warned", [GOOD, DOUBTFUL])
    assert share(passed, PASSED) > share(stopped, PASSED) > 0
    assert share(stopped, STOPPED) > 2 * share(passed, STOPPED)
    assert share(warned, WARNED) > 0
    assert share(passed, WARNED) == 0


def test_an_old_figure_is_replaced_and_no_temporary_file_stays(tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "validate"
    first = draw_leak_probes(folder, [GOOD]).read_bytes()
    second = draw_leak_probes(folder, [BAD, DOUBTFUL, COMPARED, UNMEASURED]).read_bytes()
    assert first != second
    assert [path.name for path in folder.iterdir()] == ["probes.png"]
    assert plt.get_fignums() == []


def test_the_same_probes_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = (draw_leak_probes(tmp_path / name, [GOOD, UNMEASURED]).read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("probes", [[], [UNMEASURED] * 8, [GOOD, BAD, DOUBTFUL, COMPARED, UNMEASURED] * 4])
def test_the_height_grows_with_the_number_of_probes(tmp_path: Path, probes: list[LeakProbe]) -> None:
    with Image.open(draw_leak_probes(tmp_path, probes)) as picture:
        height_px = picture.height
    assert height_px == pytest.approx(120 * (1.9 + 0.5 * max(1, len(probes))), abs=2)


def test_values_are_written_beside_the_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr("matplotlib.axes.Axes.text", lambda self, x, y, text, **_: written.append(text))
    draw_leak_probes(tmp_path, [GOOD, UNMEASURED])
    assert written == ["0.510 [0.490, 0.530]", "not measured"]
