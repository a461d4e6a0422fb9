from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.media.file_type import HEAD_BYTES
from deepfake_detector.media.image import encode_jpeg, encode_png
from deepfake_detector.scanning.discovery import FoundFile, find_files, is_media_file


def names(folder: Path, follow_links: bool = False) -> list[str]:
    return sorted(found.name for found in find_files(folder, follow_links))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a.txt", "x/b.txt", "x/y/c.txt", "other/d.txt"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(name)
    return tmp_path / "tree"


def test_every_file_is_found_with_size_and_time(tree: Path) -> None:
    assert names(tree) == ["a.txt", "other/d.txt", "x/b.txt", "x/y/c.txt"]
    (found,) = [found for found in find_files(tree) if found.name == "x/b.txt"]
    assert found == FoundFile("x/b.txt", 7, (tree / "x" / "b.txt").stat().st_mtime_ns)


def test_links_to_files_are_followed_and_links_to_folders_are_not(tree: Path) -> None:
    (tree / "link.txt").symlink_to(tree / "x" / "b.txt")
    (tree / "loop").symlink_to(tree)
    assert names(tree) == ["a.txt", "link.txt", "other/d.txt", "x/b.txt", "x/y/c.txt"]


def test_with_follow_links_each_folder_is_entered_once(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "e.txt").touch()
    (outside / "back").symlink_to(tree)
    (tree / "x" / "out").symlink_to(outside)
    (tree / "x" / "up").symlink_to(tree)
    found = names(tree, follow_links=True)
    assert [Path(name).name for name in found].count("e.txt") == 1
    assert len(found) == 5


def test_a_broken_link_is_found_with_its_problem(tree: Path) -> None:
    (tree / "broken.jpg").symlink_to(tree / "nowhere.jpg")
    (tree / "self.jpg").symlink_to(tree / "self.jpg")
    problems = {found.name: found.problem for found in find_files(tree, follow_links=True) if found.problem}
    assert set(problems) == {"broken.jpg", "self.jpg"}
    assert "No such file" in problems["broken.jpg"]


def test_an_unreadable_folder_is_found_with_its_problem_and_the_rest_too(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def locked(path: Path) -> object:
        if Path(path).name == "y":  # permissions alone are no test: root may enter any folder
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    found = {each.name: each.problem for each in find_files(tree)}
    assert found["x/y"] == "the folder cannot be read: Permission denied"
    assert set(found) == {"a.txt", "other/d.txt", "x/b.txt", "x/y"}


def test_pipes_are_not_found(tree: Path) -> None:
    os.mkfifo(tree / "pipe.jpg")
    assert "pipe.jpg" not in names(tree)


def test_names_that_are_not_utf8_are_found(tree: Path) -> None:
    Path(os.fsdecode(os.fsencode(tree) + b"/\xff\xfe.txt")).touch()
    (found,) = [found for found in find_files(tree) if os.fsencode(found.name).startswith(b"\xff")]
    assert (tree / found.name).is_file()


def test_a_media_file_is_one_by_content_or_by_suffix(red_portrait: NDArray[np.uint8], clip: Path) -> None:
    for data in (encode_jpeg(red_portrait), encode_png(red_portrait), clip.read_bytes()):
        assert is_media_file("notes.txt", data[:HEAD_BYTES])
    assert is_media_file("holiday.JPG", b"plain text")
    assert is_media_file("holiday.mp4", b"")
    for name in ("notes.txt", "README", "a.csv", "a.mp3", "a.py"):
        assert not is_media_file(name, b"plain text, long enough for a head of many bytes" * 20)
