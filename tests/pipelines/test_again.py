"""The line in the card leads to the same settings, read by DVC as DVC reads it."""

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

from dvc.utils.hydra import apply_overrides

from deepfake_detector.settings import Source, read_settings
from pipelines.again import exp_run

PARAMS = Path(__file__).parents[2] / "params.yaml"
SOURCES = (
    Source("kaggle", "archive", "synthetic", "/data/real and fake.zip", "ab12"),
    Source("swaps", "labelled", "swap", "../swaps.zip", "", terms="research only, it's said"),
)


def test_the_line_leads_to_the_same_settings(tmp_path) -> None:
    settings = read_settings(PARAMS)
    wanted = replace(
        settings,
        download=replace(settings.download, sources=SOURCES),
        prepare=replace(settings.prepare, crop_scale=0.75, drop_duplicates=True),
        train=replace(settings.train, epochs=40, augment="traffic", blend=0.25, weight_decay=1e-05),
    )
    words = shlex.split(exp_run(wanted).replace("\\\n", " "))
    assert words[:3] == ["dvc", "exp", "run"]
    assert set(words[3::2]) == {"-S"}
    shutil.copy(PARAMS, tmp_path / "params.yaml")
    apply_overrides(tmp_path / "params.yaml", words[4::2])
    found = read_settings(tmp_path / "params.yaml")
    assert found.train == wanted.train
    assert found.prepare == wanted.prepare
    places = ("real and fake.zip", "swaps.zip")
    assert found.download.sources == tuple(
        replace(source, terms="", place=place) for source, place in zip(SOURCES, places, strict=True)
    )
