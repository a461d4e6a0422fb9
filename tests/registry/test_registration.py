"""Versions, decisions and aliases in a real store: made once, in order, and completed after an interruption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepfake_detector.errors import BundleCorrupt, BundleOutdated, ConcurrentChange
from deepfake_detector.model.bundle import Bundle, read_bundle
from deepfake_detector.registry import export, registration
from deepfake_detector.registry.alias_history import AliasChange, apply_change
from deepfake_detector.registry.candidate import Candidate
from deepfake_detector.registry.decisions import StoredDecision, find_version, is_settled, read_decision
from deepfake_detector.registry.gate import Finding
from deepfake_detector.registry.lock import HeldLock
from deepfake_detector.registry.model_registry import RegistrySnapshot, read_registry
from deepfake_detector.tracking.runs import log_training_result, start_run
from deepfake_detector.tracking.store import local_folder, open_client, tracking_uri
from tests.pipeline_checkout import EXPERIMENT, PipelineCheckout, StubRescorer, weights_of_seed

pytestmark = pytest.mark.slow


def aliases(snapshot: RegistrySnapshot) -> dict[str, str]:
    return dict(snapshot.aliases)


def decision_on(snapshot: RegistrySnapshot, candidate: Candidate) -> StoredDecision:
    decision = read_decision(find_version(snapshot, candidate))
    assert decision is not None
    return decision


def findings(snapshot: RegistrySnapshot, candidate: Candidate) -> Mapping[str, Finding]:
    return {finding.code: finding for finding in decision_on(snapshot, candidate).findings}


def failed_codes(snapshot: RegistrySnapshot, candidate: Candidate) -> list[str]:
    return [finding.code for finding in decision_on(snapshot, candidate).findings if not finding.passed]


def stored_bundle(snapshot: RegistrySnapshot) -> Path:
    """Folder of the first version's bundle."""
    folder = local_folder(snapshot.versions[0].tags["bundle_uri"], tracking_uri())
    assert folder is not None
    return folder


def test_the_first_version_becomes_champion_and_carries_its_lineage(checkout: PipelineCheckout) -> None:
    assert not is_settled(read_registry("tiny"), checkout.candidate(), checkout.rules)
    candidate = checkout.candidate()
    snapshot = checkout.register(candidate)
    assert aliases(snapshot) == {"champion": "1"}
    assert is_settled(snapshot, candidate, checkout.rules)
    version = snapshot.versions[0]
    assert version.tags["git_commit"] == "c" * 40
    assert version.tags["bundle_sha256"] == candidate.bundle.sha256
    assert (version.tags["restored"], version.tags["data_sha256:sample"]) == ("true", "d" * 64)
    description = open_client().get_model_version("tiny", "1").description or ""
    assert "- git_commit: `cccc" in description
    assert "# tiny" in description


def test_the_version_names_the_code_of_its_training(checkout: PipelineCheckout) -> None:
    at_training = {"git_commit": "a" * 40, "git_dirty": "true", "version:keras": "1"}
    with start_run(EXPERIMENT, "tiny", {}, at_training) as run:
        log_training_result(run.run_id, weights_of_seed(0), 1.5, 0)
    candidate = checkout.candidate()
    present = {"git_commit": "not a git checkout", "git_branch": "work", "dvc:data/raw/faces.zip": "abc"}
    tags = checkout.register(candidate, lineage=present).versions[0].tags
    assert {key: tags[key] for key in at_training} == at_training
    assert (tags["trained_by_run"], "restored" in tags) == (run.run_id, False)
    assert "git_branch" not in tags
    assert tags["dvc:data/raw/faces.zip"] == "abc"


def test_registering_again_makes_no_second_version(checkout: PipelineCheckout) -> None:
    candidate = checkout.candidate()
    assert checkout.register(candidate) == checkout.register(candidate)


def test_a_worse_candidate_becomes_challenger_and_a_better_one_champion(checkout: PipelineCheckout) -> None:
    checkout.register(checkout.candidate(0.25, 1))
    worse = checkout.candidate(0.4, 2)
    snapshot = checkout.register(worse)
    assert aliases(snapshot) == {"champion": "1", "challenger": "2"}
    assert decision_on(snapshot, worse).promoted is False
    assert is_settled(snapshot, worse, checkout.rules)
    snapshot = checkout.register(checkout.candidate(0.1, 3))
    assert aliases(snapshot) == {"champion": "3", "previous": "1", "challenger": "2"}


