"""Labelled videos are packed by content, kept apart from the pictures, and unsafe or empty inputs are refused."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from deepfake_detector.config import Download, Sample, Source
from deepfake_detector.datasets import videos
from deepfake_detector.datasets.archive import Archive
from deepfake_detector.datasets.sources import fetch_all
from deepfake_detector.datasets.videos import pack_videos, read_videos, video_label, videos_zip
from deepfake_detector.errors import ArchiveRejected

LIMIT = 2**24
SAMPLE = Source(name="faces", kind="sample", fake_kind="synthetic")


@pytest.fixture
def folder(tmp_path: Path, clip: Path) -> Path:
    """Two real videos and a fake one, beside files that are none."""
    root = tmp_path / "clips"
    for name in ("set/real/a.mp4", "set/real/b", "set/fake/c.mov"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(clip, root / name)
    (root / "set/fake/notes.mp4").write_text("no video, in spite of its name")
    (root / "set/real/._a.mp4").write_bytes(clip.read_bytes())
    shutil.copyfile(clip, root / "unlabelled.mp4")
    return root


@pytest.mark.parametrize("zipped", [False, True])
def test_videos_are_found_by_content_and_labelled_by_their_folder(tmp_path: Path, folder: Path, zipped: bool) -> None:
    location = folder
    if zipped:
        location = tmp_path / "clips.zip"
        with zipfile.ZipFile(location, "w") as file:
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                file.write(path, path.relative_to(folder))
    assert pack_videos(location, tmp_path / "packed.zip", LIMIT) == 3
    entries = read_videos(tmp_path / "packed.zip", "clips", LIMIT)
    assert [(entry.path, entry.label, entry.source) for entry in entries] == [
        ("clips/set/fake/c.mov", 1, "clips"),
        ("clips/set/real/a.mp4", 0, "clips"),
        ("clips/set/real/b", 0, "clips"),
    ]
    assert entries[0].member.read() == (folder / "set/fake/c.mov").read_bytes()


@pytest.mark.parametrize(
    ("path", "label"),
    [("real/a.mp4", 0), ("x/Fake/y/a.mp4", 1), ("real/fake/a.mp4", 1), ("a.mp4", None), ("real.mp4", None),
     ("real/.a.mp4", None), ("__MACOSX/real/a.mp4", None)],
)  # fmt: skip
def test_the_nearest_folder_gives_the_label(path: str, label: int | None) -> None:
    assert video_label(path) == label


def test_a_folder_without_labelled_videos_is_refused_with_its_content(tmp_path: Path) -> None:
    (tmp_path / "in" / "real").mkdir(parents=True)
    (tmp_path / "in" / "real" / "portrait.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ArchiveRejected, match=r"no video .*portrait\.jpg"):
        pack_videos(tmp_path / "in", tmp_path / "packed.zip", LIMIT)


def test_a_video_that_serving_would_refuse_is_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(videos, "MAX_BYTES", 1000)
    with pytest.raises(ArchiveRejected, match="has more than 1000 bytes"):
        pack_videos(folder, tmp_path / "packed.zip", LIMIT)


def test_videos_lie_apart_from_the_pictures(tmp_path: Path, folder: Path) -> None:
    clips = Source(name="clips", kind="videos", fake_kind="swap", location=str(folder), use="test")
    settings = Download((SAMPLE, clips), 0.2, 1.0, Sample(seed=1, train=4, valid=4, test=4))
    faces, fetched = fetch_all(settings, tmp_path / "raw")
    assert (faces.use, fetched.use) == ("train", "test")
    assert fetched.counts["test"] == {"real": 2, "fake": 1}
    assert sum(sum(of_split.values()) for of_split in fetched.counts.values()) == 3
    assert fetched.unlabelled == 3
    assert videos_zip(tmp_path / "raw", "clips").is_file()
    with Archive(tmp_path / "raw", 2**30) as pictures:
        assert {entry.source for entry in pictures.entries} == {"faces"}
    fetch_all(replace(settings, sources=(SAMPLE,)), tmp_path / "raw")
    assert not videos_zip(tmp_path / "raw", "clips").exists()
