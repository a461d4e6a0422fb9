"""`python -m pipelines.reconstructions` makes a labelled archive from a zip of pictures and two weight files."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.datasets.archive import KAGGLE_ROOT
from deepfake_detector.datasets.labelled import pack_labelled
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.model.autoencoder import TinyAutoencoder
from deepfake_detector.paths import Workspace
from pipelines.reconstructions import main
from pipelines.stage import run_stage

PARAMS = Path(__file__).parents[2] / "params.yaml"


class Inverted:
    """An autoencoder that makes a negative."""

    def encode(self, rgb: NDArray[np.uint8], /) -> NDArray[np.float32]:
        return rgb.astype(np.float32)

    def decode(self, latents: NDArray[np.float32], /) -> NDArray[np.uint8]:
        return 255 - np.clip(latents, 0, 255).astype(np.uint8)


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Workspace, "enter", lambda self: self)
    shutil.copy(PARAMS, tmp_path)
    names = [(split, i) for split in ("train", "valid", "test") for i in range(3)]
    write_zip(
        tmp_path / "faces.zip",
        [(f"{KAGGLE_ROOT}/{split}/real/{i}.jpg", draw_sample(5, split, "real", i)) for split, i in names],
    )
    return ["reconstructions", "--weights", "e.pth", "d.pth", "--source", "faces.zip", "--out", "out.zip"]


def test_pairs_are_written_and_counted(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read: list[Path] = []

    def record_paths(*paths: Path) -> Inverted:
        read.extend(paths)
        return Inverted()

    monkeypatch.setattr(TinyAutoencoder, "read", record_paths)
    monkeypatch.setattr(sys, "argv", [*arguments, "--pairs", "16"])
    assert run_stage(main) == 0
    assert read == [Path("e.pth"), Path("d.pth")]
    assert capsys.readouterr().out == "out.zip: 3 pairs for train, 2 pairs for valid, 2 pairs for test\n"
    assert pack_labelled(tmp_path / "out.zip", tmp_path / "packed.zip", 0.1, 2**30) == 0


def test_weights_that_are_not_there_are_an_error(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [*arguments, "--pairs", "2"])
    assert run_stage(main) == 2
    assert "cannot read the weights e.pth" in capsys.readouterr().err
    assert not (tmp_path / "out.zip").exists()
