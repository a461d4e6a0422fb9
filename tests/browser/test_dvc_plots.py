"""The page of `dvc plots show` draws in a browser that has no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

TEMPLATE = Path(__file__).parents[2] / "docs" / "plots" / "page.html"
ROC = [{"rev": "workspace", "false_positive_rate": x, "true_positive_rate": y} for x, y in [(0, 0), (0.2, 0.9), (1, 1)]]


def test_plots_are_drawn_without_a_network(browser: Any, tmp_path: Path) -> None:
    from dvc_render import VegaRenderer
    from dvc_render.html import render_html

    axes = {"x": "false_positive_rate", "y": "true_positive_rate", "template": "simple"}
    page_file = Path(render_html([VegaRenderer(ROC, "ROC", **axes)], tmp_path / "index.html", TEMPLATE))
    context = browser.new_context(offline=True)
    try:
        page, requests, errors = context.new_page(), list[str](), list[str]()
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(page_file.as_uri())
        page.wait_for_selector("canvas, svg.marks", timeout=30_000)
        assert errors == []
        assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
        box = page.locator("canvas, svg.marks").first.bounding_box()
        assert box["width"] > 100
        assert box["height"] > 100
    finally:
        context.close()
