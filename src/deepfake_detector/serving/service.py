"""HTTP -> verdict: the BentoML service. Its process takes requests in; child processes decode and score."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import bentoml
from pydantic import BaseModel

from deepfake_detector.model.bundle import read_bundle
from deepfake_detector.serving.dispatcher import WAIT_S, Desk
from deepfake_detector.serving.middleware import Guard
from deepfake_detector.serving.options import read_options
from deepfake_detector.serving.routes import COUNTED, application
from deepfake_detector.serving.sandbox import end_with_parent
from deepfake_detector.serving.telemetry import log_as_json
from deepfake_detector.serving.upload import UPLOAD_S

MODEL = "deepfake-detector"
BUNDLE_FOLDER = (
    "bundle"  # inside the BentoML model: BentoML lays a file of its own beside it, which the seal would refuse
)
SWAGGER = Path(bentoml.__file__).parent / "_internal" / "server" / "static_content"  # comes with BentoML


class Arguments(BaseModel):
    """What a bento was built with; `bentoml serve --arg model=TAG` names another."""

    model: str = f"{MODEL}:latest"


app = application(SWAGGER)
guarded = Guard(app, lambda: app.state.desk.token, lambda: app.state.desk.metrics, COUNTED)


# One process: all its work is waiting. UPLOAD_S and WAIT_S end before BentoML's own timeout, which has another error
# shape; it keeps a timer, and what was known of the request, for its whole length after each request, hence no spans:
# 0.5 kB a request instead of 4.8. BentoML's metrics: see metrics.py. Its access log has no request ids: see guard.py.
@bentoml.service(
    name=MODEL,
    workers=1,
    traffic={"timeout": UPLOAD_S + WAIT_S + 20},
    tracing={"excluded_urls": "."},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class DeepfakeDetector:
    """Judges whether faces in an image or a video are fake, and says why."""

    model = bentoml.models.BentoModel(bentoml.use_arguments(Arguments).model)

    def __init__(self) -> None:
        if bentoml.server_context.worker_index is not None:  # not in a test: there is a supervisor to outlive
            end_with_parent(os.getppid(), signal.SIGTERM)
            log_as_json()
        packaged = self.model.info.metadata
        named = {"name": packaged["kind"], "version": str(packaged.get("version", "")), "reason": packaged["said"]}
        bundle = read_bundle(Path(self.model.path_of(BUNDLE_FOLDER)))
        self.desk = app.state.desk = Desk(bundle, named, read_options(os.environ))
        self.desk.start()

    def __is_ready__(self) -> bool:
        """BentoML asks at /readyz: has a worker passed its self-test?"""
        return self.desk.crew.ready > 0

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]  # BentoML's types hide behind lazy imports
    def stop(self) -> None:
        """After the last request in flight."""
        self.desk.stop()


DeepfakeDetector.mount_asgi_app(guarded, path="/")  # type: ignore[attr-defined]
