"""uvicorn's HTTP/1.1 protocol -> the same protocol, with our error shape for malformed requests."""

from __future__ import annotations

import h11
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.h11_impl import H11Protocol

from deepfake_detector.serving.errors import http_error_response
from deepfake_detector.serving.middleware import SECURITY_HEADERS


def use_error_shape() -> None:
    """Have the uvicorn servers of this process use `HTTPProtocol`; BentoML lets nobody choose it when it starts one."""
    HTTP_PROTOCOLS["auto"] = f"{__name__}:{HTTPProtocol.__name__}"


class HTTPProtocol(H11Protocol):
    """Answers a request that is no valid HTTP message, which therefore reaches no application, in the error shape."""

    def send_400_response(self, msg: str) -> None:
        """Answer 400 and close the connection."""
        answer = http_error_response(400, msg, {**SECURITY_HEADERS, "Connection": "close"})
        start = h11.Response(status_code=400, headers=answer.raw_headers, reason=b"Bad Request")
        for event in (start, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
