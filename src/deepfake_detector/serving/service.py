"""The packaged model -> the BentoML service. Its process handles HTTP; worker processes decode and score.

BentoML's clients, /schema.json and `bentoml.load` see the methods that `DeepfakeDetector` declares. Over HTTP
`ServiceMiddleware` answers their paths, so that no request reaches BentoML's own parser.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import bentoml
from bentoml.exceptions import BentoMLException
from pydantic import BaseModel, Field

from deepfake_detector.inference.verdict import ImageVerdict, VideoVerdict
from deepfake_detector.model.bundle import read_bundle
from deepfake_detector.serving.dispatcher import RESPONSE_TIMEOUT_S, Dispatcher
from deepfake_detector.serving.http_server import HTTPProtocol, connection_limits, use_http_protocol
from deepfake_detector.serving.jobs import OFF_HINT, VideoJob, long_video_job
from deepfake_detector.serving.jobs_route import JOBS_PATH
from deepfake_detector.serving.messages import Job, JobResult
from deepfake_detector.serving.middleware import ServiceMiddleware
from deepfake_detector.serving.openapi import BATCH_FILES, ModelIdentity
from deepfake_detector.serving.options import read_options
from deepfake_detector.serving.routes import METRIC_ROUTES, create_app
from deepfake_detector.serving.sandbox import end_with_parent, hide_memory
from deepfake_detector.serving.telemetry import configure_json_logging
from deepfake_detector.serving.upload import UPLOAD_TIMEOUT_S

BENTO_MODEL = "deepfake-detector"
BUNDLE_FOLDER = "bundle"  # in the BentoML model: BentoML adds a file beside it, which would break the bundle's digest
SWAGGER_FILES = Path(bentoml.__file__).parent / "_internal" / "server" / "static_content"


class Arguments(BaseModel):
    """Arguments the bento was built with; `bentoml serve --arg model=TAG` overrides them."""

    model: str = f"{BENTO_MODEL}:latest"


app = create_app(SWAGGER_FILES, lambda: DeepfakeDetector.schema())  # type: ignore[attr-defined]
use_http_protocol()  # now: a server's protocol is chosen before DeepfakeDetector() is called

Prior = Annotated[float | None, Field(gt=0, lt=1)]
Answers = dict[str, list[dict[str, Any]]]  # BatchAnswer, whose errors BentoML's client would drop: it reads no unions
Batch = Annotated[list[Path], Field(min_length=1, max_length=BATCH_FILES)]


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
        hide_memory()  # the token is in it
        metadata = self.model.info.metadata
        run_id = str(metadata.get("run_id", ""))
        identity = ModelIdentity(metadata["name"], str(metadata["version"]), metadata["reason"], run_id)
        bundle = read_bundle(Path(self.model.path_of(BUNDLE_FOLDER)))
        options = read_options(os.environ)
        workers = options.workers + options.spares
        HTTPProtocol.limits = connection_limits(options.connections, options.client_connections, workers)
        self.dispatcher = app.state.dispatcher = Dispatcher(bundle, identity, options)
        self.dispatcher.start()

    @bentoml.api  # type: ignore[untyped-decorator]  # BentoML's types hide behind lazy imports
    def predict_image(
        self, image: Path, explain: bool = False, prior: Prior = None, location: bool = False
    ) -> ImageVerdict:
        """Analyse an image; `explain` adds crops and heatmaps, `prior` is the share of fakes at its source.

        `location` adds the position that the file holds.
        """
        result = self._results(Job(kind="image", explain=explain, prior=prior, location=location), [image])[0]
        return ImageVerdict.model_validate_json(_checked(result).body)

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict_video(
        self, video: Path, explain: bool = False, prior: Prior = None, location: bool = False
    ) -> VideoVerdict:
        """Analyse a video; for the parameters see `predict_image`."""
        result = self._results(Job(kind="video", explain=explain, prior=prior, location=location), [video])[0]
        return VideoVerdict.model_validate_json(_checked(result).body)

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict_images(
        self, images: Batch, explain: bool = False, prior: Prior = None, location: bool = False
    ) -> Answers:
        """Analyse up to 16 images; each gets a verdict or an error, in the same order."""
        results = self._results(Job(kind="image", explain=explain, prior=prior, location=location), images)
        return {"answers": [json.loads(result.body) for result in results]}

    @bentoml.api(route=JOBS_PATH)  # type: ignore[untyped-decorator]
    def submit_job(self, video: Path, explain: bool = False, prior: Prior = None, location: bool = False) -> VideoJob:
        """Queue a long video; `GET /jobs/ID` gives its state and verdict. Off unless DEEPFAKE_SERVE_REDIS is set."""
        store = self.dispatcher.jobs
        if store is None:
            raise BentoMLException(OFF_HINT, error_code=HTTPStatus.NOT_FOUND)
        options = {"explain": explain, "prior": prior, "location": location}
        with video.open("rb") as file:
            job_id = store.submit(long_video_job(store.options, options), file, "this process")
        return store.describe(job_id)[0]

    def _results(self, job: Job, paths: Sequence[Path]) -> list[JobResult]:
        """Analyse files for a caller in this process, who needs no admission."""
        return self.dispatcher.run(job, [path.open("rb") for path in paths])

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Stop the workers, after the last request."""
        self.dispatcher.stop()


def _checked(result: JobResult) -> JobResult:
    """Return the result of a file, or raise its error as BentoML's."""
    if result.report.status != 200:
        raise BentoMLException(result.body.decode(), error_code=HTTPStatus(result.report.status))
    return result


DeepfakeDetector.add_asgi_middleware(  # type: ignore[attr-defined]
    ServiceMiddleware, application=app, routes=METRIC_ROUTES
)