def test_an_equal_candidate_is_promoted_and_the_finding_says_why(checkout: PipelineCheckout) -> None:
    checkout.register(checkout.candidate(0.25, 1))
    p_fake = checkout.candidate(0.25, 1).scores.p_fake
    equal = checkout.candidate(seed=2, p_fake=p_fake)  # other weights, the same scores
    snapshot = checkout.register(equal)
    assert aliases(snapshot) == {"champion": "2", "previous": "1"}
    found = findings(snapshot, equal)["auc"]
    assert "+0.0000, 95 % interval +0.0000 to +0.0000: no worse" in found.text
    assert (found.numbers["difference"], found.numbers["low"], found.numbers["high"]) == (0.0, 0.0, 0.0)


def test_other_rules_promote_a_challenger(checkout: PipelineCheckout) -> None:
    checkout.register(checkout.candidate(0.25, 1))
    worse = checkout.candidate(0.4, 2)
    snapshot = checkout.register(worse)
    rules: dict[str, Any] = {"max_auc_loss": 1.0, "max_accuracy_loss": 1.0, "max_slice_loss": 1.0}
    assert not is_settled(snapshot, worse, checkout.changed_rules(**rules))
    assert aliases(checkout.register(worse, **rules)) == {"champion": "2", "previous": "1"}


def test_a_champion_set_in_mlflow_stays_until_a_newer_version_comes(checkout: PipelineCheckout) -> None:
    checkout.register(checkout.candidate(0.3, 1))
    better = checkout.candidate(0.1, 2)
    checkout.register(better)
    open_client().set_registered_model_alias("tiny", "champion", "1")
    assert is_settled(read_registry("tiny"), better, checkout.rules)
    assert aliases(checkout.register(checkout.candidate(0.1, 3)))["champion"] == "3"


def test_a_refused_version_is_decided_again_when_the_champion_was_deleted(checkout: PipelineCheckout) -> None:
    checkout.register(checkout.candidate(0.1, 1))
    refused = checkout.candidate(0.3, 2)
    assert aliases(checkout.register(refused)) == {"champion": "1", "challenger": "2"}
    open_client().delete_model_version("tiny", "1")
    assert not is_settled(read_registry("tiny"), refused, checkout.rules)
    assert aliases(checkout.register(refused)) == {"champion": "2"}


def test_the_history_keeps_every_change_with_its_reason(checkout: PipelineCheckout) -> None:
    for noise, seed in ((0.3, 1), (0.5, 2), (0.1, 3)):
        snapshot = checkout.register(checkout.candidate(noise, seed))
    assert [(change.kind, change.champion, change.challenger) for change in snapshot.history] == [
        ("register", "1", ""),
        ("challenge", "1", "2"),
        ("register", "3", "2"),
    ]
    assert "refused: AUC" in snapshot.history[1].reason
    assert "better (register.max_auc_loss)" in snapshot.history[2].reason
    assert all(change.by.startswith("the gate, run by ") for change in snapshot.history)


def test_the_page_of_the_registered_model_shows_aliases_and_changes_as_a_table(checkout: PipelineCheckout) -> None:
    for noise, seed in ((0.3, 1), (0.5, 2), (0.1, 3)):
        checkout.register(checkout.candidate(noise, seed))
    text = str(open_client().get_registered_model("tiny").description)
    lines = text.splitlines()
    assert lines[2] == "**champion** version 3, **previous** version 1, **challenger** version 2"
    assert lines[4] == "| time (UTC) | change | by | reason |"
    assert [line.split(" | ")[1] for line in lines[6:]] == [
        "version 3 replaced 1",
        "version 2 became challenger of 1",
        "version 1 became the first champion",
    ]
    assert all(line.count(" | ") == 3 for line in lines[6:])
    assert len(text) < 5000


def test_a_better_candidate_that_is_worse_on_one_slice_is_refused(checkout: PipelineCheckout) -> None:
    labels = np.tile([0, 1], 100)
    champion = np.clip(labels * 0.5 + 0.25 + np.random.default_rng(1).normal(0, 0.15, 200), 0, 1)
    champion[:40] = np.where(labels[:40] == 1, 0.9, 0.1)
    better = np.where(labels == 1, 0.95, 0.05)
    better[:12] = 1 - better[:12]
    sizes = {"face size": ["small"] * 40 + ["large"] * 160}
    checkout.register(checkout.candidate(seed=1, p_fake=champion, columns=sizes))
    candidate = checkout.candidate(seed=2, p_fake=better, columns=sizes)
    snapshot = checkout.register(candidate, max_auc_loss=1.0, max_accuracy_loss=1.0)
    assert aliases(snapshot) == {"champion": "1", "challenger": "2"}
    assert failed_codes(snapshot, candidate) == ["slice_accuracy"]
    assert "face size: small (40" in findings(snapshot, candidate)["slice_accuracy"].text


