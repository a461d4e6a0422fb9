"""The `deepfake` command: arguments -> a command of this package; exit 0 answered, 1 bad input, 2 the tool failed."""

from __future__ import annotations

import sys
from typing import Any

import typer

from deepfake_detector.cli.about import about
from deepfake_detector.cli.predict import predict
from deepfake_detector.cli.registry import promote, rollback, runs
from deepfake_detector.cli.scan import scan
from deepfake_detector.errors import BadInput, DetectorError
from deepfake_detector.io import escape_unencodable_output

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Tell fake faces from real ones, with reasons.")
# These modules import heavy libraries inside their functions, so that --help is fast.
for _command in (predict, scan, about, runs, promote, rollback):
    app.command()(_command)
# Typer includes a copy of Click or imports Click, depending on its version: this is the UsageError of either.
UsageError: Any = typer.BadParameter.__bases__[0]


def main() -> None:
    """Run the command line; a known error prints one message without a traceback."""
    escape_unencodable_output()
    try:
        code = app(standalone_mode=False)
    except DetectorError as error:
        code = _print_error(f"[{error.code}] {error}", error.exit_code)
    except UsageError as error:  # a wrong option or a missing argument
        error.show()
        code = BadInput.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = _print_error("interrupted", 130)
    sys.exit(code)


def _print_error(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code
