"""The command line, run in this process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.cli.app import main
from deepfake_detector.media.image import encode_png
from deepfake_detector.model.bundle import Bundle


class RunCli(Protocol):
    """Run `deepfake ARGUMENTS --model MODEL` -> exit code, stdout, stderr; no --model for None."""

    def __call__(self, *arguments: str, model: str | None = ...) -> tuple[int, str, str]: ...


@pytest.fixture
def run_cli(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunCli:
    """The command line with the tiny model."""

    def run(*arguments: str, model: str | None = str(tiny_bundle.path)) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["deepfake", *arguments, *(["--model", model] if model else [])])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def red_file(tmp_path: Path, red_portrait: NDArray[np.uint8]) -> Path:
    """A PNG with the suffix of a text file: the suffix is not used."""
    path = tmp_path / "red.txt"
    path.write_bytes(encode_png(red_portrait))
    return path
