"""A drift report is kept with the champion and named; a training needs new data, feedback or a person's wish."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path

import pytest

from deepfake_detector.errors import ToolFailed
from deepfake_detector.registry.alias_history import CHAMPION
from deepfake_detector.registry.model_registry import ModelVersion, read_registry
from deepfake_detector.registry.retraining import DriftFound, decide_retraining, keep_drift_report, read_drift
from pipelines import retraining
from pipelines.stage import run_stage
from tests.pipeline_checkout import PipelineCheckout

TODAY = date(2026, 11, 29)
KNOWN = ModelVersion("3", "r" * 32, {"data_sha256:faces": "a" * 64})
DRIFT = DriftFound("drift-2026-11-29-1a2b3c4d", True, "covariate shift", ("Faces are smaller.",))


def write_drift(folder: Path, **changed: object) -> Path:
    folder.mkdir()
    content = {"verdict": "covariate shift", "drifted": True, "summary": ["Faces are smaller."], "models": []} | changed
    (folder / "drift.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "drift.html").write_text("<h1>Drift</h1>", encoding="utf-8")
    return folder


def test_drift_alone_is_no_reason_to_train() -> None:
    decision = decide_retraining({"faces": "a" * 64}, (), KNOWN, DRIFT)
    assert not decision.train
    text = decision.as_markdown()
    assert "`drift-2026-11-29-1a2b3c4d`: covariate shift; the page is an artifact of version 3." in text
    assert "- Faces are smaller." in text
    assert "Drift alone is no reason" in text


@pytest.mark.parametrize("drift", [None, DRIFT])
def test_new_data_accepted_feedback_and_a_wish_are_reasons(drift: DriftFound | None) -> None:
    def reasons(data: dict[str, str], champion: ModelVersion | None = KNOWN, requested: str = "") -> tuple[str, ...]:
        return decide_retraining(data, {"feedback"}, champion, drift, requested).reasons

    faces = {"faces": "a" * 64}
    assert reasons(faces) == ()
    (feedback,) = reasons(faces | {"feedback": "b" * 64})
    assert feedback.startswith("accepted feedback: source `feedback` (SHA-256 bbbbbbbbbbbb)")
    assert reasons(faces | {"portraits": "c" * 64})[0].startswith("new data: source `portraits`")
    assert reasons({"faces": "d" * 64})[0].startswith("other data: source `faces`")
    assert reasons({}) == ("source `faces` is not trained on any more",)
    assert reasons(faces, None) == ("there is no champion yet",)
    assert reasons(faces, requested="train.epochs=30") == ("a person asked for it, with train.epochs=30",)


def test_a_report_is_named_by_day_and_content(tmp_path: Path) -> None:
    first, second = write_drift(tmp_path / "a"), write_drift(tmp_path / "b", verdict="quiet", drifted=False)
    found, quiet = (read_drift(folder, TODAY) for folder in (first, second))
    assert found is not None
    assert quiet is not None
    assert found.name.startswith("drift-2026-11-29-")
    assert found.name != quiet.name
    assert (found.drifted, quiet.drifted, found.summary) == (True, False, ("Faces are smaller.",))


def test_without_a_report_there_is_none_and_a_broken_one_is_an_error(tmp_path: Path) -> None:
    assert read_drift(tmp_path, TODAY) is None
    (tmp_path / "drift.json").touch()
    assert read_drift(tmp_path, TODAY) is None
    (tmp_path / "drift.json").write_text("{")
    with pytest.raises(ToolFailed, match="no complete JSON file"):
        read_drift(tmp_path, TODAY)
    assert "drift was not measured" in decide_retraining({}, (), None, None).as_markdown()


@pytest.mark.slow
def test_the_command_keeps_the_report_with_the_champion_and_writes_the_decision(
    checkout: PipelineCheckout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout.register(checkout.candidate())
    checkout.write_params()
    sources = [{"name": "sample", "sha256": "d" * 64, "use": "train"}, {"name": "x", "sha256": "e" * 64, "use": "test"}]
    checkout.workspace.report("download").write_text(json.dumps({"sources": sources}), encoding="utf-8")
    folder = write_drift(tmp_path / "drift")
    monkeypatch.setattr(sys, "argv", ["retraining", "decide", "--drift", str(folder)])
    assert run_stage(retraining.main) == 0
    found = json.loads(checkout.workspace.report("retraining").read_text(encoding="utf-8"))
    assert (found["train"], found["reasons"], found["champion"]) == (False, [], "1")
    assert "Drift alone is no reason" in capsys.readouterr().out

    champion = read_registry("tiny").version_of(CHAMPION)
    assert champion is not None
    assert champion.tags[f"drift:{found['drift']['name']}"] == "covariate shift"
    from deepfake_detector.tracking.store import open_client

    names = [each.path for each in open_client().list_artifacts(champion.run_id, f"drift/{found['drift']['name']}")]
    assert names == [f"drift/{found['drift']['name']}/{file}" for file in ("drift.html", "drift.json")]
    drift = read_drift(folder, TODAY)
    assert drift is not None
    assert keep_drift_report(folder, drift, champion, "tiny") == f"drift/{drift.name}"  # again: nothing fails

    monkeypatch.setattr(sys, "argv", ["retraining", "champion"])
    assert run_stage(retraining.main) == 0
    assert (checkout.workspace.champion / "contract.json").is_file()
