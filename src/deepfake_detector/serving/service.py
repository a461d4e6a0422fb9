"""The packaged model -> the BentoML service. Its process handles HTTP; worker processes decode and score."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import bentoml
from pydantic import BaseModel

from deepfake_detector.model.bundle import read_bundle
from deepfake_detector.serving.dispatcher import RESPONSE_TIMEOUT_S, Dispatcher
from deepfake_detector.serving.middleware import ServiceMiddleware
from deepfake_detector.serving.openapi import ModelIdentity
from deepfake_detector.serving.options import read_options
from deepfake_detector.serving.routes import METRIC_ROUTES, create_app
from deepfake_detector.serving.sandbox import end_with_parent
from deepfake_detector.serving.telemetry import configure_json_logging
from deepfake_detector.serving.upload import UPLOAD_TIMEOUT_S

BENTO_MODEL = "deepfake-detector"
BUNDLE_FOLDER = "bundle"  # in the BentoML model: BentoML adds a file beside it, which would break the bundle's digest
SWAGGER_FILES = Path(bentoml.__file__).parent / "_internal" / "server" / "static_content"


class Arguments(BaseModel):
    """Arguments the bento was built with; `bentoml serve --arg model=TAG` overrides them."""

    model: str = f"{BENTO_MODEL}:latest"


app = create_app(SWAGGER_FILES)
app_with_middleware = ServiceMiddleware(
    app, lambda: app.state.dispatcher.token, lambda: app.state.dispatcher.metrics, METRIC_ROUTES
)


# One process is enough: it only waits. UPLOAD_TIMEOUT_S and RESPONSE_TIMEOUT_S end before BentoML's own timeout, whose
# error has another shape. BentoML keeps a timer and the request's span for that whole time after each request: without
# spans it is 0.5 kB per request instead of 4.8. BentoML's metrics are off because they keep a series for every path
# that is requested; its access log, because it has no request ids.
@bentoml.service(
    name=BENTO_MODEL,
    workers=1,
    traffic={"timeout": UPLOAD_TIMEOUT_S + RESPONSE_TIMEOUT_S + 20},
    tracing={"excluded_urls": "."},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class DeepfakeDetector:
    """Detects manipulated faces in images and videos, and gives the reasons."""

    model = bentoml.models.BentoModel(bentoml.use_arguments(Arguments).model)

    def __init__(self) -> None:
        if bentoml.server_context.worker_index is not None:  # None in tests, which have no supervisor
            end_with_parent(os.getppid(), signal.SIGTERM)
            configure_json_logging()
        metadata = self.model.info.metadata
        identity = ModelIdentity(metadata["name"], str(metadata["version"]), metadata["reason"])
        bundle = read_bundle(Path(self.model.path_of(BUNDLE_FOLDER)))
        self.dispatcher = app.state.dispatcher = Dispatcher(bundle, identity, read_options(os.environ))
        self.dispatcher.start()

    def __is_ready__(self) -> bool:
        """Answer /readyz of BentoML: a worker has passed its self-test."""
        return self.dispatcher.pool.ready > 0

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]  # BentoML's types hide behind lazy imports
    def stop(self) -> None:
        """Stop the workers, after the last request."""
        self.dispatcher.stop()


DeepfakeDetector.mount_asgi_app(app_with_middleware, path="/")  # type: ignore[attr-defined]
