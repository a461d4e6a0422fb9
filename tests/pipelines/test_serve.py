from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from deepfake_detector.errors import BadInput, ModelNotFound
from pipelines import serve

REPORT = {
    "bento": "deepfake-detector:c",
    "pretrained": {"bento": "deepfake-detector-pretrained:p"},
    "serves": {"name": "pretrained", "bento": "deepfake-detector-pretrained:p", "reason": "it knows photographs"},
}


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would replace this process."""
    commands: list[list[str]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(os, "execvp", lambda _, command: commands.append(command))
    monkeypatch.setattr(sys, "argv", ["serve"])
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "package.json").write_text(json.dumps(REPORT))
    return commands


@pytest.mark.parametrize(
    ("arguments", "bento"),
    [
        ([], "deepfake-detector-pretrained:p"),
        (["champion"], "deepfake-detector:c"),
        (["pretrained"], "deepfake-detector-pretrained:p"),
    ],
)
def test_the_chosen_model_is_served_on_the_local_interface(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, arguments: list[str], bento: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["serve", *arguments])
    serve.main()
    assert commands == [["bentoml", "serve", bento, "--host", "127.0.0.1", "--port", "3000"]]


def test_a_model_that_is_unknown_or_not_packaged_is_rejected(
    commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reports" / "package.json").write_text(json.dumps(REPORT | {"bento": None}))
    monkeypatch.setattr(sys, "argv", ["serve", "champion"])
    with pytest.raises(ModelNotFound, match="no champion"):
        serve.main()
    monkeypatch.setattr(sys, "argv", ["serve", "best"])
    with pytest.raises(BadInput, match="'best'"):
        serve.main()
    (tmp_path / "reports" / "package.json").unlink()
    with pytest.raises(ModelNotFound, match="nothing is packaged"):
        serve.main()
    assert commands == []
