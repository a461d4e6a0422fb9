"""reports/package.json and the name of a model, if given -> this process becomes its BentoML server; `make serve`."""

from __future__ import annotations

import json
import os
import sys

from deepfake_detector.errors import BadInput, ModelNotFound
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage

ADDRESS = ("--host", "127.0.0.1", "--port", "3000")  # BentoML's own default listens on every interface


def main() -> None:
    """Serve `champion` or `pretrained`, as given on the command line, or else the default of the package stage."""
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
    print(f"serving {name}: {bentos[name]}", flush=True)
    os.execvp("bentoml", ["bentoml", "serve", bentos[name], *ADDRESS])


if __name__ == "__main__":
    sys.exit(run_stage(main))
