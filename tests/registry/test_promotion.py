"""Manual promotion and rollback on a real store: by the gate, forced, and never to a broken bundle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager

import pytest

from deepfake_detector.errors import BadInput, BundleCorrupt, ConcurrentChange, ModelNotFound, PromotionRefused
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.registry import promotion
from deepfake_detector.registry.decisions import is_settled
from deepfake_detector.registry.export import fetch_bundle
from deepfake_detector.registry.model_registry import ModelVersion, RegistrySnapshot, read_registry
from deepfake_detector.registry.promotion import promote, roll_back
from deepfake_detector.tracking.store import local_folder, open_client, tracking_uri
from tests.pipeline_checkout import PipelineCheckout, StubRescorer

pytestmark = pytest.mark.slow


@pytest.fixture
def three(checkout: PipelineCheckout) -> PipelineCheckout:
    """Versions 1 to 3 became champion, each better than the one before; version 4 was refused."""
    for seed, noise in ((1, 0.4), (2, 0.25), (3, 0.1)):
        checkout.register(checkout.candidate(noise, seed))
    snapshot = checkout.register(checkout.candidate(0.5, 4))
    assert dict(snapshot.aliases) == {"champion": "3", "previous": "2", "challenger": "4"}
    return checkout


def promoted(checkout: PipelineCheckout, version: str, reason: str, force: bool = False) -> RegistrySnapshot:
    return promote(version, reason, force, checkout.rules, StubRescorer())


def aliases() -> dict[str, str]:
    return dict(read_registry("tiny").aliases)


def test_the_gate_refuses_a_promotion_unless_it_is_forced(three: PipelineCheckout) -> None:
    with pytest.raises(PromotionRefused, match="version 4: refused: AUC") as refused:
        promoted(three, "4", "looks fine")
    assert "--force" in refused.value.hint
    assert aliases()["champion"] == "3"
    snapshot = promoted(three, "challenger", "the customer asked", force=True)
    assert aliases() == {"champion": "4", "previous": "3"}
    last = snapshot.history[-1]
    assert (last.kind, last.forced, last.reason, last.before) == ("promote", True, "the customer asked", "3")


def test_force_is_not_recorded_where_the_gate_agrees(three: PipelineCheckout) -> None:
    roll_back("3 is too slow", False, three.rules)
    snapshot = promoted(three, "v3", "3 is fast again", force=True)
    assert (snapshot.history[-1].champion, snapshot.history[-1].forced) == ("3", False)


def test_a_decision_against_another_champion_is_made_again(three: PipelineCheckout) -> None:
    roll_back("back", False, three.rules)
    roll_back("back", False, three.rules)
    with pytest.raises(PromotionRefused, match="version 4"):
        promoted(three, "4", "against version 1 now")
    snapshot = promoted(three, "2", "better than 1")
    assert (snapshot.aliases["champion"], snapshot.history[-1].forced) == ("2", False)


def test_two_rollbacks_go_back_two_champions_and_a_third_has_none(three: PipelineCheckout) -> None:
    roll_back("3 flags everything", False, three.rules)
    assert (aliases()["champion"], aliases()["previous"]) == ("2", "1")
    snapshot = roll_back("2 too", False, three.rules)
    assert snapshot.aliases["champion"] == "1"
    assert "previous" not in snapshot.aliases
    assert [(change.kind, change.champion, change.reason) for change in snapshot.history[-2:]] == [
        ("rollback", "2", "3 flags everything"),
        ("rollback", "1", "2 too"),
    ]
    with pytest.raises(ModelNotFound, match="no earlier champion"):
        roll_back("1 too", False, three.rules)
    assert aliases()["champion"] == "1"


def test_the_next_repro_keeps_a_rollback_but_a_new_version_may_win(three: PipelineCheckout) -> None:
    same = three.candidate(0.1, 3)  # what the checkout still holds
    roll_back("3 flags everything", False, three.rules)
    roll_back("2 too", False, three.rules)
    assert is_settled(read_registry("tiny"), same, three.rules)
    snapshot = three.register(three.candidate(0.05, 5))
    assert (snapshot.aliases["champion"], snapshot.aliases["previous"]) == ("5", "1")


def test_a_rollback_skips_a_deleted_version(three: PipelineCheckout) -> None:
    open_client().delete_model_version("tiny", "2")
    assert roll_back("back", False, three.rules).aliases["champion"] == "1"


def test_a_rollback_must_pass_the_present_floors_unless_it_is_forced(three: PipelineCheckout) -> None:
    strict = three.changed_rules(min_accuracy=0.99)
    with pytest.raises(PromotionRefused, match="version 2, the previous champion: accuracy"):
        roll_back("back", False, strict)
    snapshot = roll_back("urgent", True, strict)
    assert (snapshot.aliases["champion"], snapshot.history[-1].forced) == ("2", True)


@pytest.mark.parametrize("force", [True, False])
def test_a_broken_bundle_never_becomes_champion_even_if_forced(three: PipelineCheckout, force: bool) -> None:
    for version in read_registry("tiny").versions:
        folder = local_folder(version.tags["bundle_uri"], tracking_uri())
        assert folder is not None
        (folder / "detector.onnx").write_bytes(b"changed")
    with pytest.raises(BundleCorrupt, match=r"detector\.onnx differs"):
        promoted(three, "4", "why not", force)
    with pytest.raises(BundleCorrupt, match=r"detector\.onnx differs"):
        roll_back("why not", force, three.rules)
    assert aliases()["champion"] == "3"


@pytest.mark.parametrize(
    ("wanted", "reason", "error", "message"),
    [
        ("3", "again", BadInput, "version 3 is the champion already"),
        ("7", "seven", ModelNotFound, "no version or alias '7'"),
        ("4", "  ", BadInput, "no reason given"),
    ],
)
def test_errors_of_a_promotion(
    three: PipelineCheckout, wanted: str, reason: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        promoted(three, wanted, reason, force=True)
    assert len(read_registry("tiny").history) == 4


def test_an_empty_registry_is_an_error(checkout: PipelineCheckout) -> None:
    with pytest.raises(ModelNotFound, match="no registered model tiny"):
        roll_back("back", False, checkout.rules)


def test_a_champion_changed_meanwhile_is_an_error(three: PipelineCheckout, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch_after_rollback(version: ModelVersion) -> AbstractContextManager[Bundle]:
        monkeypatch.setattr(promotion, "fetch_bundle", fetch_bundle)
        roll_back("another process", False, three.rules)
        return fetch_bundle(version)

    monkeypatch.setattr(promotion, "fetch_bundle", fetch_after_rollback)
    with pytest.raises(ConcurrentChange, match="the champion is version 2, and was 3"):
        promoted(three, "4", "mine", force=True)
    assert (aliases()["champion"], len(read_registry("tiny").history)) == ("2", 5)


PROMOTE = (
    "import json, sys, warnings; from types import SimpleNamespace; warnings.simplefilter('ignore')\n"
    "from deepfake_detector.errors import DetectorError\n"
    "from deepfake_detector.registry.promotion import promote\n"
    "from deepfake_detector.config import Register\n"
    "rules = Register(**json.loads(sys.argv[2]))\n"
    "try:\n"
    "    promote(sys.argv[1], 'mine', True, rules, SimpleNamespace(latency_ms=lambda bundle: 1.0))\n"
    "except DetectorError as error:\n"
    "    print(error.code)\n"
)


@pytest.mark.slow
def test_two_concurrent_promotions_leave_one_consistent_history(three: PipelineCheckout) -> None:
    """Both start with champion 3: either one fails with concurrent_change, or it comes second."""
    command, rules = [sys.executable, "-W", "ignore", "-c", PROMOTE], json.dumps(vars(three.rules))
    both = [subprocess.Popen([*command, n, rules], env=os.environ, stdout=subprocess.PIPE, text=True) for n in "14"]
    errors = [process.communicate(timeout=240)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    snapshot = read_registry("tiny")
    in_mlflow = {alias: str(n) for alias, n in open_client().get_registered_model("tiny").aliases.items()}
    assert dict(snapshot.aliases) == in_mlflow
    made = snapshot.history[4:]
    assert len(made) == errors.count("")
    assert sorted(set(errors) - {""}) in ([], ["concurrent_change"])
    for before, after in zip(snapshot.history[3:], made, strict=False):
        assert after.before == before.champion
    assert snapshot.history[-1].champion == in_mlflow["champion"]
    assert in_mlflow["previous"] == made[-1].before