@pytest.mark.parametrize(
    ("failing", "code"), [({"failed_check": True}, "data_checks"), ({"robust_accuracy": 0.4}, "robust_accuracy")]
)
def test_a_better_candidate_below_a_floor_is_refused(
    checkout: PipelineCheckout, failing: dict[str, Any], code: str
) -> None:
    checkout.register(checkout.candidate(0.3, 1))
    candidate = checkout.candidate(0.05, 2, **failing)
    snapshot = checkout.register(candidate)
    assert aliases(snapshot) == {"champion": "1", "challenger": "2"}
    assert failed_codes(snapshot, candidate) == [code]


def test_a_model_that_the_engine_cannot_run_is_refused(checkout: PipelineCheckout) -> None:
    class Broken(StubRescorer):
        def latency_ms(self, bundle: Bundle) -> float:
            raise BundleCorrupt("no such operator")

    candidate = checkout.candidate()
    snapshot = checkout.register(candidate, Broken())
    assert aliases(snapshot) == {"challenger": "1"}
    assert failed_codes(snapshot, candidate) == ["engine"]
    assert "cannot run the bundle: no such operator" in findings(snapshot, candidate)["engine"].text


def test_a_refusal_that_rests_on_the_latency_alone_is_measured_again(checkout: PipelineCheckout) -> None:
    class Slow(StubRescorer):
        def latency_ms(self, bundle: Bundle) -> float:
            return 2000.0

    candidate = checkout.candidate()
    snapshot = checkout.register(candidate, Slow())
    assert failed_codes(snapshot, candidate) == ["latency"]
    assert not is_settled(snapshot, candidate, checkout.rules)
    assert checkout.register(candidate, Slow()).history == snapshot.history
    snapshot = checkout.register(candidate)
    assert aliases(snapshot) == {"champion": "1"}
    assert findings(snapshot, candidate)["latency"].numbers["value"] == 1.0


def test_a_refusal_that_rests_on_the_latency_too_is_settled(checkout: PipelineCheckout) -> None:
    class Slow(StubRescorer):
        def latency_ms(self, bundle: Bundle) -> float:
            return 2000.0

    candidate = checkout.candidate(failed_check=True)
    assert is_settled(checkout.register(candidate, Slow()), candidate, checkout.rules)


def test_a_champion_of_other_test_pictures_is_scored_again_and_the_candidate_is_not(checkout: PipelineCheckout) -> None:
    old = checkout.candidate(0.1, 1, test_digest="o" * 64)
    checkout.register(old)
    new = checkout.candidate(0.3, 2)
    worse = replace(new.scores, p_fake=1 - new.scores.p_fake)  # of the champion on the new pictures
    rescorer = StubRescorer({old.bundle.sha256: worse})
    snapshot = checkout.register(new, rescorer)
    assert aliases(snapshot) == {"champion": "2", "previous": "1"}
    assert rescorer.rescored == [old.bundle.sha256]
    found = findings(snapshot, new)
    assert found["rescoring"].text == "the champion was evaluated on other test pictures, and was scored again on these"
    assert found["auc"].passed


def test_both_are_scored_again_where_neither_was_evaluated_on_the_pictures_at_hand(checkout: PipelineCheckout) -> None:
    old = checkout.candidate(0.3, 1, test_digest="o" * 64)
    checkout.register(old)
    new = checkout.candidate(0.1, 2)
    at_hand = replace(new.scores, test_digest="third")
    worse = replace(at_hand, p_fake=1 - at_hand.p_fake)
    rescorer = StubRescorer({old.bundle.sha256: worse, new.bundle.sha256: at_hand})
    assert aliases(checkout.register(new, rescorer))["champion"] == "2"
    assert rescorer.rescored == [old.bundle.sha256, new.bundle.sha256]


def test_without_the_test_pictures_a_candidate_is_refused(checkout: PipelineCheckout) -> None:
    checkout.register(checkout.candidate(0.3, 1, test_digest="o" * 64))
    candidate = checkout.candidate(0.1, 2)
    snapshot = checkout.register(candidate)
    assert aliases(snapshot) == {"champion": "1", "challenger": "2"}
    assert failed_codes(snapshot, candidate) == ["test_pictures"]
    found = findings(snapshot, candidate)
    assert found["test_pictures"].text.startswith("evaluated on other test pictures (tttttttttttt)")
    assert found["rescoring"].text == "could not be scored again: no test pictures here"


