"""The command in the card leads to the same settings, as DVC itself reads them."""

from __future__ import annotations

import shlex
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from dvc.utils.hydra import apply_overrides

from deepfake_detector.config import Settings, Source, read_settings
from deepfake_detector.datasets.sources import fetch
from deepfake_detector.errors import ArchiveRejected
from deepfake_detector.evaluation.reproduction_command import reproduction_command

PARAMS = Path(__file__).parents[2] / "params.yaml"
SOURCES = (
    Source("kaggle", "archive", "synthetic", "/data/real and fake.zip", "ab12"),
    Source("swaps", "labelled", "swap", "../swaps.zip", "", terms="research only, it's said"),
)


def settings_after(command: str, folder: Path) -> Settings:
    """The settings of a checkout in which the command was run."""
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:3] == ["dvc", "exp", "run"]
    assert set(words[3::2]) == {"-S"}
    shutil.copy(PARAMS, folder / "params.yaml")
    apply_overrides(folder / "params.yaml", words[4::2])
    return read_settings(folder / "params.yaml")


def test_the_command_leads_to_the_same_settings(tmp_path: Path) -> None:
    settings = read_settings(PARAMS)
    trained = replace(
        settings,
        download=replace(settings.download, sources=SOURCES),
        prepare=replace(settings.prepare, crop_scale=0.75, drop_duplicates=True),
        train=replace(settings.train, epochs=40, augment="corruptions", self_blend=0.25, weight_decay=1e-05),
    )
    found = settings_after(reproduction_command(trained, {}), tmp_path)
    assert found.train == trained.train
    assert found.prepare == trained.prepare
    names = ("real and fake.zip", "swaps.zip")
    assert found.download.sources == tuple(
        replace(source, terms="", location=name) for source, name in zip(SOURCES, names, strict=True)
    )


@pytest.mark.parametrize("kind", ["archive", "labelled"])
def test_only_the_zip_that_was_trained_on_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Literal["archive", "labelled"]
) -> None:
    """`download` packs every zip anew, so its digest and that of the data differ."""
    monkeypatch.chdir(tmp_path)
    write_source(kind, "original")
    settings = read_settings(PARAMS)
    source = Source("mine", kind, "swap", str(tmp_path / "mine.zip"))
    settings = replace(settings, download=replace(settings.download, sources=(source,)))
    packed = fetch(source, settings.download, tmp_path / "trained.zip")
    download = settings_after(reproduction_command(settings, {"mine": packed.sha256}), tmp_path).download
    assert download.sources[0].sha256 == packed.sha256
    assert fetch(download.sources[0], download, tmp_path / "again.zip") == packed
    write_source(kind, "changed")
    with pytest.raises(ArchiveRejected, match=r"mine\.zip has SHA-256"):
        fetch(download.sources[0], download, tmp_path / "other.zip")


@pytest.mark.parametrize("pattern", [True, False])
def test_a_source_of_several_zips_is_named_and_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("part-0.zip", "part-1.zip"):
        write_source("archive", name)
        Path("mine.zip").rename(name)
    names = ("part-0.zip", "part-1.zip")
    location = str(tmp_path / "part-*.zip") if pattern else tuple(str(tmp_path / name) for name in names)
    settings, source = read_settings(PARAMS), Source("mine", "archive", "swap", location)
    settings = replace(settings, download=replace(settings.download, sources=(source,)))
    packed = fetch(source, settings.download, tmp_path / "trained")
    download = settings_after(reproduction_command(settings, {"mine": packed.sha256}), tmp_path).download
    assert download.sources[0].location == ("part-*.zip" if pattern else names)
    assert fetch(download.sources[0], download, tmp_path / "again") == packed


def write_source(kind: str, content: str) -> None:
    """mine.zip in the current folder, with one picture per split and class."""
    rows = [(f"{split}/{label}/1.jpg", label) for split in ("train", "valid", "test") for label in ("real", "fake")]
    with zipfile.ZipFile("mine.zip", "w") as file:
        for path, _ in rows:
            file.writestr(f"x/{path}", content)
        if kind == "labelled":
            file.writestr("x/labels.csv", "path,label_str\n" + "".join(f"{path},{label}\n" for path, label in rows))
