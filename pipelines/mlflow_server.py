"""MLflow's store of this checkout -> this process becomes its MLflow server and page; `make mlflow`."""

from __future__ import annotations

import argparse
import os
import sys

from deepfake_detector.paths import Workspace
from deepfake_detector.port import valid_port
from deepfake_detector.tracking.store import schema_version
from pipelines.port import require_free_port
from pipelines.stage import run_stage

HOST = "127.0.0.1"


def main() -> None:
    """Show the runs and models of the store root, also from a linked worktree or a workspace of DVC."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.mlflow_server", description=f"Show MLflow on {HOST}.")
    parser.add_argument("--port", type=valid_port, default=5000, help="default: %(default)s")
    port = parser.parse_args().port
    require_free_port(port, "mlflow")
    stores = Workspace().enter().store_root
    if (stores / "mlflow.db").exists():
        schema_version(stores / "mlflow.db")  # MLflow tries a broken file for three minutes
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # 240 MB that nothing here uses
    command = ["mlflow", "server", "--backend-store-uri", f"sqlite:///{stores / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(stores / "mlartifacts"), "--host", HOST, "--port", str(port)]
    os.execvp("mlflow", command)


if __name__ == "__main__":
    sys.exit(run_stage(main))
