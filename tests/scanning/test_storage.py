from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.errors import BadInput, ToolFailed
from deepfake_detector.media.limits import DEFAULT_VIDEO_LIMITS
from deepfake_detector.scanning import storage as storage_module
from deepfake_detector.scanning.discovery import file_id
from deepfake_detector.scanning.storage import LocalFolder, ObjectStore, Storage, open_storage

JPEG = b"\xff\xd8\xff" + b"0" * 5000


def test_a_location_is_a_folder_or_an_address() -> None:
    assert open_storage("photos") == LocalFolder(Path("photos"))
    assert open_storage(Path("s3/x"), follow_links=True) == LocalFolder(Path("s3/x"), follow_links=True)
    assert open_storage("s3://bucket/a/b?c#d/") == ObjectStore("s3", "bucket", "a/b?c#d")
    assert open_storage("gs://bucket") == ObjectStore("gs", "bucket", "")
    assert open_storage("s3://bucket/a/").address == "s3://bucket/a"
    for wrong in ("http://host/a", "s3://", "s3:///a", "gcs://bucket/a"):
        with pytest.raises(BadInput, match="no address that is read"):
            open_storage(wrong)


def test_gs_addresses_use_the_same_code() -> None:
    from pyarrow.fs import GcsFileSystem

    store = open_storage("gs://bucket/a")
    assert isinstance(store, ObjectStore)
    assert isinstance(store._filesystem, GcsFileSystem)


def test_objects_are_found_with_size_and_etag(s3: Any, bucket: str) -> None:
    for key in ("in/a.jpg", "in/deep/b?x#y z.png", "in/deep/ü.txt", "in/folder/", "inside.jpg"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"" if key.endswith("/") else JPEG)
    store = open_storage(f"s3://{bucket}/in")
    found = {each.name: each for each in store.find()}
    assert sorted(found) == ["a.jpg", "deep/b?x#y z.png", "deep/ü.txt"]
    assert {each.bytes for each in found.values()} == {len(JPEG)}
    before = file_id(found["a.jpg"])
    s3.put_object(Bucket=bucket, Key="in/a.jpg", Body=JPEG)  # newer, but the same content
    assert file_id(next(each for each in store.find() if each.name == "a.jpg")) == before
    s3.put_object(Bucket=bucket, Key="in/a.jpg", Body=JPEG[::-1])  # the same size within the same second
    assert file_id(next(each for each in store.find() if each.name == "a.jpg")) != before
    assert len(list(open_storage(f"s3://{bucket}").find())) == 4


def test_listing_is_read_in_pages(s3: Any, bucket: str) -> None:
    for number in range(1_003):
        s3.put_object(Bucket=bucket, Key=f"{number:04}.jpg", Body=b"")
    names = [found.name for found in open_storage(f"s3://{bucket}").find()]
    assert names == [f"{number:04}.jpg" for number in range(1_003)]


def test_a_media_file_is_copied_under_its_name_and_the_copy_goes(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="deep/a.jpg", Body=JPEG)
    s3.put_object(Bucket=bucket, Key="notes.txt", Body=b"text" * 1000)
    s3.put_object(Bucket=bucket, Key="empty.jpg", Body=b"")
    s3.put_object(Bucket=bucket, Key=f"{'é' * 200}.jpg", Body=JPEG)
    store = open_storage(f"s3://{bucket}")
    with store.media_file("deep/a.jpg") as path:
        assert path is not None
        assert (path.name, path.read_bytes()) == ("a.jpg", JPEG)
    assert not path.exists()
    with store.media_file("notes.txt") as path:
        assert path is None
    with store.media_file("empty.jpg") as path:
        assert path is not None
        assert path.stat().st_size == 0
    with store.media_file(f"{'é' * 200}.jpg") as path:
        assert path is not None
        assert path.read_bytes() == JPEG
    with pytest.raises(FileNotFoundError), store.media_file("missing.jpg"):
        pass


def test_of_an_object_that_is_too_large_only_the_start_takes_room(
    s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepfake_detector.scanning import storage

    class SmallLimits:
        max_bytes = 100_000

    assert DEFAULT_VIDEO_LIMITS.max_bytes > SmallLimits.max_bytes
    monkeypatch.setattr(storage, "DEFAULT_VIDEO_LIMITS", SmallLimits)
    monkeypatch.setattr(storage, "CHUNK_BYTES", 50_000)
    s3.put_object(Bucket=bucket, Key="large.jpg", Body=b"\xff\xd8\xff" + b"1" * 2_000_000)
    with open_storage(f"s3://{bucket}").media_file("large.jpg") as path:
        assert path is not None
        assert path.stat().st_size == 2_000_003
        assert path.stat().st_blocks * 512 < 400_000


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_files_are_written_whole_and_deleted(kind: str, tmp_path: Path, s3: Any, bucket: str) -> None:
    storage: Storage = LocalFolder(tmp_path / "out") if kind == "folder" else open_storage(f"s3://{bucket}/out")
    assert storage.names() == []
    storage.write("b", b"1")
    storage.write("b", b"22")
    storage.write("a", b"")
    storage.write("below/c", b"3")
    assert (storage.names(), storage.names("below"), storage.names("other")) == (["a", "b"], ["below/c"], [])
    assert storage.read("b") == b"22"
    assert sorted(found.name for found in storage.find()) == ["a", "b", "below/c"]
    storage.delete("below/c")
    storage.delete("below/c")
    assert storage.names("below") == []
    with pytest.raises(FileNotFoundError):
        storage.read("below/c")
    copy = pickle.loads(pickle.dumps(storage))
    assert (copy, hash(copy)) == (storage, hash(storage))


class BrokenFile(io.BytesIO):
    """Fails once more than 10 MiB have been read."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > 10 * 2**20:
            raise OSError("the disk is broken")
        return super().read(size)


class BrokenPath(type(Path())):  # type: ignore[misc]
    """The path of a file that cannot be read to its end."""

    def open(self, *_: Any, **__: Any) -> BrokenFile:
        return BrokenFile(bytes(40 * 2**20))


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_an_upload_that_breaks_off_leaves_the_old_object(
    scheme: str, tmp_path: Path, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing a stream of pyarrow's completes the object, also after an error or Ctrl-C."""
    from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

    (tmp_path / bucket).mkdir()
    if scheme == "gs":
        local = SubTreeFileSystem(str(tmp_path), LocalFileSystem())
        monkeypatch.setattr(storage_module, "_filesystem", lambda _: local)
    store = open_storage(f"{scheme}://{bucket}")
    assert isinstance(store, ObjectStore)
    (tmp_path / "table").write_bytes(b"old")
    store.upload(tmp_path / "table", "table")
    with pytest.raises(ToolFailed, match="the disk is broken"):
        store.upload(BrokenPath("table"), "table")
    assert (store.names(), store.read("table")) == (["table"], b"old")


def test_a_folder_does_not_list_what_a_killed_writer_left(tmp_path: Path) -> None:
    (tmp_path / ".part.123.part").touch()
    (tmp_path / "whole").touch()
    assert LocalFolder(tmp_path).names() == ["whole"]


def test_a_missing_bucket_is_bad_input(s3: Any) -> None:
    store = open_storage("s3://missing-bucket/a")
    assert isinstance(store, ObjectStore)
    with pytest.raises(BadInput, match="there is no bucket s3://missing-bucket"):
        store.require_bucket()
    with pytest.raises(BadInput, match=r"cannot list s3://missing-bucket/a: .*does not exist"):
        list(store.find())
