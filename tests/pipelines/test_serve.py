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
    "serves": {"name": "pretrained", "bento": "deepfake-detector-pretrained:p", "reason": "because"},
}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the process would become."""
    commands: list[list[str]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(os, "execvp", lambda _, command: commands.append(command))
    monkeypatch.setattr(sys, "argv", ["serve"])
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "package.json").write_text(json.dumps(REPORT))
    return commands


@pytest.mark.parametrize(
    ("asked", "bento"),
    [
        ([], "deepfake-detector-pretrained:p"),
        (["champion"], "deepfake-detector:c"),
        (["pretrained"], "deepfake-detector-pretrained:p"),
    ],
)
def test_the_chosen_model_is_served_to_this_machine_only(
    served: list[list[str]], monkeypatch: pytest.MonkeyPatch, asked: list[str], bento: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["serve", *asked])
    serve.main()
    assert served == [["bentoml", "serve", bento, "--host", "127.0.0.1", "--port", "3000"]]


def test_what_is_not_there_is_not_served(
    served: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    assert served == []
