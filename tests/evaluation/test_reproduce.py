"""The line in the card leads to the same settings, read by DVC as DVC reads it."""

import shlex
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from deepfake_detector.config import Settings, Source, read_settings
from deepfake_detector.datasets.sources import fetch
from deepfake_detector.errors import ArchiveRejected
from deepfake_detector.evaluation.reproduce import exp_run

PARAMS = Path(__file__).parents[2] / "params.yaml"
SOURCES = (
    Source("kaggle", "archive", "synthetic", "/data/real and fake.zip", "ab12"),
    Source("swaps", "labelled", "swap", "../swaps.zip", "", terms="research only, it's said"),
)


def followed(line: str, folder: Path) -> Settings:
    """The settings of a checkout in which that line was typed."""
    words = shlex.split(line.replace("\\\n", " "))
    assert words[:3] == ["dvc", "exp", "run"]
    assert set(words[3::2]) == {"-S"}
    shutil.copy(PARAMS, folder / "params.yaml")
    apply_overrides(folder / "params.yaml", words[4::2])
    return read_settings(folder / "params.yaml")


def test_the_line_leads_to_the_same_settings(tmp_path) -> None:
    settings = read_settings(PARAMS)
    wanted = replace(
        settings,
        download=replace(settings.download, sources=SOURCES),
        prepare=replace(settings.prepare, crop_scale=0.75, drop_duplicates=True),
        train=replace(settings.train, epochs=40, augment="traffic", blend=0.25, weight_decay=1e-05),
    )
    found = followed(exp_run(wanted, {}), tmp_path)
    assert found.train == wanted.train
    assert found.prepare == wanted.prepare
    places = ("real and fake.zip", "swaps.zip")
    assert found.download.sources == tuple(
        replace(source, terms="", place=place) for source, place in zip(SOURCES, places, strict=True)
    )


@pytest.mark.parametrize(("commit", "told"), [("ab" * 20, ["git checkout " + "ab" * 20]), ("not a git checkout", [])])
def test_it_begins_in_the_code_of_the_training_where_that_is_known(commit: str, told: list[str]) -> None:
    settings = read_settings(PARAMS)
    lines = exp_run(settings, {}, commit).splitlines()
    assert "\n".join(lines[len(told) :]) == exp_run(settings, {})
    assert lines[: len(told)] == told


@pytest.mark.parametrize("kind", ["archive", "labelled"])
def test_the_zip_that_was_trained_on_is_taken_and_no_other(tmp_path, monkeypatch, kind: str) -> None:
    """No zip is served as it lies there: it is packed anew, so its digest and that of the data differ."""
    monkeypatch.chdir(tmp_path)
    write_zip(kind, "as it was")
    settings = read_settings(PARAMS)
    source = Source("mine", kind, "swap", str(tmp_path / "mine.zip"))
    settings = replace(settings, download=replace(settings.download, sources=(source,)))
    trained_on = fetch(source, settings.download, tmp_path / "trained.zip")
    download = followed(exp_run(settings, {"mine": trained_on.sha256}), tmp_path).download
    assert download.sources[0].sha256 == trained_on.sha256
    assert fetch(download.sources[0], download, tmp_path / "again.zip") == trained_on
    write_zip(kind, "changed")
    with pytest.raises(ArchiveRejected, match=r"mine\.zip has SHA-256"):
        fetch(download.sources[0], download, tmp_path / "other.zip")


def write_zip(kind: str, content: str) -> None:
    rows = [(f"{split}/{label}/1.jpg", label) for split in ("train", "valid", "test") for label in ("real", "fake")]
    with zipfile.ZipFile("mine.zip", "w") as file:
        for path, _ in rows:
            file.writestr(f"x/{path}", content)
        if kind == "labelled":
            file.writestr("x/labels.csv", "path,label_str\n" + "".join(f"{path},{label}\n" for path, label in rows))
