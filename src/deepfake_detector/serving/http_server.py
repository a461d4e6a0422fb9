"""uvicorn's HTTP/1.1 protocol -> the same, with deadlines, a bounded number of connections and our error shape."""

from __future__ import annotations

import asyncio
import math
import resource
import socket
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import h11
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.h11_impl import H11Protocol

from deepfake_detector.serving.errors import OutOfResources, error_response, http_error_response
from deepfake_detector.serving.middleware import SECURITY_HEADERS
from deepfake_detector.serving.upload import MIN_BYTES_PER_S

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

HEADER_TIMEOUT_S = 10.0  # from the first byte of a request, or the start of the connection, to the end of its header
READ_TIMEOUT_S, MIN_READ_BYTES = 15.0, 16 * 1024  # a client that reads its response more slowly is disconnected
SLOW_AFTER_S = 2.0  # an upload that has only begun is not judged
PROBE_DELAY_S, PROBE_WAIT_S = 1.0, 0.25
RESERVED_FILES, FILES_PER_WORKER = 12, 4  # descriptors kept for logs, pages and the connections to the workers
REJECTED_CONNECTIONS = (
    8  # connections over the limit that get an answer before they are closed; further ones are dropped
)


@dataclass(frozen=True)
class ConnectionLimits:
    """How many connections are open at the same time.

    Attributes:
        total: of all clients.
        per_client: of one network address.
    """

    total: int
    per_client: int