def test_a_corrupt_champion_stops_the_registration(checkout: PipelineCheckout) -> None:
    snapshot = checkout.register(checkout.candidate(0.3, 1))
    (stored_bundle(snapshot) / "detector.onnx").write_bytes(b"changed")
    with pytest.raises(BundleCorrupt, match=r"detector\.onnx differs"):
        checkout.register(checkout.candidate(0.1, 2))
    assert aliases(read_registry("tiny")) == {"champion": "1"}


def test_a_champion_of_another_bundle_format_is_not_compared(
    checkout: PipelineCheckout, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout.register(checkout.candidate(0.1, 1))

    def read_or_refuse(path: Path) -> Bundle:
        if "01" * 32 in (path / "contract.json").read_text():
            raise BundleOutdated("format 1")
        return read_bundle(path)

    monkeypatch.setattr(export, "read_bundle", read_or_refuse)
    candidate = checkout.candidate(0.3, 2)
    snapshot = checkout.register(candidate)
    assert aliases(snapshot) == {"champion": "2", "previous": "1"}
    last = decision_on(snapshot, candidate).findings[-1]
    assert (last.code, last.passed) == ("no_champion", True)
    assert "has a bundle format that this version cannot serve" in last.text


def test_a_champion_changed_meanwhile_is_compared_with_again(
    checkout: PipelineCheckout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While 3 is compared with 1, another process makes 2 champion, which is better than 3."""
    checkout.register(checkout.candidate(0.3, 1))
    checkout.register(checkout.candidate(0.05, 2, failed_check=True))
    candidate = checkout.candidate(0.2, 3)
    applied: list[str] = []

    def apply_after_another(client: Any, name: str, change: AliasChange, lock: HeldLock) -> None:
        applied.append(change.champion)
        if len(applied) == 1:
            client.set_registered_model_alias(name, "champion", "2")
        apply_change(client, name, change, lock)

    monkeypatch.setattr(registration, "apply_change", apply_after_another)
    snapshot = checkout.register(candidate)
    assert applied == ["3", "2"]  # the second change keeps 2 as champion and makes 3 its challenger
    assert (aliases(snapshot)["champion"], aliases(snapshot)["challenger"]) == ("2", "3")
    assert decision_on(snapshot, candidate).promoted is False


def test_registration_gives_up_after_repeated_concurrent_changes(
    checkout: PipelineCheckout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ConcurrentChange("another one")

    monkeypatch.setattr(registration, "apply_change", fail)
    with pytest.raises(ConcurrentChange):
        checkout.register(checkout.candidate())
    assert aliases(read_registry("tiny")) == {}


def test_a_version_that_was_replaced_may_be_compared_again(checkout: PipelineCheckout) -> None:
    checkout.register(checkout.candidate(0.3, 1), max_auc_loss=1.0)
    checkout.register(checkout.candidate(0.1, 2), max_auc_loss=1.0)
    for seed, noise in ((1, 0.3), (2, 0.1), (1, 0.3)):
        candidate = checkout.candidate(noise, seed)
        assert not is_settled(read_registry("tiny"), candidate, checkout.changed_rules(max_auc_loss=1.0))
        assert aliases(checkout.register(candidate, max_auc_loss=1.0))["champion"] == str(seed)
    assert len(read_registry("tiny").versions) == 2


@pytest.mark.parametrize("step", ["_create_version", "write_decision", "apply_change"])
def test_an_interruption_after_any_step_is_completed_by_the_next_run(
    checkout: PipelineCheckout, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    checkout.register(checkout.candidate(0.3, 1))
    better = checkout.candidate(0.1, 2)
    original = getattr(registration, step)

    def interrupted(*args: object) -> None:
        original(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(registration, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkout.register(better)
    monkeypatch.setattr(registration, step, original)
    assert not is_settled(read_registry("tiny"), better, checkout.rules)
    snapshot = checkout.register(better)
    assert aliases(snapshot) == {"champion": "2", "previous": "1"}
    decision = decision_on(snapshot, better)
    assert (decision.promoted, decision.done) == (True, True)
    assert findings(snapshot, better)["auc"].passed
    assert is_settled(snapshot, better, checkout.rules)


def test_a_version_without_its_files_is_not_settled(checkout: PipelineCheckout) -> None:
    candidate = checkout.candidate()
    snapshot = checkout.register(candidate)
    (stored_bundle(snapshot) / "SHA256SUMS").unlink()
    assert not is_settled(snapshot, candidate, checkout.rules)
