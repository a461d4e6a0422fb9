"""`deepfake jobs`: a bundle and Redis -> the verdicts of long videos that the service queued, until it is stopped."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from deepfake_detector.cli.options import Model, print_warning
from deepfake_detector.errors import ToolFailed


def jobs(
    model: Model = None,
    alive_file: Annotated[
        Path | None, typer.Option(help="File that is touched every few seconds, for health checks.")
    ] = None,
) -> None:
    """Analyse the long videos that POST /jobs queued in Redis, one at a time, until Ctrl-C. Needs Linux.

    Needs the extra `jobs`, and DEEPFAKE_SERVE_REDIS with the address that the service has. Start it once for each
    processor that it may use; a job whose process is killed is taken up by another.

    \b
    Examples:
      export DEEPFAKE_SERVE_REDIS=redis://127.0.0.1:6379/0
      deepfake jobs & deepfake serve
    """
    if sys.platform != "linux":
        what = f"jobs run on Linux only, not on {sys.platform}: its kernel confines the process that decodes"
        raise ToolFailed(what, "analyse the video with `deepfake predict`, which runs on macOS too")
    from deepfake_detector.inference.model_selection import select_model
    from deepfake_detector.serving.jobs_command import run_worker
    from deepfake_detector.serving.options import read_options

    options = read_options(os.environ)
    selected = select_model(model)
    print_warning(selected.warning)
    run_worker(selected.bundle, options, alive_file)
