"""Text or number -> a port that a server can listen on, or an error that names another one."""

from __future__ import annotations

import os
import socket

from deepfake_detector.errors import BadInput

LAST_PORT = 65535


def valid_port(text: str) -> int:
    """Read a port number; raise BadInput unless it is one from 1 to 65535."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= LAST_PORT):
        raise BadInput(f"{text!r} is not a port", f"give a number from 1 to {LAST_PORT}")
    return int(text)


def require_free_port(host: str, port: int, command: str) -> None:
    """Check that a server can listen on a port.

    Args:
        host: address of the interface.
        port: 1 to 65535.
        command: to which the number of another port is appended in the hint, for example `make serve PORT=`.

    Raises:
        BadInput: another process uses the port, or this one may not, or the machine has no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family):
            return
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    raise BadInput(f"port {port} of {host} cannot be used: {reason}", f"{command}{port % LAST_PORT + 1}")
