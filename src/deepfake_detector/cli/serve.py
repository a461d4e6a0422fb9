"""`deepfake serve`: a bundle -> the web page and the HTTP API on one port, until it is stopped; needs no repository."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from functools import partial
from types import FrameType
from typing import Annotated

import typer

from deepfake_detector.cli.options import Model, print_warning
from deepfake_detector.errors import ToolFailed

SERVICE = "deepfake_detector.serving.service:DeepfakeDetector"
NO_LINUX = "container image (docs/serving.md) here, or `deepfake predict` and `scan`, which run on macOS too"


def serve(
    host: Annotated[
        str,
        typer.Option(
            help="Address of the interface. For others than this machine also set DEEPFAKE_SERVE_HOSTS (the names that "
            "clients use) and DEEPFAKE_SERVE_TOKEN (docs/serving.md)."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 3000,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=256,
            help="Processes that decode and score; by default DEEPFAKE_SERVE_WORKERS, else one per core.",
        ),
    ] = None,
    model: Model = None,
) -> None:
    """Serve the web page (/ui) and the HTTP API (/docs) on one port, until Ctrl-C. Needs the extra `serve`, and Linux.

    \b
    Examples:
      deepfake serve                             http://127.0.0.1:3000/ui with the default model
      deepfake serve --port 8080 --workers 2     another port, two processes that decode and score
      deepfake serve --model champion            the registry's champion, in a checkout
    """
    if sys.platform != "linux":
        what = f"the service runs on Linux only, not on {sys.platform}: its kernel confines the processes that decode"
        raise ToolFailed(what, f"use the {NO_LINUX}")
    from deepfake_detector.inference.model_selection import select_model
    from deepfake_detector.port import require_free_port

    require_free_port(host, port, "deepfake serve --port ")
    selected = select_model(model)
    print_warning(selected.warning)
    with tempfile.TemporaryDirectory(prefix="deepfake-serve-") as home:
        os.environ |= {"BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "True"}  # before BentoML is imported
        if workers is not None:
            os.environ["DEEPFAKE_SERVE_WORKERS"] = str(workers)
        from deepfake_detector.packaging import store_bundle

        version = selected.bundle.sha256[:12]
        tag = store_bundle(selected.bundle, selected.name, version, selected.reason)
        print(f"serving {selected.name} ({version}) on http://{host}:{port}/ui", flush=True)
        options = ["--arg", f"model={tag}", "--host", host, "--port", str(port), "--working-dir", home]
        raise typer.Exit(_run([sys.executable, "-m", "bentoml", "serve", SERVICE, *options]))


def _run(command: list[str]) -> int:
    """Run a server until it ends; it gets this process's signals, and ends when this process is killed.

    Returns:
        Its exit code; 0 if it was stopped by a signal that this process received.
    """
    from deepfake_detector.serving.sandbox import end_with_parent

    stopped: list[int] = []
    # In a session of its own, so that Ctrl-C reaches it once: through this process.
    process = subprocess.Popen(
        command, start_new_session=True, preexec_fn=partial(end_with_parent, os.getpid(), signal.SIGTERM)
    )

    def forward(number: int, _: FrameType | None) -> None:
        stopped.append(number)
        process.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, forward)
    code = process.wait()
    return 0 if stopped else abs(code)
