"""Versions, aliases and decisions in a real store: each once, in the right order, good again after a kill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepfake_detector.config import Register
from deepfake_detector.errors import BundleCorrupt, BundleOutdated, ModelNotFound, Overtaken
from deepfake_detector.registry import export as exports
from deepfake_detector.registry import model_registry as shelves
from deepfake_detector.registry import registration
from deepfake_detector.registry.candidate import Candidate
from deepfake_detector.registry.decisions import find_version, is_settled, read_decision
from deepfake_detector.registry.export import export_bundle
from deepfake_detector.registry.model_registry import Shelf, read_shelf
from deepfake_detector.registry.record import record
from deepfake_detector.registry.report import export_champion
from deepfake_detector.tracking.runs import start_run
from deepfake_detector.tracking.store import local_folder, open_client, tracking_uri

LINEAGE = {"git_commit": "c" * 40, "git_dirty": "false"}


def load(path: Path) -> Any:
    from deepfake_detector.model.export import load_trained

    return load_trained(path)


def register(road: Any, candidate: Candidate, judge: Any = None, **rules: float) -> Shelf:
    settings = Register(**{**vars(road.rules), **rules})
    recorded = record(candidate, "road", LINEAGE, load)
    return registration.register(candidate, recorded, LINEAGE, settings, judge or road.judge())


def aliases(shelf: Shelf) -> dict[str, str]:
    return dict(shelf.aliases)


def test_the_first_version_and_where_it_comes_from(road: Any) -> None:
    assert not is_settled(read_shelf("tiny"), road.candidate(), road.rules)
    candidate = road.candidate()
    shelf = register(road, candidate)
    assert aliases(shelf) == {"champion": "1"}
    assert is_settled(shelf, candidate, road.rules)
    version = shelf.versions[0]
    assert version.tags["git_commit"] == "c" * 40
    assert version.tags["bundle_sha256"] == candidate.bundle.sha256
    assert (version.tags["trained_by_run"], version.tags["data_sha256:sample"]) == (candidate.run_id, "d" * 64)
    described = open_client().get_model_version("tiny", "1").description
    assert "- git_commit: `cccc" in described
    assert "# tiny" in described


def test_the_code_named_is_the_code_that_trained(road: Any) -> None:
    then = {"git_commit": "a" * 40, "git_dirty": "true", "version:keras": "1"}
    with start_run("road", "tiny", {}, then) as run:
        pass
    candidate = road.candidate(run_id=run.run_id)
    today = {"git_commit": "not a git checkout", "git_branch": "work", "dvc:data/raw/faces.zip": "abc"}
    recorded = record(candidate, "road", today, load)
    tags = registration.register(candidate, recorded, today, road.rules, road.judge()).versions[0].tags
    assert {key: tags[key] for key in then} == then
    assert "git_branch" not in tags
    assert tags["dvc:data/raw/faces.zip"] == "abc"


def test_registering_again_makes_no_second_version(road: Any) -> None:
    candidate = road.candidate()
    assert register(road, candidate) == register(road, candidate)


def test_a_worse_one_is_challenger_and_a_better_one_champion(road: Any) -> None:
    register(road, road.candidate(0.25, 1))
    worse = road.candidate(0.4, 2)
    shelf = register(road, worse)
    assert aliases(shelf) == {"champion": "1", "challenger": "2"}
    assert read_decision(find_version(shelf, worse))["promoted"] is False
    assert is_settled(shelf, worse, road.rules)
    shelf = register(road, road.candidate(0.1, 3))
    assert aliases(shelf) == {"champion": "3", "previous": "1", "challenger": "2"}


def test_an_equal_one_is_let_through_and_the_interval_says_why(road: Any) -> None:
    register(road, road.candidate(0.25, 1))
    p_fake = road.candidate(0.25, 1).scores.p_fake
    equal = road.candidate(seed=2, p_fake=p_fake)  # other weights, the same answers
    shelf = register(road, equal)
    assert aliases(shelf) == {"champion": "2", "previous": "1"}
    reasons = read_decision(find_version(shelf, equal))["reasons"]
    assert any("+0.0000, 95 % interval +0.0000 to +0.0000: no worse" in reason for reason in reasons)


def test_a_challenger_that_other_rules_promote_is_challenger_no_more(road: Any) -> None:
    register(road, road.candidate(0.25, 1))
    worse = road.candidate(0.4, 2)
    shelf = register(road, worse)
    rules = {"max_auc_loss": 1.0, "max_accuracy_loss": 1.0, "max_slice_loss": 1.0}
    lenient = Register(**{**vars(road.rules), **rules})
    assert not is_settled(shelf, worse, lenient)
    assert aliases(register(road, worse, **rules)) == {"champion": "2", "previous": "1"}


def test_a_champion_set_in_mlflows_pages_stays_until_a_newer_version_comes(road: Any) -> None:
    register(road, road.candidate(0.3, 1))
    better = road.candidate(0.1, 2)
    register(road, better)
    open_client().set_registered_model_alias("tiny", "champion", "1")
    assert is_settled(read_shelf("tiny"), better, road.rules)
    assert aliases(register(road, road.candidate(0.1, 3)))["champion"] == "3"


def test_where_the_champion_was_deleted_the_gate_is_free_again(road: Any) -> None:
    register(road, road.candidate(0.1, 1))
    refused = road.candidate(0.3, 2)
    assert aliases(register(road, refused)) == {"champion": "1", "challenger": "2"}
    open_client().delete_model_version("tiny", "1")
    assert not is_settled(read_shelf("tiny"), refused, road.rules)
    assert aliases(register(road, refused)) == {"champion": "2"}


def test_every_move_is_told_with_its_reason(road: Any) -> None:
    register(road, road.candidate(0.3, 1))
    register(road, road.candidate(0.5, 2))
    shelf = register(road, road.candidate(0.1, 3))
    assert [(move.kind, move.champion, move.challenger) for move in shelf.moves] == [
        ("register", "1", ""),
        ("challenge", "1", "2"),
        ("register", "3", "2"),
    ]
    assert "refused: AUC" in shelf.moves[1].why
    assert "better (register.max_auc_loss)" in shelf.moves[2].why
    assert all(move.by.startswith("the gate, run by ") for move in shelf.moves)


def test_a_better_one_that_is_worse_in_one_slice_is_refused(road: Any) -> None:
    labels = np.tile([0, 1], 100)
    champion = np.clip(labels * 0.5 + 0.25 + np.random.default_rng(1).normal(0, 0.15, 200), 0, 1)
    champion[:40] = np.where(labels[:40] == 1, 0.9, 0.1)
    better = np.where(labels == 1, 0.95, 0.05)
    better[:12] = 1 - better[:12]
    sizes = {"face size": ["small"] * 40 + ["large"] * 160}
    register(road, road.candidate(seed=1, p_fake=champion, columns=sizes))
    candidate = road.candidate(seed=2, p_fake=better, columns=sizes)
    shelf = register(road, candidate, max_auc_loss=1.0, max_accuracy_loss=1.0)
    assert aliases(shelf) == {"champion": "1", "challenger": "2"}
    reasons = read_decision(find_version(shelf, candidate))["reasons"]
    assert [r for r in reasons if r.startswith("refused")] == [r for r in reasons if "face size: small (40" in r]


@pytest.mark.parametrize("failing", [{"failed": True}, {"robust": 0.4}])
def test_a_better_one_that_misses_a_floor_is_refused(road: Any, failing: dict[str, Any]) -> None:
    register(road, road.candidate(0.3, 1))
    assert aliases(register(road, road.candidate(0.05, 2, **failing))) == {"champion": "1", "challenger": "2"}


def test_a_model_that_the_engine_cannot_run_never_serves(road: Any) -> None:
    class Broken(road.judge):  # type: ignore[misc, name-defined]
        def latency_ms(self, bundle: Any) -> float:
            raise BundleCorrupt("no such operator")

    candidate = road.candidate()
    shelf = register(road, candidate, Broken())
    assert aliases(shelf) == {"challenger": "1"}
    assert any("cannot use it: no such operator" in r for r in read_decision(shelf.versions[0])["reasons"])


def test_other_test_pictures_are_scored_anew_and_only_for_the_champion(road: Any) -> None:
    old = road.candidate(0.1, 1, test="o" * 64)
    register(road, old)
    new = road.candidate(0.3, 2)
    fallen = replace(new.scores, p_fake=1 - new.scores.p_fake)  # on the new pictures the champion is no good
    judge = road.judge({old.bundle.sha256: fallen})
    shelf = register(road, new, judge)
    assert aliases(shelf) == {"champion": "2", "previous": "1"}
    assert judge.asked == [old.bundle.sha256]
    reasons = read_decision(find_version(shelf, new))["reasons"]
    assert "the champion was judged on other test pictures, and was scored anew on these" in reasons
    assert any(r.startswith("AUC") for r in reasons)


def test_both_are_scored_anew_where_the_pictures_at_hand_are_neithers(road: Any) -> None:
    old = road.candidate(0.3, 1, test="o" * 64)
    register(road, old)
    new = road.candidate(0.1, 2)
    third = replace(new.scores, test_digest="third")
    judge = road.judge({old.bundle.sha256: replace(third, p_fake=1 - third.p_fake), new.bundle.sha256: third})
    assert aliases(register(road, new, judge))["champion"] == "2"
    assert judge.asked == [old.bundle.sha256, new.bundle.sha256]


def test_without_the_pictures_nobody_is_promoted_on_trust(road: Any) -> None:
    register(road, road.candidate(0.3, 1, test="o" * 64))
    candidate = road.candidate(0.1, 2)
    shelf = register(road, candidate)
    assert aliases(shelf) == {"champion": "1", "challenger": "2"}
    reasons = read_decision(find_version(shelf, candidate))["reasons"]
    assert any(r.startswith("refused: judged on other test pictures (tttttttttttt)") for r in reasons)
    assert "not scored anew: no test pictures here" in reasons


def test_a_corrupt_champion_stops_the_registration(road: Any) -> None:
    shelf = register(road, road.candidate(0.3, 1))
    folder = local_folder(shelf.versions[0].tags["bundle_uri"], tracking_uri())
    assert folder is not None
    (folder / "detector.onnx").write_bytes(b"changed")
    with pytest.raises(BundleCorrupt, match=r"detector\.onnx differs"):
        register(road, road.candidate(0.1, 2))
    assert aliases(read_shelf("tiny")) == {"champion": "1"}


def test_a_champion_of_another_format_makes_room(road: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    register(road, road.candidate(0.1, 1))
    original = exports.read_bundle

    def read(path: Path) -> Any:
        if "01" * 32 in (path / "contract.json").read_text():
            raise BundleOutdated("format 1")
        return original(path)

    monkeypatch.setattr(exports, "read_bundle", read)
    candidate = road.candidate(0.3, 2)
    shelf = register(road, candidate)
    assert aliases(shelf) == {"champion": "2", "previous": "1"}
    assert "of a format that this code cannot serve" in read_decision(find_version(shelf, candidate))["reasons"][-1]


def test_whoever_is_overtaken_compares_again(road: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While 3 is compared with 1, somebody makes 2 champion, which is better than 3."""
    register(road, road.candidate(0.3, 1))
    register(road, road.candidate(0.05, 2, failed=True))
    candidate = road.candidate(0.2, 3)
    original, calls = registration.carry_out, []

    def overtaken(client: Any, name: str, move: Any, held: Any) -> None:
        calls.append(move.champion)
        if len(calls) == 1:
            client.set_registered_model_alias(name, "champion", "2")
        original(client, name, move, held)

    monkeypatch.setattr(registration, "carry_out", overtaken)
    shelf = register(road, candidate)
    assert calls == ["3", "2"]  # the second move leaves 2 where it is and makes 3 its challenger
    assert (aliases(shelf)["champion"], aliases(shelf)["challenger"]) == ("2", "3")
    assert read_decision(find_version(shelf, candidate))["promoted"] is False


