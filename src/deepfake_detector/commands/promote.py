"""A version and a reason -> another champion, if the gate agrees or is overruled."""

from __future__ import annotations

from typing import Annotated

import typer

Why = Annotated[str, typer.Option("--why", help="Reason, for the history; who reads it knows nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Overrule the gate.")]


def promote(
    version: Annotated[str, typer.Argument(help="Number, or an alias such as challenger.")],
    why: Why,
    force: Force = False,
) -> None:
    """Make a version the champion: the model that is packaged and served."""
    from deepfake_detector.registry.by_hand import promote as promote_version
    from deepfake_detector.registry.outcome import hand_over
    from deepfake_detector.rescoring import TestPictures
    from deepfake_detector.settings import read_settings
    from deepfake_detector.workspace import Workspace

    workspace = Workspace().enter()
    settings = read_settings(workspace.params)
    pictures = TestPictures(workspace, settings)
    shelf = promote_version(version, why, force, settings.register, pictures)
    print(hand_over(shelf, workspace))
