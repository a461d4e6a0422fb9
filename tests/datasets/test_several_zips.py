"""A source of several zips: a list or a pattern, packed zip by zip, with one checksum and one draw of splits."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from deepfake_detector.config import Download, Sample, Source
from deepfake_detector.datasets.archive import KAGGLE_ROOT, Archive
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.datasets.sources import fetch, fetch_all
from deepfake_detector.errors import ArchiveRejected

SAMPLE = Sample(1, 4, 4, 4)
SPLITS_OF_SHARDS = (("train", "valid"), ("train", "test"), ("test", "train"))


def settings(*sources: Source) -> Download:
    return Download(sources, 0.1, 1.0, SAMPLE)


def write_shards(folder: Path, root: str = KAGGLE_ROOT) -> list[Path]:
    """Three zips with pictures of the same names; the splits are divided among them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"part-{number}.zip" for number in range(3)]
    for path, splits in zip(paths, SPLITS_OF_SHARDS, strict=True):
        names = [f"{root}/{split}/{label}/1.jpg" for split in splits for label in ("real", "fake")]
        write_zip(path, [(name, f"{path.name}{name}".encode()) for name in names])
    return paths


def sharded(location: str | tuple[str, ...], sha256: str = "", kind: str = "archive") -> Source:
    return Source(name="faces", kind=kind, fake_kind="synthetic", location=location, sha256=sha256)  # type: ignore[arg-type]


def fetched(source: Source, raw: Path) -> list[Path]:
    fetch_all(settings(source), raw)
    return sorted(file.relative_to(raw) for file in raw.rglob("*") if file.is_file())


@pytest.mark.parametrize("pattern", [True, False])
def test_a_list_and_a_pattern_give_a_folder_of_the_same_zips(tmp_path: Path, pattern: bool) -> None:
    paths, raw = write_shards(tmp_path / "given"), tmp_path / "raw"
    location = str(tmp_path / "given" / "part-*.zip") if pattern else tuple(map(str, reversed(paths)))
    (report,) = fetch_all(settings(sharded(location)), raw)
    assert [(raw / "faces" / path.name).read_bytes() for path in paths] == [path.read_bytes() for path in paths]
    assert report.archives == 3
    assert report.bytes == sum(path.stat().st_size for path in paths)
    assert report.counts["train"] == {"real": 3, "fake": 3}
    assert report.counts["test"] == {"real": 2, "fake": 2}
    with Archive(raw, 2**30) as archive:
        assert {entry.source for entry in archive.entries} == {"faces"}
        assert archive.read(archive.entries[0]) == b"part-0.zip" + archive.entries[0].path[13:].encode()


def test_the_checksum_is_that_of_the_list_of_checksums(tmp_path: Path) -> None:
    write_shards(tmp_path / "given")
    command = "sha256sum part-*.zip | sha256sum"
    shown = subprocess.run(command, shell=True, cwd=tmp_path / "given", capture_output=True, text=True, check=True)
    pattern = str(tmp_path / "given" / "*.zip")
    source = sharded(pattern, shown.stdout.split()[0].upper())
    assert fetch(source, settings(source), tmp_path / "faces").sha256 == source.sha256.lower()
    wrong = sharded(pattern, "0" * 64)
    with pytest.raises(ArchiveRejected, match=source.sha256.lower()):
        fetch(wrong, settings(wrong), tmp_path / "faces")
    assert len(list((tmp_path / "faces").iterdir())) == 3  # the old ones are kept
    assert {path.name for path in tmp_path.iterdir()} == {"given", "faces"}


def test_a_zip_with_another_root_is_rewritten_and_either_checksum_pins_it(tmp_path: Path) -> None:
    paths = write_shards(tmp_path / "given", "data")
    source = sharded(tuple(map(str, paths)))
    report = fetch(source, settings(source), tmp_path / "faces")
    lines = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths)
    for digest in (report.sha256, hashlib.sha256(lines.encode()).hexdigest()):
        pinned = sharded(tuple(map(str, paths)), digest)
        assert fetch(pinned, settings(pinned), tmp_path / "faces").sha256 == report.sha256 != lines


def test_a_source_changes_between_one_zip_and_several(tmp_path: Path) -> None:
    paths, raw = write_shards(tmp_path / "given"), tmp_path / "raw"
    assert fetched(sharded(str(paths[0])), raw) == [Path("faces.zip")]
    several = [Path("faces/part-0.zip"), Path("faces/part-1.zip")]
    assert fetched(sharded(tuple(map(str, paths[:2]))), raw) == several
    assert fetched(sharded(tuple(map(str, paths[1:2]))), raw) == several[1:]
    assert fetched(sharded(str(paths[0])), raw) == [Path("faces.zip")]
    assert [path.name for path in raw.iterdir()] == ["faces.zip"]


def test_groups_of_labelled_zips_are_drawn_together(tmp_path: Path) -> None:
    paths = [tmp_path / f"part-{number}.zip" for number in range(4)]
    for number, path in enumerate(paths):
        rows = "".join(f"{n}.jpg,{('real', 'fake')[n % 2]},person{n // 2}\n" for n in range(40))
        pictures = [(f"{n}.jpg", f"{number} {n}".encode()) for n in range(41)]
        write_zip(path, [("labels.csv", f"path,label_str,group\n{rows}".encode()), *pictures])
    source = sharded(tuple(map(str, paths)), kind="labelled")
    (report,) = fetch_all(settings(source), tmp_path / "raw")
    assert report.unlabelled == 4
    assert report.counts["valid"] == report.counts["test"] == {"real": 8, "fake": 8}  # a tenth of the 20 persons
    with Archive(tmp_path / "raw", 2**30) as archive:
        splits: dict[str, set[str]] = {}
        for entry in archive.entries:
            splits.setdefault(entry.group, set()).add(entry.split)
        assert len(splits) == 20  # a person's pictures lie in all four zips, in one split
        assert all(len(each) == 1 for each in splits.values())
        assert archive.read(archive.entries[40]) == b"1 0"


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("nothing-*.zip", "no file has a name like"),
        (("part-0.zip", "absent.zip"), r"absent\.zip.*does not exist"),
        (("part-0.zip", "other/part-0.zip"), r"two of its zips are called part-0"),
        (("part-0.zip", "other"), "other.*a list names zip files"),
    ],
)
def test_what_is_missing_or_named_twice_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str | tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_shards(tmp_path)
    write_shards(tmp_path / "other")
    source = sharded(location)
    with pytest.raises(ArchiveRejected, match=message):
        fetch(source, settings(source), tmp_path / "raw" / "faces")
    assert not list(tmp_path.glob("raw/*"))
