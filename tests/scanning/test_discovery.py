from __future__ import annotations

import os
from pathlib import Path

import pytest

from deepfake_detector.scanning.discovery import Found, walk


def names(folder: Path, follow_links: bool = False) -> list[str]:
    return sorted(found.name for found in walk(folder, follow_links))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a.txt", "x/b.txt", "x/y/c.txt", "other/d.txt"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(name)
    return tmp_path / "tree"


def test_every_file_below_is_found_with_size_and_time(tree: Path) -> None:
    assert names(tree) == ["a.txt", "other/d.txt", "x/b.txt", "x/y/c.txt"]
    (found,) = [found for found in walk(tree) if found.name == "x/b.txt"]
    assert found == Found("x/b.txt", 7, (tree / "x" / "b.txt").stat().st_mtime_ns)


def test_links_to_files_count_and_links_to_folders_do_not(tree: Path) -> None:
    (tree / "link.txt").symlink_to(tree / "x" / "b.txt")
    (tree / "loop").symlink_to(tree)
    assert names(tree) == ["a.txt", "link.txt", "other/d.txt", "x/b.txt", "x/y/c.txt"]


def test_followed_links_end_where_they_have_been(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "e.txt").touch()
    (outside / "back").symlink_to(tree)
    (tree / "x" / "out").symlink_to(outside)
    (tree / "x" / "up").symlink_to(tree)
    found = names(tree, follow_links=True)
    assert [Path(name).name for name in found].count("e.txt") == 1
    assert len(found) == 5


def test_a_link_to_nothing_is_named(tree: Path) -> None:
    (tree / "gone.jpg").symlink_to(tree / "nowhere.jpg")
    (tree / "self.jpg").symlink_to(tree / "self.jpg")
    problems = {found.name: found.problem for found in walk(tree, follow_links=True) if found.problem}
    assert set(problems) == {"gone.jpg", "self.jpg"}
    assert "No such file" in problems["gone.jpg"]


def test_a_folder_that_cannot_be_entered_is_named_and_the_rest_found(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = os.scandir

    def locked(path: Path) -> object:
        if Path(path).name == "y":  # as root may enter anything, permissions alone would not test it
            raise PermissionError(13, "Permission denied")
        return entered(path)

    monkeypatch.setattr(os, "scandir", locked)
    found = {each.name: each.problem for each in walk(tree)}
    assert found["x/y"] == "the folder cannot be read: Permission denied"
    assert set(found) == {"a.txt", "other/d.txt", "x/b.txt", "x/y"}


def test_pipes_and_sockets_are_not_read(tree: Path) -> None:
    os.mkfifo(tree / "pipe.jpg")
    assert "pipe.jpg" not in names(tree)


def test_names_that_are_no_utf8_are_found(tree: Path) -> None:
    Path(os.fsdecode(os.fsencode(tree) + b"/\xff\xfe.txt")).touch()
    (found,) = [found for found in walk(tree) if os.fsencode(found.name).startswith(b"\xff")]
    assert (tree / found.name).is_file()
