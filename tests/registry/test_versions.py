"""Versions, aliases and decisions in a real store: each once, in the right order, good again after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.errors import BundleCorrupt, ModelNotFound
from deepfake_detector.registry import shelf as shelves
from deepfake_detector.registry import versions
from deepfake_detector.registry.candidate import Candidate
from deepfake_detector.registry.decisions import find_version, is_settled, read_decision
from deepfake_detector.registry.export import export_bundle
from deepfake_detector.registry.outcome import export_champion
from deepfake_detector.registry.record import record
from deepfake_detector.registry.runs import start_run
from deepfake_detector.registry.shelf import Shelf, read_shelf
from deepfake_detector.registry.store import local_folder, open_client, tracking_uri
from deepfake_detector.settings import Register

LINEAGE = {"git_commit": "c" * 40, "git_dirty": "false"}


def load(path: Path) -> Any:
    from deepfake_detector.model.export import load_trained

    return load_trained(path)


def register(road: Any, candidate: Candidate, **rules: float) -> Shelf:
    settings = Register(**{**vars(road.rules), **rules})
    return versions.register(candidate, record(candidate, "road", LINEAGE, load), LINEAGE, settings)


def aliases(shelf: Shelf) -> dict[str, str]:
    return dict(shelf.aliases or {})


def test_the_first_version_and_where_it_comes_from(road: Any) -> None:
    assert not is_settled(read_shelf("tiny"), road.candidate(), road.rules)
    candidate = road.candidate()
    shelf = register(road, candidate)
    assert aliases(shelf) == {"champion": "1"}
    assert is_settled(shelf, candidate, road.rules)
    version = shelf.versions[0]
    assert version.tags["git_commit"] == "c" * 40
    assert version.tags["bundle_sha256"] == candidate.bundle.sha256
    described = open_client().get_model_version("tiny", "1").description
    assert "- git_commit: `cccc" in described
    assert "# Tiny" in described


def test_the_code_named_is_the_code_that_trained(road: Any) -> None:
    then = {"git_commit": "a" * 40, "git_dirty": "true", "version:keras": "1"}
    with start_run("road", "tiny", {}, then) as run:
        pass
    candidate = road.candidate(run_id=run.run_id)
    today = {"git_commit": "not a git checkout", "git_branch": "work", "dvc:data/raw/faces.zip": "abc"}
    recorded = record(candidate, "road", today, load)
    tags = versions.register(candidate, recorded, today, road.rules).versions[0].tags
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


def test_a_challenger_that_other_rules_promote_is_challenger_no_more(road: Any) -> None:
    register(road, road.candidate(0.25, 1))
    worse = road.candidate(0.4, 2)
    shelf = register(road, worse)
    lenient = Register(**{**vars(road.rules), "max_auc_loss": 1.0})
    assert not is_settled(shelf, worse, lenient)
    assert aliases(register(road, worse, max_auc_loss=1.0)) == {"champion": "2", "previous": "1"}


def test_a_champion_chosen_by_hand_stays(road: Any) -> None:
    register(road, road.candidate(0.3, 1))
    better = road.candidate(0.1, 2)
    register(road, better)
    open_client().set_registered_model_alias("tiny", "champion", "1")
    assert is_settled(read_shelf("tiny"), better, road.rules)


def test_settings_that_come_back_are_judged_again(road: Any) -> None:
    register(road, road.candidate(0.3, 1), max_auc_loss=1.0)
    register(road, road.candidate(0.1, 2), max_auc_loss=1.0)
    for seed, noise in ((1, 0.3), (2, 0.1), (1, 0.3)):
        candidate = road.candidate(noise, seed)
        assert not is_settled(read_shelf("tiny"), candidate, Register(**{**vars(road.rules), "max_auc_loss": 1.0}))
        assert aliases(register(road, candidate, max_auc_loss=1.0))["champion"] == str(seed)
    assert len(read_shelf("tiny").versions) == 2


@pytest.mark.parametrize("step", ["_create", "write_decision", "_move_aliases"])
def test_a_kill_in_between_is_made_good(road: Any, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Killed right after each step: what was done is kept, what was not is done by the next run."""
    register(road, road.candidate(0.3, 1))
    better = road.candidate(0.1, 2)
    original = getattr(versions, step)

    def killed(*args: object) -> None:
        original(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(versions, step, killed)
    with pytest.raises(KeyboardInterrupt):
        register(road, better)
    monkeypatch.setattr(versions, step, original)
    assert not is_settled(read_shelf("tiny"), better, road.rules)
    shelf = register(road, better)
    assert aliases(shelf) == {"champion": "2", "previous": "1"}
    decision = read_decision(find_version(shelf, better))
    assert (decision["promoted"], decision["done"]) == (True, True)
    assert "AUC" in decision["reasons"][1]
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
