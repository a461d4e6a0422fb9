"""Three sources, one layout: what is refused, what is copied to the byte, and what is asked of Kaggle."""

from __future__ import annotations

import hashlib
import socket
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from deepfake_detector.data.archives import ROOT
from deepfake_detector.data.sources import fetch
from deepfake_detector.errors import ArchiveRejected, CredentialsMissing, ToolFailed
from deepfake_detector.settings import Download, Sample

SETTINGS = Download(
    source="archive",
    archive="",
    sha256="",
    kaggle="xhlulu/140k-real-and-fake-faces/versions/2",
    max_unpacked_gib=1.0,
    sample=Sample(seed=1, train=4, valid=4, test=4),
)
INNER = [
    f"{split}/{label}/{n}.jpg" for split in ("train", "valid", "test") for label in ("real", "fake") for n in (1, 2)
]


def make_zip(path: Path, root: str = ROOT) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for inner in INNER:
            archive.writestr(f"{root}/{inner}" if root else inner, inner.encode())
        archive.writestr("train.csv", "path,label")
    return path


def make_folder(root: Path) -> Path:
    for inner in INNER:
        (root / inner).parent.mkdir(parents=True, exist_ok=True)
        (root / inner).write_bytes(inner.encode())
    return root


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_sample_needs_nothing(tmp_path: Path) -> None:
    fetched = fetch(replace(SETTINGS, source="sample"), tmp_path / "faces.zip")
    assert fetched.counts == {split: {"real": 2, "fake": 2} for split in ("train", "valid", "test")}
    assert fetched.sha256 == hashlib.sha256((tmp_path / "faces.zip").read_bytes()).hexdigest()


def test_a_zip_in_the_layout_is_copied_to_the_byte(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "in.zip")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    fetched = fetch(replace(SETTINGS, archive=str(source), sha256=digest.upper()), tmp_path / "out" / "faces.zip")
    assert (tmp_path / "out" / "faces.zip").read_bytes() == source.read_bytes()
    assert (fetched.sha256, fetched.bytes) == (digest, source.stat().st_size)


@pytest.mark.parametrize("root", ["", "downloads/real_vs_fake/real-vs-fake", "faces"])
def test_a_zip_under_another_folder_is_packed_anew(tmp_path: Path, root: str) -> None:
    fetch(replace(SETTINGS, archive=str(make_zip(tmp_path / "in.zip", root))), tmp_path / "faces.zip")
    assert contents(tmp_path / "faces.zip") == {f"{ROOT}/{inner}": inner.encode() for inner in INNER}


@pytest.mark.parametrize("below", ["", "real_vs_fake/real-vs-fake", "a/b/c"])
def test_a_folder_is_packed_wherever_the_splits_lie(tmp_path: Path, below: str) -> None:
    make_folder(tmp_path / "in" / below)
    fetch(replace(SETTINGS, archive=str(tmp_path / "in")), tmp_path / "faces.zip")
    assert contents(tmp_path / "faces.zip") == {f"{ROOT}/{inner}": inner.encode() for inner in INNER}


def test_another_checksum_is_refused_and_the_old_archive_stays(tmp_path: Path) -> None:
    target = tmp_path / "faces.zip"
    target.write_text("old")
    with pytest.raises(ArchiveRejected, match="SHA-256"):
        fetch(replace(SETTINGS, archive=str(make_zip(tmp_path / "in.zip")), sha256="0" * 64), target)
    assert target.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["faces.zip", "in.zip"]


@pytest.mark.parametrize("archive", ["", "no/such/file.zip"])
def test_a_missing_archive_names_the_setting(tmp_path: Path, archive: str) -> None:
    with pytest.raises(ArchiveRejected, match=r"download\.archive"):
        fetch(replace(SETTINGS, archive=archive), tmp_path / "faces.zip")


def test_a_folder_without_splits_says_what_it_found(tmp_path: Path) -> None:
    (tmp_path / "in" / "cats").mkdir(parents=True)
    with pytest.raises(ArchiveRejected, match="cats"):
        fetch(replace(SETTINGS, archive=str(tmp_path / "in")), tmp_path / "faces.zip")


@pytest.fixture
def no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_API_V1_TOKEN", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / ".kaggle"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("the network is out of bounds for tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_kaggle_without_a_login_says_what_to_do(tmp_path: Path, no_login: None) -> None:
    with pytest.raises(CredentialsMissing, match="140k-real-and-fake-faces") as caught:
        fetch(replace(SETTINGS, source="kaggle"), tmp_path / "faces.zip")
    for way in ("kaggle.com/settings", "access_token", "KAGGLE_API_TOKEN", "kaggle.json", "KAGGLE_USERNAME", "sample"):
        assert way in caught.value.hint


def test_kaggle_out_of_reach_is_not_the_users_fault(
    tmp_path: Path, no_login: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", "0" * 32)
    with pytest.raises(ToolFailed, match="could not be downloaded") as caught:
        fetch(replace(SETTINGS, source="kaggle"), tmp_path / "faces.zip")
    assert caught.value.exit_code == 2


def test_what_kaggle_brings_becomes_one_archive(
    tmp_path: Path, no_login: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", "0" * 32)
    make_folder(tmp_path / "cache" / ROOT)
    asked: list[str] = []

    def downloaded(handle: str) -> str:
        asked.append(handle)
        return str(tmp_path / "cache")

    monkeypatch.setattr("kagglehub.dataset_download", downloaded)
    fetched = fetch(replace(SETTINGS, source="kaggle"), tmp_path / "faces.zip")
    assert asked == [SETTINGS.kaggle]
    assert fetched.counts["train"] == {"real": 2, "fake": 2}
