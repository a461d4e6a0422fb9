"""Moves of the aliases as plain values: what each changes, where rollback leads, and what half of one looks like."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deepfake_detector.registry.alias_history import (
    MAX_LINE,
    MAX_WHY,
    UNDERWAY,
    Move,
    challenging,
    hand,
    history,
    line_of,
    moved_outside,
    next_move,
    promoted,
    read_move,
    rolled_back,
    seen,
)
from deepfake_detector.tracking.lineage import actor


class Book:
    """Carries moves out on plain dictionaries, as the store would."""

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}
        self.aliases: dict[str, str] = {}

    def next(self, why: str = "because") -> Move:
        return next_move(history(self.tags), self.aliases, 9, "me", why)

    def do(self, move: Move) -> Move:
        self.aliases = {alias: number for alias, number in move.aliases.items() if number}
        self.tags[move.tag] = move.as_json()
        return move


def of_three() -> Book:
    book = Book()
    for number in ("1", "2", "3"):
        book.do(promoted(book.next(), number, "register"))
    return book


def test_champions_follow_each_other() -> None:
    book = of_three()
    assert book.aliases == {"champion": "3", "previous": "2"}
    assert [(m.number, m.before, m.champion) for m in history(book.tags)] == [
        (1, "", "1"),
        (2, "1", "2"),
        (3, "2", "3"),
    ]


def test_rollback_twice_goes_back_two_and_then_there_is_none() -> None:
    book = of_three()
    for expected, previous in (("2", "1"), ("1", None)):
        back = line_of(history(book.tags), book.aliases)[-1]
        book.do(rolled_back(book.next(), back))
        assert book.aliases.get("champion") == expected
        assert book.aliases.get("previous") == previous
    assert line_of(history(book.tags), book.aliases) == ()


def test_after_a_rollback_the_line_goes_on_from_there() -> None:
    book = of_three()
    book.do(rolled_back(book.next(), "2"))
    book.do(promoted(book.next(), "3", "promote"))
    assert line_of(history(book.tags), book.aliases) == ("1", "2")


def test_a_version_stands_in_the_line_once() -> None:
    book = of_three()
    book.do(promoted(book.next(), "1", "promote"))
    assert line_of(history(book.tags), book.aliases) == ("2", "3")


def test_a_challenger_changes_nothing_else_and_is_one_no_more_when_it_wins() -> None:
    book = of_three()
    book.do(challenging(book.next(), "4"))
    assert book.aliases == {"champion": "3", "previous": "2", "challenger": "4"}
    book.do(promoted(book.next(), "4", "promote"))
    assert book.aliases == {"champion": "4", "previous": "3"}


def test_a_move_is_seen_as_done_once_its_deed_is_done_and_not_before() -> None:
    book = of_three()
    move = promoted(book.next(), "4", "register")
    before = dict(book.aliases)
    book.tags[UNDERWAY] = move.as_json()
    assert seen(book.tags, book.aliases) == (history(book.tags), before)
    done = book.aliases | {"champion": "4"}  # the deed, and nothing after it
    moves, aliases = seen(book.tags, done)
    assert aliases == {"champion": "4", "previous": "3"}
    assert moves[-1] == move
    book.tags[move.tag] = move.as_json()  # its history is written too, only the note is still there
    assert seen(book.tags, done)[0] == moves


def test_a_persons_choice_is_known_until_the_gate_chooses() -> None:
    book = of_three()
    assert hand(history(book.tags), book.aliases) is None
    book.do(rolled_back(book.next(), "2"))
    book.do(challenging(book.next(), "4"))
    chosen = hand(history(book.tags), book.aliases)
    assert chosen is not None
    assert (chosen.kind, chosen.known) == ("rollback", 9)
    book.do(promoted(book.next(), "5", "register"))
    assert hand(history(book.tags), book.aliases) is None


def test_an_alias_set_past_us_is_noticed() -> None:
    book = of_three()
    assert not moved_outside(history(book.tags), book.aliases)
    assert not moved_outside((), {"champion": "1"})  # a store that is older than its history
    assert not moved_outside(history(book.tags), {"previous": "2"})  # deleted, so nobody serves: the gate is free
    book.aliases["champion"] = "1"
    assert moved_outside(history(book.tags), book.aliases)
    assert line_of(history(book.tags), book.aliases) == ("2",)  # what MLflow says was before


def test_it_survives_being_written_down_and_fits_into_a_tag() -> None:
    move = next_move((), {}, 1, "me" * 20, "x" * 9000)
    for i in range(200):
        move = replace(promoted(move, str(10_000 + i), "register"), before=str(10_000 + i))
    assert len(move.line) == MAX_LINE
    assert read_move(move.as_json()) == move
    assert MAX_WHY < len(move.why) < MAX_WHY + 10
    assert len(move.as_json()) < 5000


def test_words_for_people() -> None:
    book = of_three()
    first, _, third = history(book.tags)
    assert str(first).endswith("Z version 1 became the first champion, by me: because")
    refused = challenging(next_move((), {}, 1, "me", "refused: too bad"), "1")  # nobody serves yet
    assert str(refused).endswith("Z version 1 asked to be the first champion, by me: refused: too bad")
    assert "version 3 took over from 2, by me: because" in str(third)
    assert "version 2 came back for 3, by me (forced): bad" in str(rolled_back(book.next("bad"), "2", True))
    assert "version 4 challenges 3" in str(challenging(book.next(), "4"))


@pytest.mark.parametrize("on_github", [True, False])
def test_who(monkeypatch: pytest.MonkeyPatch, on_github: bool) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", str(on_github).lower())
    monkeypatch.setenv("GITHUB_ACTOR", "ada")
    monkeypatch.setenv("GITHUB_RUN_ID", "7")
    monkeypatch.setenv("LOGNAME", "grace")
    assert actor() == "ada (GitHub run 7)" if on_github else actor().startswith("grace@")
