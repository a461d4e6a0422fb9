"""A port of 127.0.0.1 -> exit code 0 if it is free, else 1 and one sentence; `make serve` asks before it packages."""

from __future__ import annotations

import argparse
import os
import socket
import sys

from deepfake_detector.errors import BadInput
from pipelines.stage import run_stage


def valid_port(text: str) -> int:
    """Read a port number; raise BadInput unless it is one from 1 to 65535."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
        raise BadInput(f"{text!r} is not a port", "give a number from 1 to 65535")
    return int(text)


def require_free_port(port: int, target: str) -> None:
    """Check that a server can listen on a port of 127.0.0.1; `target` of the Makefile is what the user called.

    Raises:
        BadInput: another process uses the port, or this one may not.
    """
    try:
        with socket.create_server(("127.0.0.1", port)):
            return
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
    raise BadInput(f"port {port} of 127.0.0.1 cannot be used: {reason}", f"make {target} PORT={port % 65535 + 1}")


def main() -> None:
    """Check the port that is given on the command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.port", description="Check that a port is free.")
    parser.add_argument("port", type=valid_port)
    require_free_port(parser.parse_args().port, "serve")


if __name__ == "__main__":
    sys.exit(run_stage(main))
