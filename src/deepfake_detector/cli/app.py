"""The `deepfake` command: arguments -> a command of this package; exit 0 answered, 1 bad input, 2 the tool failed."""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from importlib.metadata import version
from typing import Annotated, Any

import typer

from deepfake_detector.cli import feedback
from deepfake_detector.cli.about import about
from deepfake_detector.cli.drift import drift
from deepfake_detector.cli.jobs import jobs
from deepfake_detector.cli.predict import predict
from deepfake_detector.cli.registry import promote, rollback, runs
from deepfake_detector.cli.scan import scan
from deepfake_detector.cli.serve import serve
from deepfake_detector.cli.sign import sign
from deepfake_detector.errors import BadInput, DetectorError, MissingExtra, ToolFailed
from deepfake_detector.io import escape_unencodable_output, machine_failure

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Tell fake faces from real ones, with reasons.")
# These modules import heavy libraries inside their functions, so that --help is fast.
for _command in (predict, scan, about, serve, jobs, runs, promote, rollback, sign, drift):
    app.command()(_command)
app.add_typer(feedback.app, name="feedback")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"deepfake-detector {version('deepfake-detector')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


# Typer includes a copy of Click or imports Click, depending on its version: this is the UsageError of either.
UsageError: Any = typer.BadParameter.__bases__[0]


SUPPORTED_MACHINES = ("x86_64", "aarch64", "arm64")  # macOS says arm64 where Linux says aarch64


def require_supported_platform(system: str, machine: str) -> None:
    """Raise ToolFailed where packages are missing; as `sys.platform` and `platform.machine()` name it."""
    if system not in ("linux", "darwin"):
        raise ToolFailed(f"Linux and macOS are supported, {system} is not", "on Windows use WSL, which is a Linux")
    if machine not in SUPPORTED_MACHINES:
        raise ToolFailed(
            f"processors {', '.join(SUPPORTED_MACHINES)} are supported, {machine} is not: OpenVINO has no package",
            "use another machine, or the service on one (docs/serving.md)",
        )


def main() -> None:
    """Run the command line; a known error prints one message without a traceback."""
    escape_unencodable_output()
    try:
        require_supported_platform(sys.platform, platform.machine())
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except DetectorError as error:
        code = _print_error(f"[{error.code}] {error}", error.exit_code)
    except ModuleNotFoundError as error:  # `runs` and its like in an environment without MLflow
        missing = MissingExtra(f"this command needs the package {error.name}", "pip install 'deepfake-detector[train]'")
        code = _print_error(f"[{missing.code}] {missing}", missing.exit_code)
    except UsageError as error:  # a wrong option or a missing argument
        error.show()
        code = BadInput.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = _print_error("interrupted", 130)
    except Exception as error:
        known = machine_failure(error)
        if known is None and not isinstance(error, OSError):
            raise
        code = _print_error(f"[{ToolFailed.code}] {known or error}", ToolFailed.exit_code)
        # Standard output goes to a full disk or a closed pipe: what is buffered is dropped, or Python fails at its end.
        with suppress(OSError):  # standard output may be no file
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _print_error(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code
