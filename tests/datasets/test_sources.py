"""Sources of every kind become verified zips; bad checksums, layouts and logins are rejected."""

from __future__ import annotations

import hashlib
import socket
import zipfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from deepfake_detector.config import Download, Sample, Source
from deepfake_detector.datasets.archive import KAGGLE_ROOT, LABELS_FILE, Archive
from deepfake_detector.datasets.label_csv import labels_from_csv
from deepfake_detector.datasets.sources import fetch, fetch_all
from deepfake_detector.errors import ArchiveRejected, CredentialsMissing, ToolFailed

SAMPLE = Source(name="faces", kind="sample", fake_kind="synthetic")
KAGGLE = replace(SAMPLE, kind="kaggle", location="xhlulu/140k-real-and-fake-faces/versions/2")
SETTINGS = Download(
    sources=(SAMPLE,),
    held_out_share=0.2,
    max_unpacked_gib=1.0,
    sample=Sample(seed=1, train=4, valid=4, test=4),
)
KAGGLE_PATHS = [
    f"{split}/{label}/{n}.jpg" for split in ("train", "valid", "test") for label in ("real", "fake") for n in (1, 2)
]


def write_kaggle_zip(path: Path, root: str = KAGGLE_ROOT) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for inner in KAGGLE_PATHS:
            file.writestr(f"{root}/{inner}" if root else inner, inner.encode())
        file.writestr("train.csv", "path,label")
    return path


def write_kaggle_folder(root: Path) -> Path:
    for inner in KAGGLE_PATHS:
        (root / inner).parent.mkdir(parents=True, exist_ok=True)
        (root / inner).write_bytes(inner.encode())
    return root


def archive_source(location: Path | str, sha256: str = "") -> Source:
    return Source(name="faces", kind="archive", fake_kind="synthetic", location=str(location), sha256=sha256)


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_the_sample_is_drawn_without_a_location(tmp_path: Path) -> None:
    fetched = fetch(SAMPLE, SETTINGS, tmp_path / "faces.zip")
    assert fetched.counts == {split: {"real": 2, "fake": 2} for split in ("train", "valid", "test")}
    assert fetched.sha256 == hashlib.sha256((tmp_path / "faces.zip").read_bytes()).hexdigest()


def test_a_zip_in_kaggles_layout_is_copied_byte_by_byte(tmp_path: Path) -> None:
    source = write_kaggle_zip(tmp_path / "in.zip")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    fetched = fetch(archive_source(source, digest.upper()), SETTINGS, tmp_path / "out" / "faces.zip")
    assert (tmp_path / "out" / "faces.zip").read_bytes() == source.read_bytes()
    assert (fetched.sha256, fetched.bytes) == (digest, source.stat().st_size)


@pytest.mark.parametrize("root", ["", "downloads/real_vs_fake/real-vs-fake", "faces"])
def test_a_zip_with_another_root_is_rewritten(tmp_path: Path, root: str) -> None:
    fetch(archive_source(write_kaggle_zip(tmp_path / "in.zip", root)), SETTINGS, tmp_path / "faces.zip")
    assert contents(tmp_path / "faces.zip") == {f"{KAGGLE_ROOT}/{inner}": inner.encode() for inner in KAGGLE_PATHS}


@pytest.mark.parametrize("below", ["", "real_vs_fake/real-vs-fake", "a/b/c"])
def test_a_folder_is_packed_from_any_depth(tmp_path: Path, below: str) -> None:
    write_kaggle_folder(tmp_path / "in" / below)
    fetch(archive_source(tmp_path / "in"), SETTINGS, tmp_path / "faces.zip")
    assert contents(tmp_path / "faces.zip") == {f"{KAGGLE_ROOT}/{inner}": inner.encode() for inner in KAGGLE_PATHS}


# As Kaggle writes them: 1 is real. The second row contradicts the folder.
LABEL_CSV = b",original_path,id,label,label_str,path\n0,/x,1,0,fake,train/fake/1.jpg\n1,/x,2,1,real,train/fake/2.jpg\n"
SIZE_CSV = b"path,bytes\ntrain/fake/1.jpg,7\n"
OUR_CSV = b"path,label_str,split,group\n"


