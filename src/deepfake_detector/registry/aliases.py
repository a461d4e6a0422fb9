"""One move -> the store's aliases and history, so that a crash between two steps leaves the old state or the new one.

MLflow sets one alias a call, and no server offers more. So a move is first written down as one tag (`moving`), then
the deed is done - the alias `champion` is set, one row of one table - and everything else follows from the tag. Who
reads (shelf.py) takes a move whose deed is done as finished; whoever comes next finishes it, or strikes it out if the
deed was not done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepfake_detector.errors import Overtaken
from deepfake_detector.registry.lock import Held
from deepfake_detector.registry.moves import CHAMPION, UNDERWAY, Move, read_move

if TYPE_CHECKING:
    from mlflow import MlflowClient


def carry_out(client: MlflowClient, name: str, move: Move, held: Held) -> None:
    """Do it; the caller holds the lock.

    Raises:
        Overtaken: the champion is not the one that the move was planned against, or the lock was lost.
    """
    recover(client, name)
    champion = client.get_registered_model(name).aliases.get(CHAMPION, "")
    if str(champion) != move.before:
        raise Overtaken(
            f"the champion is version {champion or 'none'}, and was {move.before or 'none'} when this was decided",
            "look who serves now (`deepfake runs`), and ask again",
        )
    client.set_registered_model_tag(name, UNDERWAY, move.as_json())
    held.check()
    _finish(client, name, move)


def recover(client: MlflowClient, name: str) -> None:
    """Finish, or strike out, a move that a crash left underway; the caller holds the lock."""
    model = client.get_registered_model(name)
    if UNDERWAY not in model.tags:
        return
    move = read_move(model.tags[UNDERWAY])
    if move.happened({alias: str(number) for alias, number in model.aliases.items()}):
        _finish(client, name, move)
    else:
        client.delete_registered_model_tag(name, UNDERWAY)


def _finish(client: MlflowClient, name: str, move: Move) -> None:
    """All of it, in order; every step may be done twice."""
    for alias, number in move.aliases.items():
        if number:
            client.set_registered_model_alias(name, alias, number)
        else:
            client.delete_registered_model_alias(name, alias)
    client.set_registered_model_tag(name, move.tag, move.as_json())
    client.delete_registered_model_tag(name, UNDERWAY)
