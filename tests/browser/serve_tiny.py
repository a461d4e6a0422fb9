"""A bundle's folder and the number of a listening socket -> the whole application on it, without BentoML."""

from __future__ import annotations

import importlib.metadata
import socket
import sys
import time
from pathlib import Path

import uvicorn

from deepfake_detector.model.bundle import read_bundle
from deepfake_detector.serving.dispatcher import Dispatcher
from deepfake_detector.serving.middleware import ServiceMiddleware
from deepfake_detector.serving.openapi import ModelIdentity
from deepfake_detector.serving.options import ServingOptions
from deepfake_detector.serving.routes import METRIC_ROUTES, create_app

IDENTITY = ModelIdentity("pretrained", "1", "the model that ships with the code")


def swagger_files() -> Path:
    """The folder of BentoML's package that serving/service.py names, without importing BentoML."""
    (package,) = importlib.metadata.packages_distributions()["bentoml"][:1]
    return Path(str(importlib.metadata.distribution(package).locate_file("bentoml/_internal/server/static_content")))


def main(bundle: Path, listening: socket.socket) -> None:
    """Serve until killed."""
    app = create_app(swagger_files(), dict)
    dispatcher = app.state.dispatcher = Dispatcher(read_bundle(bundle), IDENTITY, ServingOptions(workers=1))
    dispatcher.start()
    while not dispatcher.pool.ready:  # the test waits until the socket answers
        time.sleep(0.05)
    with_middleware = ServiceMiddleware(app, app, METRIC_ROUTES)
    uvicorn.Server(uvicorn.Config(with_middleware, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main(Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])))
