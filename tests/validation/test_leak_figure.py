"""The figure of the probes: it is drawn, and it shows what the probes say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from deepfake_detector.validation.leak_figure import CALM, STOP, WARN, draw_probes


@dataclass(frozen=True)
class Drawn:
    name: str
    auc: float | None
    low: float | None
    high: float | None
    threshold: float | None
    severity: Literal["stop", "warn"]
    passed: bool
    images: int = 4000


GOOD = Drawn("metadata", 0.51, 0.49, 0.53, 0.6, "stop", True)
BAD = Drawn("metadata", 0.71, 0.69, 0.73, 0.6, "stop", False)
DOUBTFUL = Drawn("thumbnail", 0.93, 0.91, 0.95, 0.85, "warn", False)
COMPARED = Drawn("centre", 0.77, 0.76, 0.78, None, "warn", True)
UNKNOWN = Drawn("border", None, None, None, None, "warn", True, 12)


@pytest.fixture(autouse=True)
def _no_screen() -> None:
    plt.switch_backend("Agg")


def share(path: Path, colour: str) -> float:
    """Of pixels that have this colour, as it is or laid over white by the interval's transparency."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(float) / 255
    wanted = np.array(to_rgb(colour))
    return float((np.abs(pixels - wanted).max(axis=2) < 0.02).mean())


def test_colours_say_which_alarm_was_raised(tmp_path: Path) -> None:
    calm = draw_probes(tmp_path / "calm", [GOOD, COMPARED])
    stopped = draw_probes(tmp_path / "stopped", [BAD, COMPARED])
    warned = draw_probes(tmp_path / "warned", [GOOD, DOUBTFUL])
    assert share(calm, CALM) > share(stopped, CALM) > 0
    assert share(stopped, STOP) > 2 * share(calm, STOP)
    assert share(warned, WARN) > 0
    assert share(calm, WARN) == 0


def test_nothing_half_written_stays_and_an_old_picture_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "validate"
    first = draw_probes(folder, [GOOD]).read_bytes()
    second = draw_probes(folder, [BAD, DOUBTFUL, COMPARED, UNKNOWN]).read_bytes()
    assert first != second
    assert [path.name for path in folder.iterdir()] == ["probes.png"]
    assert plt.get_fignums() == []


def test_the_same_probes_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = (draw_probes(tmp_path / name, [GOOD, UNKNOWN]).read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("probes", [[], [UNKNOWN] * 8, [GOOD, BAD, DOUBTFUL, COMPARED, UNKNOWN] * 4])
def test_any_number_is_drawn_each_on_a_line_of_its_own(tmp_path: Path, probes: list[Drawn]) -> None:
    with Image.open(draw_probes(tmp_path, probes)) as picture:
        height_px = picture.height
    assert height_px == pytest.approx(120 * (1.9 + 0.5 * max(1, len(probes))), abs=2)


def test_figures_are_written_beside_the_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr("matplotlib.axes.Axes.text", lambda self, x, y, text, **_: written.append(text))
    draw_probes(tmp_path, [GOOD, UNKNOWN])
    assert written == ["0.510 [0.490, 0.530]", "not measured"]
