"""A folder or an address s3://BUCKET/PATH, gs://BUCKET/PATH -> its files: found page by page, read, written whole."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol
from urllib.parse import urlsplit

from deepfake_detector.errors import BadInput, ToolFailed, needs_extra
from deepfake_detector.io import atomic_write, write_failure
from deepfake_detector.media.file_type import HEAD_BYTES
from deepfake_detector.media.limits import DEFAULT_VIDEO_LIMITS
from deepfake_detector.scanning.discovery import FoundFile, find_files, is_media_file

SCHEMES = ("s3", "gs")
ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # the first that is set
CHUNK_BYTES = 2**23  # per request: most pictures take one
MAX_NAME_BYTES = 255  # of a file here; keys of objects may be longer
HINT = "check the address, the credentials (AWS_ACCESS_KEY_ID, ...), AWS_REGION and AWS_ENDPOINT_URL"


class Storage(Protocol):
    """Where a scan reads or writes; hashable and small when pickled. Names are relative to it, parts joined by `/`."""

    @property
    def address(self) -> str:
        """As a user would name it; the same for the same place."""

    def find(self) -> Iterator[FoundFile]:
        """All files below it."""

    def media_file(self, name: str) -> Any:
        """A context manager: the file's path on this machine, or None if it is neither image nor video."""

    def read(self, name: str) -> bytes:
        """Content of a file; OSError if it cannot be read."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file, which appears whole or not at all and replaces an older one."""

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""

    def names(self, below: str = "") -> list[str]:
        """Names of the files directly in a folder, sorted; none if there is no such folder."""


def open_storage(location: str | Path, follow_links: bool = False) -> LocalFolder | ObjectStore:
    """A folder's path or an address as a storage; nothing is read yet.

    Raises:
        BadInput: another scheme, or no bucket.
    """
    text = str(location)
    if "://" not in text:
        return LocalFolder(Path(text), follow_links)
    parts = urlsplit(text)
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise BadInput(f"{text} is no address that is read", "name a folder, s3://BUCKET/PATH or gs://BUCKET/PATH")
    # A key may hold `?` and `#`, so the path is what follows the bucket, whatever is in it.
    path = text.split("://", 1)[1].rstrip("/")
    return ObjectStore(parts.scheme, *(path.split("/", 1) if "/" in path else (path, "")))


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine, or one that several machines share under the same path.

    Attributes:
        path: of the folder.
        follow_links: also find files in linked folders.
    """

    path: Path
    follow_links: bool = False

    @property
    def address(self) -> str:
        """The resolved path."""
        return str(self.path.resolve())

    def find(self) -> Iterator[FoundFile]:
        """See `find_files`."""
        return find_files(self.path, self.follow_links)

    @contextmanager
    def media_file(self, name: str) -> Iterator[Path | None]:
        """The file itself, or None if it is neither image nor video."""
        path = self.path / name
        with path.open("rb") as stream:
            is_media = is_media_file(name, stream.read(HEAD_BYTES))
        yield path if is_media else None

    def read(self, name: str) -> bytes:
        """Content of a file."""
        return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Write a file and the folders above it.

        Raises:
            BadInput, ToolFailed: see `write_failure`.
        """
        try:
            with atomic_write(self.path / name) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise write_failure(self.path / name, error) from error

    def delete(self, name: str) -> None:
        """Delete a file, if it is there, and its folder below this one, if it is empty then."""
        path = self.path / name
        path.unlink(missing_ok=True)
        if "/" in name and path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()

    def names(self, below: str = "") -> list[str]:
        """Names of the files directly in a folder, without hidden ones (`atomic_write` leaves one when killed)."""
        folder = self.path / below
        if not folder.is_dir():
            return []
        found = (entry.name for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith("."))
        return sorted(f"{below}/{name}" if below else name for name in found)


