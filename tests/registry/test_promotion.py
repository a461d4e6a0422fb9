"""Promotion and rollback by a person, on a real store: through the gate, past it, and never to a broken bundle."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.config import Register
from deepfake_detector.errors import BadInput, BundleCorrupt, ModelNotFound, Overtaken, PromotionRefused
from deepfake_detector.registry import promotion
from deepfake_detector.registry.candidate import Candidate
from deepfake_detector.registry.decisions import is_settled
from deepfake_detector.registry.model_registry import Shelf, read_shelf
from deepfake_detector.registry.promotion import promote, roll_back
from deepfake_detector.registry.record import record
from deepfake_detector.registry.registration import register
from deepfake_detector.tracking.store import local_folder, open_client, tracking_uri

LINEAGE = {"git_commit": "c" * 40, "git_dirty": "false"}


def load(path: Path) -> Any:
    from deepfake_detector.model.export import load_trained

    return load_trained(path)


def registered(road: Any, candidate: Candidate) -> Shelf:
    recorded = record(candidate, "road", LINEAGE, load)
    return register(candidate, recorded, LINEAGE, road.rules, road.judge())


@pytest.fixture
def three(road: Any) -> Any:
    """Three champions, each better than the one before, and a fourth version that was refused."""
    for seed, noise in ((1, 0.4), (2, 0.25), (3, 0.1)):
        registered(road, road.candidate(noise, seed))
    shelf = registered(road, road.candidate(0.5, 4))
    assert dict(shelf.aliases) == {"champion": "3", "previous": "2", "challenger": "4"}
    return road


def aliases() -> dict[str, str]:
    return dict(read_shelf("tiny").aliases)


def test_the_gate_is_asked_and_can_be_overruled_with_a_reason(three: Any) -> None:
    with pytest.raises(PromotionRefused, match="version 4: refused: AUC") as refused:
        promote("4", "looks fine", False, three.rules, three.judge())
    assert "--force" in refused.value.hint
    assert aliases()["champion"] == "3"
    shelf = promote("challenger", "the customer asked", True, three.rules, three.judge())
    assert aliases() == {"champion": "4", "previous": "3"}
    last = shelf.moves[-1]
    assert (last.kind, last.forced, last.why, last.before) == ("promote", True, "the customer asked", "3")


def test_force_is_not_noted_where_the_gate_agrees(three: Any) -> None:
    roll_back("3 is too slow", False, three.rules)
    shelf = promote("v3", "3 is fast again", True, three.rules, three.judge())
    assert (shelf.moves[-1].champion, shelf.moves[-1].forced) == ("3", False)


def test_a_decision_against_another_champion_is_taken_anew(three: Any) -> None:
    roll_back("back", False, three.rules)
    roll_back("back", False, three.rules)
    with pytest.raises(PromotionRefused, match="version 4"):
        promote("4", "against version 1 now", False, three.rules, three.judge())
    shelf = promote("2", "better than 1", False, three.rules, three.judge())
    assert (shelf.aliases["champion"], shelf.moves[-1].forced) == ("2", False)


def test_rollback_twice_goes_back_two_and_then_there_is_nothing(three: Any) -> None:
    roll_back("3 flags everything", False, three.rules)
    assert (aliases()["champion"], aliases()["previous"]) == ("2", "1")
    shelf = roll_back("2 too", False, three.rules)
    assert shelf.aliases["champion"] == "1"
    assert "previous" not in shelf.aliases
    assert [(m.kind, m.champion, m.why) for m in shelf.moves[-2:]] == [
        ("rollback", "2", "3 flags everything"),
        ("rollback", "1", "2 too"),
    ]
    with pytest.raises(ModelNotFound, match="no earlier champion"):
        roll_back("1 too", False, three.rules)
    assert aliases()["champion"] == "1"


def test_the_next_repro_does_not_undo_a_rollback_but_a_new_model_may_win(three: Any) -> None:
    again = three.candidate(0.1, 3)  # what the checkout still holds
    roll_back("3 flags everything", False, three.rules)
    roll_back("2 too", False, three.rules)
    assert is_settled(read_shelf("tiny"), again, three.rules)
    shelf = registered(three, three.candidate(0.05, 5))
    assert (shelf.aliases["champion"], shelf.aliases["previous"]) == ("5", "1")


def test_a_deleted_version_is_passed_by(three: Any) -> None:
    open_client().delete_model_version("tiny", "2")
    assert roll_back("back", False, three.rules).aliases["champion"] == "1"


def test_a_rollback_must_reach_the_floors_of_today_unless_forced(three: Any) -> None:
    strict = Register(**{**vars(three.rules), "min_accuracy": 0.99})
    with pytest.raises(PromotionRefused, match="version 2, the champion before: accuracy"):
        roll_back("back", False, strict)
    shelf = roll_back("it burns", True, strict)
    assert (shelf.aliases["champion"], shelf.moves[-1].forced) == ("2", True)


@pytest.mark.parametrize("force", [True, False])
def test_a_broken_bundle_never_serves_not_even_by_force(three: Any, force: bool) -> None:
    for version in read_shelf("tiny").versions:
        folder = local_folder(version.tags["bundle_uri"], tracking_uri())
        assert folder is not None
        (folder / "detector.onnx").write_bytes(b"changed")
    with pytest.raises(BundleCorrupt, match=r"detector\.onnx differs"):
        promote("4", "why not", force, three.rules, three.judge())
    with pytest.raises(BundleCorrupt, match=r"detector\.onnx differs"):
        roll_back("why not", force, three.rules)
    assert aliases()["champion"] == "3"


@pytest.mark.parametrize(
    ("wanted", "why", "error", "words"),
    [
        ("3", "again", BadInput, "version 3 is the champion already"),
        ("7", "seven", ModelNotFound, "no version or alias '7'"),
        ("4", "  ", BadInput, "no reason given"),
    ],
)
def test_what_cannot_be_promoted(three: Any, wanted: str, why: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        promote(wanted, why, True, three.rules, three.judge())
    assert len(read_shelf("tiny").moves) == 4


def test_an_empty_registry_says_what_to_do(road: Any) -> None:
    with pytest.raises(ModelNotFound, match="no registered model tiny"):
        roll_back("back", False, road.rules)


def test_whoever_is_overtaken_is_told_and_changes_nothing(three: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original = promotion.fetch_bundle

    def meanwhile(version: Any) -> Any:
        monkeypatch.setattr(promotion, "fetch_bundle", original)
        roll_back("somebody else", False, three.rules)
        return original(version)

    monkeypatch.setattr(promotion, "fetch_bundle", meanwhile)
    with pytest.raises(Overtaken, match="the champion is version 2, and was 3"):
        promote("4", "me", True, three.rules, three.judge())
    assert (aliases()["champion"], len(read_shelf("tiny").moves)) == ("2", 5)


PROMOTE = (
    "import sys, warnings; from types import SimpleNamespace; warnings.simplefilter('ignore')\n"
    "from deepfake_detector.errors import DetectorError\n"
    "from deepfake_detector.registry.promotion import promote\n"
    "from deepfake_detector.config import Register\n"
    "rules = Register(**__import__('json').loads(sys.argv[2]))\n"
    "try:\n"
    "    promote(sys.argv[1], 'I am first', True, rules, SimpleNamespace(latency_ms=lambda bundle: 1.0))\n"
    "except DetectorError as error:\n"
    "    print(error.code)\n"
)


@pytest.mark.slow
def test_two_processes_that_promote_at_once_leave_one_truth(three: Any) -> None:
    """Both were started against champion 3: either one is told so, or it comes second, and the history is whole."""
    import json

    command = [sys.executable, "-W", "ignore", "-c", PROMOTE]
    rules = json.dumps(vars(three.rules))
    both = [subprocess.Popen([*command, n, rules], env=os.environ, stdout=subprocess.PIPE, text=True) for n in "14"]
    said = [process.communicate(timeout=240)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    shelf = read_shelf("tiny")
    raw = {alias: str(n) for alias, n in open_client().get_registered_model("tiny").aliases.items()}
    assert dict(shelf.aliases) == raw
    made = shelf.moves[4:]
    assert len(made) == said.count("")
    assert sorted(set(said) - {""}) in ([], ["overtaken"])
    for before, after in zip(shelf.moves[3:], made, strict=False):
        assert after.before == before.champion
    assert shelf.moves[-1].champion == raw["champion"]
    assert raw["previous"] == made[-1].before
