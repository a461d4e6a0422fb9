"""A port and a request -> answers per second with so many clients, each of which waits for its answer."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from benchmarks.servers import HOST
from deepfake_detector.errors import ToolFailed

BOUNDARY = "deepfake-bench"
TIMEOUT_S = 60
FULL, OK = (429, 503), 200


@dataclass(frozen=True)
class Post:
    """A request that is sent again and again."""

    path: str
    body: bytes
    content_type: str


def upload(path: str, field: str, data: bytes) -> Post:
    """A multipart form with one file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="a.jpg"\r\n'
    body = head.encode() + b"Content-Type: image/jpeg\r\n\r\n" + data + f"\r\n--{BOUNDARY}--\r\n".encode()
    return Post(path, body, f"multipart/form-data; boundary={BOUNDARY}")


def answered(port: int, posts: Sequence[Post], clients: int, total: int) -> int:
    """Send until `total` requests are answered with 200; who is told that the server is full waits and asks again.

    Raises:
        ToolFailed: another answer than 200, 429 and 503, or none.
    """

    def client(take: Callable[[], int | None]) -> None:
        with closing(http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)) as line:
            while (i := take()) is not None:
                while _send(line, posts[i % len(posts)]) in FULL:
                    time.sleep(0.05)

    return _in_threads(client, clients, total)


def done_at_once(work: Callable[[int], object], threads: int, total: int) -> int:
    """The same load without a network: `work` is called for 0 .. total - 1 from so many threads."""

    def client(take: Callable[[], int | None]) -> None:
        while (i := take()) is not None:
            work(i)

    return _in_threads(client, threads, total)


def _in_threads(client: Callable[[Callable[[], int | None]], None], threads: int, total: int) -> int:
    numbers, lock = iter(range(total)), threading.Lock()
    failed: list[BaseException] = []

    def take() -> int | None:
        with lock:
            return None if failed else next(numbers, None)

    def run() -> None:
        try:
            client(take)
        except BaseException as error:
            failed.append(error)

    started = [threading.Thread(target=run) for _ in range(threads)]
    for each in started:
        each.start()
    for each in started:
        each.join()
    if failed:
        raise failed[0]
    return total


def _send(line: http.client.HTTPConnection, post: Post) -> int:
    line.request("POST", post.path, post.body, {"Content-Type": post.content_type})
    answer = line.getresponse()
    said = answer.read()
    if answer.status not in (OK, *FULL):
        raise ToolFailed(f"{post.path} answered {answer.status}: {said[:300]!r}", "see the server's log")
    return answer.status