@dataclass(frozen=True)
class ObjectStore:
    """Objects below an address. pyarrow reads and writes them; of s3:// boto3 lists them.

    pyarrow's own listing of a folder is one list in memory, without ETags; boto3's comes in pages of 1,000.

    Attributes:
        scheme: s3 or gs.
        bucket: its name.
        prefix: what the keys below the address begin with, without the `/` after it; "" for all.
    """

    scheme: str
    bucket: str
    prefix: str = ""

    @property
    def address(self) -> str:
        """As a user would name it, without a slash at the end."""
        return f"{self.scheme}://{self._path('')}"

    def find(self) -> Iterator[FoundFile]:
        """All objects, a page at a time; keys that end in `/` are folders that some programs write.

        Raises:
            BadInput: no such bucket, or no permission.
        """
        listed = self._list_s3() if self.scheme == "s3" else self._walk()
        return (found for found in listed if not found.name.endswith("/"))

    @contextmanager
    def media_file(self, name: str) -> Iterator[Path | None]:
        """A temporary copy, or None if it is neither image nor video; of that only the first bytes are read."""
        with self._filesystem.open_input_file(self._path(name)) as stream:
            head = stream.read(HEAD_BYTES)
            if not is_media_file(name, head):
                yield None
                return
            with tempfile.TemporaryDirectory(prefix="deepfake-scan-") as folder:
                path = Path(folder) / _file_name(name)
                _copy(head, stream, path)
                yield path

    def read(self, name: str) -> bytes:
        """Content of an object."""
        with self._filesystem.open_input_file(self._path(name)) as stream:
            return bytes(stream.read())

    def write(self, name: str, content: bytes) -> None:
        """Write an object; it appears when it is complete.

        Raises:
            ToolFailed: it cannot be written.
        """
        try:
            with self._filesystem.open_output_stream(self._path(name), compression=None) as stream:
                stream.write(content)
        except OSError as error:
            raise ToolFailed(f"cannot write {self.address}/{name}: {error}", HINT) from error

    def upload(self, path: Path, name: str) -> None:
        """Write a file of this machine as an object, in chunks; an older one stays until all of it is there.

        A stream of pyarrow's completes its object when it is closed, also after an error or Ctrl-C. boto3 gives up what
        was sent; gs:// has no such call here, so the object gets its name last.

        Raises:
            ToolFailed: it cannot be written.
        """
        upload = self._upload_s3 if self.scheme == "s3" else self._upload_renamed
        try:
            with path.open("rb") as source:
                upload(source, name)
        except OSError as error:
            raise ToolFailed(f"cannot write {self.address}/{name}: {error}", HINT) from error

    def delete(self, name: str) -> None:
        """Delete an object, if it is there."""
        try:
            self._filesystem.delete_file(self._path(name))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ToolFailed(f"cannot delete {self.address}/{name}: {error}", HINT) from error

    def names(self, below: str = "") -> list[str]:
        """Names of the objects directly below a folder.

        Raises:
            BadInput: no such bucket, or no permission.
        """
        with needs_extra("s3", "addresses like s3://"):
            from pyarrow.fs import FileSelector, FileType
        try:
            selector = FileSelector(self._path(below), allow_not_found=True)
            found = self._filesystem.get_file_info(selector)
        except OSError as error:
            raise BadInput(f"cannot list {self.address}: {error}", HINT) from error
        names = sorted(info.base_name for info in found if info.type == FileType.File)
        return [f"{below}/{name}" if below else name for name in names]

    def require_bucket(self) -> None:
        """Fail before any work if the bucket cannot be seen.

        Raises:
            BadInput: no such bucket, or no permission.
        """
        with needs_extra("s3", "addresses like s3://"):
            from pyarrow.fs import FileType
        try:
            exists = self._filesystem.get_file_info(self.bucket).type == FileType.Directory
        except OSError as error:
            raise BadInput(f"cannot read {self.scheme}://{self.bucket}: {error}", HINT) from error
        if not exists:
            raise BadInput(f"there is no bucket {self.scheme}://{self.bucket}", "create it first; " + HINT)

    def _path(self, name: str) -> str:
        return "/".join(part for part in (self.bucket, self.prefix, name) if part)

    @property
    def _filesystem(self) -> Any:
        return _filesystem(self.scheme)

    def _list_s3(self) -> Iterator[FoundFile]:
        with needs_extra("s3", "addresses like s3://"):
            import boto3
            from botocore.exceptions import BotoCoreError, ClientError
        start = f"{self.prefix}/" if self.prefix else ""
        try:
            pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=start)
            for page in pages:
                for item in page.get("Contents", ()):
                    time_ns = round(item["LastModified"].timestamp() * 1e9)
                    yield FoundFile(item["Key"][len(start) :], item["Size"], time_ns, etag=item["ETag"].strip('"'))
        except (BotoCoreError, ClientError) as error:
            raise BadInput(f"cannot list {self.address}: {error}", HINT) from error

    def _upload_s3(self, source: IO[bytes], name: str) -> None:
        with needs_extra("s3", "addresses like s3://"):
            import boto3
            from boto3.exceptions import Boto3Error
            from botocore.exceptions import BotoCoreError, ClientError
        try:
            boto3.client("s3").upload_fileobj(source, self.bucket, self._path(name).removeprefix(f"{self.bucket}/"))
        except (Boto3Error, BotoCoreError, ClientError) as error:
            raise OSError(str(error)) from error

    def _upload_renamed(self, source: IO[bytes], name: str) -> None:
        whole, part = self._path(name), self._path(f"{name}.{uuid.uuid4().hex[:8]}.part")
        try:
            with self._filesystem.open_output_stream(part, None) as target:
                shutil.copyfileobj(source, target, CHUNK_BYTES)
            self._filesystem.move(part, whole)
        except BaseException:
            with suppress(OSError):
                self._filesystem.delete_file(part)
            raise

    def _walk(self) -> Iterator[FoundFile]:
        """Memory grows with the largest folder."""
        from pyarrow.fs import FileSelector, FileType

        root = self._path("")
        pending = [root]
        try:
            while pending:
                for info in self._filesystem.get_file_info(FileSelector(pending.pop())):
                    if info.type == FileType.Directory:
                        pending.append(info.path)
                    elif info.type == FileType.File:
                        yield FoundFile(info.path[len(root) + 1 :], info.size, info.mtime_ns)
        except OSError as error:
            raise BadInput(f"cannot list {self.address}: {error}", HINT) from error


