"""Folders of the model and the uploads, a socket -> a worker process, confined before it loads numerical libraries."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from deepfake_detector.serving.sandbox import end_with_parent, restrict_files

TRUST_VARIABLE = "DEEPFAKE_C2PA_TRUST"  # names a file that each job may read


def main() -> None:
    """Confine the files of this process, then load the model and process jobs."""
    bundle, uploads, connection_fd, parent_pid = sys.argv[1:]
    end_with_parent(int(parent_pid))
    trust = [Path(name)] if (name := os.environ.get(TRUST_VARIABLE)) else []
    restricted = restrict_files([Path(bundle), Path(uploads), *trust])
    from deepfake_detector.serving import worker  # only now: numerical libraries start threads on import

    worker.main(Path(bundle), int(connection_fd), restricted)


if __name__ == "__main__":
    main()
