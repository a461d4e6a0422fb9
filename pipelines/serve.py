"""reports/package.json and the name of a model, if given -> this process becomes its BentoML server; `make serve`."""

from __future__ import annotations

import argparse
import os
import sys

from deepfake_detector.errors import BadInput, ModelNotFound
from deepfake_detector.io import read_json
from deepfake_detector.paths import Workspace
from deepfake_detector.port import valid_port
from pipelines.port import require_free_port
from pipelines.stage import run_stage

HOST = "127.0.0.1"  # BentoML's own default is every interface


def main() -> None:
    """Serve `champion` or `pretrained`, as given on the command line, or else the default of the package stage."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.serve", description=f"Serve a packaged model on {HOST}.")
    parser.add_argument("model", nargs="?", help="champion or pretrained; default: as reports/package.json says")
    parser.add_argument("--port", type=valid_port, default=3000, help="default: %(default)s")
    arguments = parser.parse_args()
    workspace = Workspace().enter()
    if not workspace.report("package").is_file():
        raise ModelNotFound("nothing is packaged", "run `python -m pipelines.package` first, or `make serve`")
    report = read_json(workspace.report("package"), "run `python -m pipelines.package`")
    name = arguments.model or report["serves"]["name"]
    bentos = {"champion": report["bento"], "pretrained": (report["pretrained"] or {}).get("bento")}
    if name not in bentos:
        raise BadInput(f"no model is called {name!r}", "make serve MODEL=champion, MODEL=pretrained, or without MODEL")
    if (bento := bentos[name]) is None:
        raise ModelNotFound(f"no {name} is packaged", "train one with `make repro`, or serve the other model")
    require_free_port(arguments.port, "serve")
    print(f"serving {name}: {bento}", flush=True)
    os.execvp("bentoml", ["bentoml", "serve", bento, "--host", HOST, "--port", str(arguments.port)])


if __name__ == "__main__":
    sys.exit(run_stage(main))
