"""Command line -> commands/; exit 0 answered, 1 bad input, 2 the tool failed."""

from __future__ import annotations

import sys
from typing import Any

import typer

from deepfake_detector.cli.about import about
from deepfake_detector.cli.predict import predict
from deepfake_detector.cli.registry import promote, rollback, runs
from deepfake_detector.cli.scan import scan
from deepfake_detector.errors import BadInput, DetectorError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Tell fake faces from real ones, with reasons.")
# Their own imports are light: what is heavy is imported when a command runs.
for _command in (predict, scan, about, runs, promote, rollback):
    app.command()(_command)
# Typer brings its own copy of Click, or imports Click, by its version: this is the UsageError of whichever it is.
UsageError: Any = typer.BadParameter.__bases__[0]


def main() -> None:
    """Run the command line; every known error is one message, without a traceback."""
    try:
        code = app(standalone_mode=False)
    except DetectorError as error:
        code = _complain(f"[{error.code}] {error}", error.exit_code)
    except UsageError as error:  # a wrong option or a missing argument
        error.show()
        code = BadInput.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = _complain("interrupted", 130)
    sys.exit(code)


def _complain(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code
