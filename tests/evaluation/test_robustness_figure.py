"""The grid's figure: a panel per family, mild to hard."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from deepfake_detector.evaluation.robustness import draw_robustness


def test_panels_go_from_clean_to_hard(case, tmp_path, monkeypatch) -> None:
    ticks: list[list[str]] = []
    monkeypatch.setattr(Axes, "set_xticks", lambda self, places, labels: ticks.append(labels))
    draw_robustness(tmp_path / "grid.png", case.found.grid)
    assert ticks == [["clean", "75", "30"]]
    assert plt.get_fignums() == []


def test_the_same_grid_gives_the_same_bytes(case, tmp_path) -> None:
    one, two = (draw_robustness(tmp_path / name, case.found.grid).read_bytes() for name in ("a.png", "b.png"))
    assert one == two
    assert one.startswith(b"\x89PNG")