@cache
def _filesystem(scheme: str) -> Any:
    """One connection pool per process."""
    with needs_extra("s3", "addresses like s3://"):
        from pyarrow import fs
    if scheme == "gs":
        return fs.GcsFileSystem()
    endpoint = next((os.environ[name] for name in ENDPOINT_VARIABLES if os.environ.get(name)), "")
    if not endpoint:
        return fs.S3FileSystem()
    parts = urlsplit(endpoint)
    return fs.S3FileSystem(endpoint_override=parts.netloc, scheme=parts.scheme)


def _file_name(name: str) -> str:
    """The last part of a key, so that messages name the file as on a disk, if a disk can hold it."""
    last = PurePosixPath(name).name
    fits = last not in ("", ".", "..") and "\0" not in last and len(os.fsencode(last)) <= MAX_NAME_BYTES
    return last if fits else "object"


def _copy(head: bytes, stream: Any, path: Path) -> None:
    """Copy an object, and of one that is too large for any decoder only so much that the decoder says so."""
    limit = DEFAULT_VIDEO_LIMITS.max_bytes + 1
    copied = len(head)
    with path.open("wb") as target:
        target.write(head)
        while copied < limit and (chunk := stream.read(CHUNK_BYTES)):
            target.write(chunk)
            copied += len(chunk)
        if copied >= limit:
            target.truncate(stream.size())  # no more bytes on the disk, but the size that the message quotes