def connection_limits(total: int, per_client: int | None, workers: int) -> ConnectionLimits:
    """Bound the configured limits by the file descriptors that this process may still open: two per connection.

    Args:
        total: setting of the service.
        per_client: setting of the service; None: half of the total.
        workers: worker processes, spares included.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else max(soft, 65_536), hard))
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = Path("/dev/fd")
    used = sum(1 for _ in descriptors.iterdir()) if descriptors.is_dir() else RESERVED_FILES
    free = limit - used - RESERVED_FILES - FILES_PER_WORKER * workers
    total = max(4, min(total, free // 2))
    return ConnectionLimits(total, min(per_client or max(2, total // 2), total))


def use_http_protocol() -> None:
    """Have the uvicorn servers of this process use `HTTPProtocol`; BentoML lets nobody choose it when it starts one."""
    HTTP_PROTOCOLS["auto"] = f"{__name__}:{HTTPProtocol.__name__}"


class HTTPProtocol(H11Protocol):
    """One connection.

    - A header must arrive within HEADER_TIMEOUT_S and a response must be read at a minimum rate.
    - Where too many connections are open, the one that has been without a request for longest is closed, of the client
      with the most connections; else the one with the slowest upload, if it is too slow. If all have a request, the new
      connection gets 503.
    - A client that closes only its sending side gets its answer.
    - A request that is no valid HTTP message, which therefore reaches no application, gets 400 in the error shape.
    """

    limits: ClassVar = ConnectionLimits(256, 128)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first header."""
        super().connection_made(transport)
        self._header_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        self._half_closed = False
        self.waiting_since_s = self.loop.time()
        self._request_since_s, self._received_bytes = self.waiting_since_s, 0
        self._start_header_timer()
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._stop_header_timer()
        self._stop_read_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the next bytes; the deadline of a header runs until the header is complete."""
        if self.waiting:
            self._request_since_s, self._received_bytes = self.loop.time(), 0
        self._received_bytes += len(data)
        super().data_received(data)
        if not self.waiting:
            self._stop_header_timer()
        elif self._header_timer is None and not self.transport.is_closing():
            self._start_header_timer()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection for the answer to a complete request; answer an incomplete one with 400."""
        if self.waiting:
            return False
        if self.cycle.more_body:
            if not self.cycle.response_started:
                self.conn.receive_data(b"")  # h11 reports the missing rest of the body
                self.handle_events()
            return False
        self._half_closed = True
        self.loop.call_later(PROBE_DELAY_S, self._probe)
        return True

    def on_response_complete(self) -> None:
        """Close a half-closed connection after its last answer."""
        super().on_response_complete()
        self.waiting_since_s = self.loop.time()
        if self._half_closed and self.waiting:
            self.transport.close()

    def pause_writing(self) -> None:
        """Start the deadline of a client that does not read."""
        super().pause_writing()
        self._stop_read_timer()
        self._start_read_timer()

    def resume_writing(self) -> None:
        """Stop that deadline."""
        self._stop_read_timer()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer 400 and close the connection."""
        self._send_and_close(http_error_response(400, msg, {**SECURITY_HEADERS, "Connection": "close"}))

    @property
    def waiting(self) -> bool:
        """Whether no request is being read or answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def upload_rate(self) -> float:
        """Bytes per second of the request that is being read; infinite if none is, or only just."""
        elapsed_s = self.loop.time() - self._request_since_s
        if self.waiting or not self.cycle.more_body or elapsed_s < SLOW_AFTER_S:
            return math.inf
        return self._received_bytes / elapsed_s

    def _send_and_close(self, answer: Any) -> None:
        start = h11.Response(status_code=answer.status_code, headers=answer.raw_headers, reason=b"")
        for event in (start, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _make_room(self) -> None:
        others = [
            each
            for each in self.connections
            if isinstance(each, HTTPProtocol) and each is not self and not each.transport.is_closing()
        ]
        of_client = [each for each in others if each.address == self.address]
        if len(of_client) >= self.limits.per_client:
            crowd = of_client
        elif len(others) >= self.limits.total:
            crowd = others
        else:
            return
        if (victim := _longest_waiting(crowd) or _slowest(crowd)) is not None:
            victim.transport.abort()
        elif len(others) >= self.limits.total + REJECTED_CONNECTIONS:
            self.transport.abort()
        else:
            self.app = _refuse

    @property
    def address(self) -> str:
        """Network address of the client, without the port."""
        return self.client[0] if self.client else ""

    def _start_header_timer(self) -> None:
        self._header_timer = self.loop.call_later(HEADER_TIMEOUT_S, self._end_header)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _end_header(self) -> None:
        if self.transport.is_closing() or not self.waiting:
            return
        if self.cycle is None and self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
            message = f"the header of the request was not complete within {HEADER_TIMEOUT_S:.0f} seconds"
            self._send_and_close(http_error_response(408, message, {**SECURITY_HEADERS, "Connection": "close"}))
        else:
            self.transport.abort()

    def _start_read_timer(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._read_timer = self.loop.call_later(READ_TIMEOUT_S, self._end_response, left)

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _end_response(self, left_before: int) -> None:
        if left_before - self.transport.get_write_buffer_size() < MIN_READ_BYTES:
            self.transport.abort()
        else:
            self._start_read_timer()

    def _probe(self) -> None:
        """Find out whether a client that sends no more still reads; only bytes sent to it tell.

        They are an interim response, which clients of HTTP/1.1 skip. A closed socket answers them with a reset.
        """
        if self.waiting or self.transport.is_closing() or self.cycle.response_started:
            return
        if self.cycle.scope["http_version"] != "1.1":
            return
        self.transport.write(self.conn.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        self.loop.call_later(PROBE_WAIT_S, self._close_if_reset)

    def _close_if_reset(self) -> None:
        connection = self.transport.get_extra_info("socket")
        if self.transport.is_closing() or connection is None:
            return
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()


def _longest_waiting(protocols: Iterable[HTTPProtocol]) -> HTTPProtocol | None:
    """The connection without a request for longest, of the client with the most of them."""
    waiting = [each for each in protocols if each.waiting]
    counts = Counter(each.address for each in waiting)
    return min(waiting, key=lambda each: (-counts[each.address], each.waiting_since_s), default=None)


def _slowest(protocols: Iterable[HTTPProtocol]) -> HTTPProtocol | None:
    """The connection whose upload is slowest, if it is slower than an upload may be."""
    slowest = min(protocols, key=lambda each: each.upload_rate, default=None)
    return slowest if slowest is not None and slowest.upload_rate < MIN_BYTES_PER_S else None


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    error = OutOfResources("too many connections are open", "retry later; DEEPFAKE_SERVE_CONNECTIONS is the limit")
    response = error_response(error)
    response.headers["Connection"] = "close"
    await response(scope, receive, send)
