"""A reason -> the champion before the present one, back again."""

from __future__ import annotations

from deepfake_detector.commands.promote import Force, Why


def rollback(why: Why, force: Force = False) -> None:
    """Bring the champion before the present one back; twice goes back two."""
    from deepfake_detector.registry.by_hand import roll_back
    from deepfake_detector.registry.outcome import hand_over
    from deepfake_detector.settings import read_settings
    from deepfake_detector.workspace import Workspace

    workspace = Workspace().enter()
    shelf = roll_back(why, force, read_settings(workspace.params).register)
    print(hand_over(shelf, workspace))