@pytest.mark.parametrize("kind", ["zip", "folder", "kaggle"])
def test_csv_files_with_labels_are_packed_and_read(
    tmp_path: Path, kind: str, no_login: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all files beside the images only they are packed, from any folder."""
    write_kaggle_folder(tmp_path / "in" / "a" / "b")
    for name, data in {
        "train.csv": LABEL_CSV,
        "a/more.CSV": LABEL_CSV,
        "sizes.csv": SIZE_CSV,
        f"a/{LABELS_FILE}": OUR_CSV,
    }.items():
        (tmp_path / "in" / name).write_bytes(data)
    source = archive_source(tmp_path / "in")
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as file:
            for path in sorted(p for p in (tmp_path / "in").rglob("*") if p.is_file()):
                file.write(path, path.relative_to(tmp_path / "in"))
        source = archive_source(tmp_path / "in.zip")
    elif kind == "kaggle":
        monkeypatch.setenv("KAGGLE_API_TOKEN", "token")
        monkeypatch.setattr("kagglehub.dataset_download", lambda _: str(tmp_path / "in"))
        source = KAGGLE
    fetch(source, SETTINGS, tmp_path / "faces.zip")
    csv_files = {"train.csv": LABEL_CSV, "a/more.CSV": LABEL_CSV}
    assert (
        contents(tmp_path / "faces.zip")
        == {f"{KAGGLE_ROOT}/{inner}": inner.encode() for inner in KAGGLE_PATHS} | csv_files
    )
    with Archive(tmp_path / "faces.zip", 2**20) as packed:
        manifest = pd.DataFrame(packed.entries)
    labels = labels_from_csv(manifest, tmp_path / "faces.zip", 2**20).set_axis(manifest["path"]).dropna()
    expected = {"fake/1.jpg": 1, "fake/2.jpg": 0, "real/1.jpg": 1, "real/2.jpg": 0}  # by file name, whatever the folder
    assert labels.to_dict() == {f"{KAGGLE_ROOT}/train/{name}": label for name, label in expected.items()}


def test_a_csv_file_that_is_too_large_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_kaggle_folder(tmp_path / "in")
    (tmp_path / "in" / "train.csv").write_bytes(LABEL_CSV)
    monkeypatch.setattr("deepfake_detector.datasets.packing.MAX_MEMBER_BYTES", len(LABEL_CSV) - 1)
    with pytest.raises(ArchiveRejected, match=r"train\.csv has more than"):
        fetch(archive_source(tmp_path / "in"), SETTINGS, tmp_path / "faces.zip")


def test_another_checksum_is_rejected_and_the_old_archive_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "faces.zip"
    target.write_text("old")
    with pytest.raises(ArchiveRejected, match="SHA-256"):
        fetch(archive_source(write_kaggle_zip(tmp_path / "in.zip"), "0" * 64), SETTINGS, target)
    assert target.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["faces.zip", "in.zip"]


@pytest.mark.parametrize("kind", ["archive", "labelled"])
def test_a_missing_archive_names_the_source_and_the_location(tmp_path: Path, kind: str) -> None:
    source = Source(name="mine", kind=kind, fake_kind="swap", location="no/such/file.zip")  # type: ignore[arg-type]
    with pytest.raises(ArchiveRejected, match=r"source mine: .*no/such/file\.zip"):
        fetch(source, SETTINGS, tmp_path / "faces.zip")


def test_every_source_becomes_an_archive_and_old_ones_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "old.zip").write_text("of a source that is no longer named")
    other = replace(archive_source(write_kaggle_zip(tmp_path / "in.zip")), name="other", fake_kind="swap")
    fetched = fetch_all(replace(SETTINGS, sources=(SAMPLE, other)), tmp_path / "raw")
    assert sorted(p.name for p in (tmp_path / "raw").iterdir()) == ["faces.zip", "other.zip"]
    assert [(f.name, f.kind, f.fake_kind) for f in fetched] == [
        ("faces", "sample", "synthetic"),
        ("other", "archive", "swap"),
    ]
    with Archive(tmp_path / "raw", 2**30) as both:
        assert len(both.entries) == 24
        assert {entry.source for entry in both.entries} == {"faces", "other"}


def test_all_pictures_of_a_test_source_are_counted_as_test(tmp_path: Path) -> None:
    source = replace(archive_source(write_kaggle_zip(tmp_path / "in.zip")), use="test")
    fetched = fetch(source, SETTINGS, tmp_path / "faces.zip")
    none = {"real": 0, "fake": 0}
    assert fetched.counts == {"train": none, "valid": none, "test": {"real": 6, "fake": 6}}
    assert fetched.use == "test"


def test_a_labelled_zip_with_one_split_and_one_class_is_accepted(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as file:
        file.writestr("labels.csv", "path,label_str,split\ntest/fake/1.jpg,fake,test\n")
        file.writestr("test/fake/1.jpg", b"1")
    source = replace(archive_source(tmp_path / "in.zip"), kind="labelled", use="test")
    fetched = fetch(source, SETTINGS, tmp_path / "faces.zip")
    assert fetched.counts["test"] == {"real": 0, "fake": 1}


def test_a_folder_without_splits_is_rejected_with_its_content(tmp_path: Path) -> None:
    (tmp_path / "in" / "cats").mkdir(parents=True)
    with pytest.raises(ArchiveRejected, match="cats"):
        fetch(archive_source(tmp_path / "in"), SETTINGS, tmp_path / "faces.zip")


@pytest.fixture
def no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_API_V1_TOKEN", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / ".kaggle"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("tests must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_kaggle_without_a_login_gives_a_hint(tmp_path: Path, no_login: None) -> None:
    with pytest.raises(CredentialsMissing, match="140k-real-and-fake-faces") as caught:
        fetch(KAGGLE, SETTINGS, tmp_path / "faces.zip")
    for way in ("kaggle.com/settings", "access_token", "KAGGLE_API_TOKEN", "kaggle.json", "KAGGLE_USERNAME", "sample"):
        assert way in caught.value.hint


def test_an_unreachable_kaggle_is_a_tool_failure(
    tmp_path: Path, no_login: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", "0" * 32)
    with pytest.raises(ToolFailed, match="could not be downloaded") as caught:
        fetch(KAGGLE, SETTINGS, tmp_path / "faces.zip")
    assert caught.value.exit_code == 2


def test_a_download_from_kaggle_becomes_one_archive(
    tmp_path: Path, no_login: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", "0" * 32)
    write_kaggle_folder(tmp_path / "cache" / KAGGLE_ROOT)
    requested: list[str] = []

    def downloaded(handle: str) -> str:
        requested.append(handle)
        return str(tmp_path / "cache")

    monkeypatch.setattr("kagglehub.dataset_download", downloaded)
    fetched = fetch(KAGGLE, SETTINGS, tmp_path / "faces.zip")
    assert requested == [KAGGLE.location]
    assert fetched.counts["train"] == {"real": 2, "fake": 2}


def test_a_labelled_zip_or_folder_with_another_checksum_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "labels.csv").write_text("path,label_str\n1.jpg,real\n", encoding="utf-8")
    (tmp_path / "in" / "1.jpg").write_bytes(b"1")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as file:
        for name in ("labels.csv", "1.jpg"):
            file.write(tmp_path / "in" / name, name)
    mine = replace(archive_source(tmp_path / "in.zip", "0" * 64), kind="labelled")
    with pytest.raises(ArchiveRejected, match=r"in\.zip has SHA-256"):
        fetch(mine, SETTINGS, tmp_path / "mine.zip")
    folder = replace(mine, location=str(tmp_path / "in"))
    with pytest.raises(ArchiveRejected, match=r"(?s)in has SHA-256 .*`make own`"):
        fetch(folder, SETTINGS, tmp_path / "mine.zip")
    packed = fetch(replace(folder, sha256=""), SETTINGS, tmp_path / "mine.zip")
    assert fetch(replace(folder, sha256=packed.sha256), SETTINGS, tmp_path / "mine.zip") == packed
    digest = hashlib.sha256((tmp_path / "in.zip").read_bytes()).hexdigest()
    fetched = fetch(replace(mine, sha256=digest), SETTINGS, tmp_path / "mine.zip")
    assert sum(counts["real"] for counts in fetched.counts.values()) == 1
    assert fetched.sha256 != digest
    assert fetch(replace(mine, sha256=fetched.sha256), SETTINGS, tmp_path / "again.zip") == fetched


def test_a_rewritten_zip_is_accepted_with_either_digest(tmp_path: Path) -> None:
    """Cards and reports state the digest of the rewritten zip, so it is accepted as well."""
    original = write_kaggle_zip(tmp_path / "in.zip", "faces")
    fetched = fetch(archive_source(original), SETTINGS, tmp_path / "a.zip")
    own = hashlib.sha256(original.read_bytes()).hexdigest()
    assert own != fetched.sha256
    for digest in (own, fetched.sha256):
        assert fetch(archive_source(original, digest), SETTINGS, tmp_path / "b.zip") == fetched
    with pytest.raises(ArchiveRejected, match=r"in\.zip has SHA-256"):
        fetch(archive_source(original, "0" * 64), SETTINGS, tmp_path / "c.zip")
    assert not (tmp_path / "c.zip").exists()
