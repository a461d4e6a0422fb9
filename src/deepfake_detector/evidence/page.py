"""What was found out and the figures beside it -> report.html: one file that needs nothing else, for reading."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from deepfake_detector.evidence.card import scope, terms_of_use
from deepfake_detector.evidence.failures import known_failures
from deepfake_detector.evidence.findings import Findings
from deepfake_detector.evidence.robustness import ALL
from deepfake_detector.evidence.summary import verdict
from deepfake_detector.model.bundle import Bundle

NAME = "report.html"
TEMPLATE = "page.html.j2"


def write_page(folder: Path, bundle: Bundle, found: Findings) -> Path:
    """Write the page from the numbers and from the PNG files in `folder`.

    Args:
        folder: holds the figures; those that are missing are left out.
        bundle: the sealed model that was judged.
        found: everything that was measured.

    Returns:
        The page's path.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": lambda share: f"{share:.1%}", "marked": _marked}
    template = environment.from_string((resources.files(__package__) / TEMPLATE).read_text(encoding="utf-8"))
    html = template.render(
        contract=bundle.contract,
        sha256=bundle.sha256,
        found=found,
        scope=scope(bundle.contract).replace("**", ""),
        terms=terms_of_use(bundle.contract, found.terms),
        verdict=verdict(found),
        failures=known_failures(found),
        sources=found.grid.sources or [ALL],
        image=_images(folder),
    )
    fresh = folder / f".{NAME}.part"
    fresh.write_text(html, encoding="utf-8")
    return fresh.replace(folder / NAME)


def _marked(text: str) -> Markup:
    """Text whose `backticks` become code, as in the card; everything else stays text."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def _images(folder: Path) -> Callable[[str], str]:
    """A function from a figure's name to its bytes as an address; empty where there is none."""

    def image(name: str) -> str:
        file = folder / f"{name}.png"
        if not file.is_file():
            return ""
        return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"

    return image
