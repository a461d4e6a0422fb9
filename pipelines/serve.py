"""reports/package.json, and a name or none -> this process becomes the BentoML server of that model; `make serve`."""

from __future__ import annotations

import json
import os
import sys

from deepfake_detector.errors import BadInput, ModelNotFound
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage

ADDRESS = ("--host", "127.0.0.1", "--port", "3000")  # BentoML's own default listens to the whole network


def main() -> None:
    """Serve champion or pretrained, as named on the command line; without a name, what the package stage chose."""
    workspace = Workspace().enter()
    if not workspace.report("package").is_file():
        raise ModelNotFound("nothing is packaged", "run `python -m pipelines.package` first, or `make serve`")
    report = json.loads(workspace.report("package").read_text(encoding="utf-8"))
    name = next(iter(sys.argv[1:]), report["serves"]["name"])
    bentos = {"champion": report["bento"], "pretrained": (report["pretrained"] or {}).get("bento")}
    if name not in bentos:
        raise BadInput(f"no model is called {name!r}", "make serve MODEL=champion, MODEL=pretrained, or without MODEL")
    if bentos[name] is None:
        raise ModelNotFound(f"no {name} is packaged", "train one with `make repro`, or serve the other model")
    print(f"{name} answers: {bentos[name]}", flush=True)
    os.execvp("bentoml", ["bentoml", "serve", bentos[name], *ADDRESS])


if __name__ == "__main__":
    sys.exit(run_stage(main))