def test_whoever_is_overtaken_again_and_again_gives_up(road: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise Overtaken("again")

    monkeypatch.setattr(registration, "carry_out", refuse)
    with pytest.raises(Overtaken):
        register(road, road.candidate())
    assert aliases(read_shelf("tiny")) == {}


def test_settings_that_come_back_are_judged_again(road: Any) -> None:
    register(road, road.candidate(0.3, 1), max_auc_loss=1.0)
    register(road, road.candidate(0.1, 2), max_auc_loss=1.0)
    for seed, noise in ((1, 0.3), (2, 0.1), (1, 0.3)):
        candidate = road.candidate(noise, seed)
        assert not is_settled(read_shelf("tiny"), candidate, Register(**{**vars(road.rules), "max_auc_loss": 1.0}))
        assert aliases(register(road, candidate, max_auc_loss=1.0))["champion"] == str(seed)
    assert len(read_shelf("tiny").versions) == 2


@pytest.mark.parametrize("step", ["_create", "write_decision", "carry_out"])
def test_a_kill_in_between_is_made_good(road: Any, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Killed right after each step: what was done is kept, what was not is done by the next run."""
    register(road, road.candidate(0.3, 1))
    better = road.candidate(0.1, 2)
    original = getattr(registration, step)

    def killed(*args: object) -> None:
        original(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(registration, step, killed)
    with pytest.raises(KeyboardInterrupt):
        register(road, better)
    monkeypatch.setattr(registration, step, original)
    assert not is_settled(read_shelf("tiny"), better, road.rules)
    shelf = register(road, better)
    assert aliases(shelf) == {"champion": "2", "previous": "1"}
    decision = read_decision(find_version(shelf, better))
    assert (decision["promoted"], decision["done"]) == (True, True)
    assert any(reason.startswith("AUC") for reason in decision["reasons"])
    assert is_settled(shelf, better, road.rules)


def test_lost_files_are_not_settled(road: Any) -> None:
    candidate = road.candidate()
    shelf = register(road, candidate)
    folder = local_folder(shelf.versions[0].tags["bundle_uri"], tracking_uri())
    assert folder is not None
    (folder / "SHA256SUMS").unlink()
    assert not is_settled(shelf, candidate, road.rules)


def test_the_look_at_the_file_sees_what_mlflow_sees(road: Any) -> None:
    register(road, road.candidate(0.3, 1))
    shelf = register(road, road.candidate(0.1, 2))
    assert shelf == shelves._ask("tiny")
    assert [version.number for version in shelf.versions] == ["1", "2"]
    open_client().delete_model_version("tiny", "1")
    assert read_shelf("tiny") == shelves._ask("tiny")
    assert [version.number for version in read_shelf("tiny").versions] == ["2"]


def test_no_store_and_another_layout(road: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert read_shelf("tiny") == Shelf((), {})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    assert read_shelf("tiny") == Shelf()
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "none.db").write_bytes(b"")  # a file without tables: MLflow itself is asked
    monkeypatch.setattr(shelves, "_ask", lambda name: Shelf((), {"asked": name}))
    assert read_shelf("tiny").aliases == {"asked": "tiny"}


def test_export_replaces_whatever_is_there(road: Any, tmp_path: Path) -> None:
    candidate = road.candidate()
    version = register(road, candidate).versions[0]
    to = tmp_path / "champion"
    assert export_bundle(version, to).sha256 == candidate.bundle.sha256
    (to / "detector.onnx").write_bytes(b"changed")
    assert export_bundle(version, to).sha256 == candidate.bundle.sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["champion", "checkout"]


def test_a_changed_bundle_in_the_store_is_never_exported(road: Any, tmp_path: Path) -> None:
    version = register(road, road.candidate()).versions[0]
    folder = local_folder(version.tags["bundle_uri"], tracking_uri())
    assert folder is not None
    (folder / "detector.onnx").write_bytes(b"changed")
    with pytest.raises(BundleCorrupt, match=r"detector\.onnx differs"):
        export_bundle(version, tmp_path / "champion")
    assert not (tmp_path / "champion").exists()


def test_without_a_champion_there_is_nothing_to_export(road: Any, tmp_path: Path) -> None:
    candidate = road.candidate()
    shelf = register(road, candidate, min_accuracy=1.0)
    assert aliases(shelf) == {"challenger": "1"}
    with pytest.raises(ModelNotFound, match="at least 1 asked for"):
        export_champion(shelf, candidate, tmp_path / "champion")
