"""Options and messages shared by several commands."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|FOLDER",
        help="champion, pretrained, or a bundle's folder. Default: the champion if it was trained on photographs, "
        "else pretrained, else the champion.",
    ),
]


def print_warning(warning: str) -> None:
    """Print a warning to standard error, which programs that read the answers do not see; nothing if it is empty."""
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
