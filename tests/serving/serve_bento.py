"""A bundle's folder and the number of a listening socket -> BentoML's application of the service on it."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import uvicorn

from deepfake_detector.serving.service import DeepfakeDetector

METADATA = {"name": "pretrained", "version": "7", "reason": "the model that ships with the code"}


def main(bundle: Path, listening: socket.socket) -> None:
    """Serve until killed."""
    model = SimpleNamespace(path_of=lambda _: bundle, info=SimpleNamespace(metadata=METADATA))
    DeepfakeDetector.inner.model = model  # type: ignore[attr-defined]  # instead of one of the BentoML store
    application = DeepfakeDetector.to_asgi(is_main=True)  # type: ignore[attr-defined]
    uvicorn.Server(uvicorn.Config(application, log_config=None)).run(sockets=[listening])


if __name__ == "__main__":
    main(Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])))
