"""Connections on a real socket: deadlines, limits and half-closed clients, with a small application behind them."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from deepfake_detector.serving import http_server
from deepfake_detector.serving.http_server import ConnectionLimits, HTTPProtocol, connection_limits

REQUEST = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"
LARGE_BYTES = 32 * 2**20


class Application:
    """Answers /fast at once, /slow after 1.6 s, /large with LARGE_BYTES; notes the clients that disconnect."""

    def __init__(self) -> None:
        self.disconnected: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            self.disconnected.append(path)
            return
        if path == "/slow":
            closed = asyncio.ensure_future(receive())
            done, _ = await asyncio.wait({closed}, timeout=1.6)
            if done:
                self.disconnected.append(path)
                return
            closed.cancel()
        body = bytes(LARGE_BYTES) if path == "/large" else b"answer"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def address(application: Application, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(http_server, "HEADER_TIMEOUT_S", 0.6)
    monkeypatch.setattr(http_server, "READ_TIMEOUT_S", 0.6)
    config = uvicorn.Config(application, http=HTTPProtocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
        thread.start()
        yield listening.getsockname()
        server.should_exit = server.force_exit = True
        thread.join(20)


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=10)


def read_all(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65_536):
        received += chunk
    return received


def status_of(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


@pytest.mark.parametrize("data", [b"", b"GET / HT", b"POST /fast HTTP/1.1\r\nHost: a\r\n"])
def test_a_connection_without_a_whole_header_is_closed_in_time(address: tuple[str, int], data: bytes) -> None:
    start_s = time.monotonic()
    with connect(address) as connection:
        connection.sendall(data)
        try:
            response = read_all(connection)
        except ConnectionResetError:
            response = b""
    assert 0.4 < time.monotonic() - start_s < 3
    assert (status_of(response) if data else response) == (408 if data else b"")


def test_a_header_that_trickles_after_an_answer_is_ended_too(address: tuple[str, int]) -> None:
    with connect(address) as connection:
        connection.sendall(REQUEST % b"fast")
        assert status_of(connection.recv(65_536)) == 200
        start_s = time.monotonic()
        with pytest.raises((ConnectionError, EOFError)):
            trickle(connection, until_s=start_s + 5)
        assert time.monotonic() - start_s < 3


def trickle(connection: socket.socket, until_s: float) -> None:
    """Send a byte of a header each tenth of a second until the other side closes the connection."""
    connection.settimeout(0.1)
    while time.monotonic() < until_s:
        connection.sendall(b"G")
        try:
            if not connection.recv(10):
                raise EOFError
        except TimeoutError:
            pass


def test_half_open_connections_do_not_keep_others_out(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEADER_TIMEOUT_S", 60)
    monkeypatch.setattr(HTTPProtocol, "limits", ConnectionLimits(10, 5))
    half_open = [connect(address) for _ in range(80)]
    try:
        for connection in half_open:
            connection.sendall(b"GET /fast HTTP/1.1\r\nHo")
        for _ in range(5):
            with connect(address) as connection:
                connection.sendall(REQUEST % b"fast")
                assert status_of(connection.recv(65_536)) == 200
    finally:
        for connection in half_open:
            connection.close()


def test_a_connection_over_the_limit_gets_503_while_all_others_have_a_request(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HTTPProtocol, "limits", ConnectionLimits(4, 4))
    busy = [connect(address) for _ in range(4)]
    for connection in busy:
        connection.sendall(REQUEST % b"slow")
    time.sleep(0.3)
    with connect(address) as connection:
        connection.sendall(REQUEST % b"fast")
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert status_of(head) == 503
    assert b"retry-after: 5" in head.lower()
    assert json.loads(body)["error"]["code"] == "out_of_resources"
    for connection in busy:
        assert status_of(connection.recv(65_536)) == 200
        connection.close()


def test_a_slow_upload_makes_room_for_a_new_connection(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "SLOW_AFTER_S", 0.3)
    monkeypatch.setattr(HTTPProtocol, "limits", ConnectionLimits(4, 4))
    head = b"POST /fast HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    slow, fast = [connect(address) for _ in range(3)], connect(address)
    for connection in slow:
        connection.sendall(head + b"a")
    fast.sendall(head + bytes(500_000))
    time.sleep(0.5)
    with connect(address) as connection:
        connection.sendall(REQUEST % b"fast")
        assert status_of(connection.recv(65_536)) == 200
    fast.sendall(bytes(500_000))
    assert status_of(fast.recv(65_536)) == 200
    for connection in (*slow, fast):
        connection.close()


@pytest.mark.parametrize("path", [b"fast", b"slow"])
def test_a_half_closed_client_gets_its_answer(address: tuple[str, int], path: bytes) -> None:
    with connect(address) as connection:
        connection.sendall(REQUEST % path)
        connection.shutdown(socket.SHUT_WR)
        response = read_all(connection)
    final = response.rpartition(b"HTTP/1.1 ")[2]  # a slow one is preceded by an interim response
    assert final.startswith(b"200 ")
    assert b"answer" in final
    assert response.startswith(b"HTTP/1.1 100 ") == (path == b"slow")


def test_a_client_that_closes_the_connection_is_noticed(address: tuple[str, int], application: Application) -> None:
    with connect(address) as connection:
        connection.sendall(REQUEST % b"slow")
        time.sleep(0.1)
    deadline = time.monotonic() + 1.5
    while not application.disconnected:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_body_that_ends_early_is_answered_with_400(address: tuple[str, int]) -> None:
    with connect(address) as connection:
        connection.sendall(b"POST /fast HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        connection.shutdown(socket.SHUT_WR)
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert status_of(head) == 400
    assert json.loads(body)["error"]["code"] == "bad_request"


def test_a_client_that_does_not_read_its_answer_is_disconnected(
    address: tuple[str, int], application: Application
) -> None:
    with connect(address) as connection:
        connection.sendall(REQUEST % b"large")
        time.sleep(2.5)
        with pytest.raises((ConnectionResetError, AssertionError)):
            assert len(read_all(connection)) >= LARGE_BYTES


def test_a_client_that_reads_slowly_gets_its_answer(address: tuple[str, int]) -> None:
    with connect(address) as connection:
        connection.sendall(REQUEST % b"large")
        received = 0
        while received < LARGE_BYTES:
            chunk = connection.recv(2**20)
            assert chunk
            received += len(chunk)
            time.sleep(0.02)


def test_the_limits_follow_the_descriptors_that_may_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def limits(soft: int, hard: int) -> ConnectionLimits:
        monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
        return connection_limits(256, None, 3)

    assert limits(4096, 4096) == ConnectionLimits(256, 128)
    assert limits(64, 64).total < 64 // 2
    assert limits(64, 64).total >= 4
    assert connection_limits(256, 1000, 3).per_client == limits(64, 64).total
    assert limits(16, 16) == ConnectionLimits(4, 2)
