"""A bundle's folder and a listening socket's number -> the whole application on it, without BentoML around it."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import uvicorn

from deepfake_detector.model.bundle import read_bundle
from deepfake_detector.serving.dispatcher import Desk
from deepfake_detector.serving.middleware import Guard
from deepfake_detector.serving.options import Options
from deepfake_detector.serving.routes import COUNTED, application

NAMED = {"name": "pretrained", "version": "1", "reason": "the model that ships with the code"}


def main(bundle: Path, listening: socket.socket) -> None:
    """Serve until killed."""
    app = application(bundle)  # any folder does for Swagger UI's files
    desk = app.state.desk = Desk(read_bundle(bundle), NAMED, Options(workers=1))
    desk.start()
    while not desk.crew.ready:  # until then nobody is answered, and whoever started this waits
        time.sleep(0.05)
    guarded = Guard(app, lambda: desk.token, lambda: desk.metrics, COUNTED)
    uvicorn.Server(uvicorn.Config(guarded, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main(Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])))
