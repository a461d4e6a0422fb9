"""Options shared by several commands."""

from __future__ import annotations

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
