"""A port of 127.0.0.1 -> exit code 0 if it is free, else 1 and one sentence; `make serve` asks before it packages."""

from __future__ import annotations

import argparse
import sys

from deepfake_detector import port as ports
from pipelines.stage import run_stage


def require_free_port(port: int, target: str) -> None:
    """Check that a server can listen on a port of 127.0.0.1; `target` of the Makefile is what the user called.

    Raises:
        BadInput: another process uses the port, or this one may not.
    """
    ports.require_free_port("127.0.0.1", port, f"make {target} PORT=")


def main() -> None:
    """Check the port that is given on the command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.port", description="Check that a port is free.")
    parser.add_argument("port", type=ports.valid_port)
    require_free_port(parser.parse_args().port, "serve")


if __name__ == "__main__":
    sys.exit(run_stage(main))
