"""HTTP -> verdict: the BentoML service."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import bentoml
from pydantic import BaseModel
from starlette.staticfiles import StaticFiles

from deepfake_detector.errors import DetectorError, ToolFailed
from deepfake_detector.model.bundle import read_bundle
from deepfake_detector.scoring.detector import Detector
from deepfake_detector.scoring.verdict import ImageVerdict, VideoVerdict
from deepfake_detector.serving.error_shape import REQUEST_S, OneErrorShape, refusal
from deepfake_detector.serving.limits import UploadGate

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MODEL = "deepfake-detector"
BUNDLE_FOLDER = (
    "bundle"  # inside the BentoML model: BentoML lays a file of its own beside it, which the seal would refuse
)
PAGE = Path(__file__).with_name("page")
THREADS = 2  # requests worked on at once: one decodes while the other scores, on two cores

Answer = TypeVar("Answer")
logger = logging.getLogger("bentoml.deepfake")


class Arguments(BaseModel):
    """What a bento was built with; `bentoml serve --arg model=TAG` names another."""

    model: str = f"{MODEL}:latest"


# OneErrorShape answers after REQUEST_S; BentoML's own timeout has another shape and is only the net below it.
@bentoml.service(name=MODEL, workers=1, threads=THREADS, traffic={"timeout": REQUEST_S + 30})
class DeepfakeDetector:
    """Judges whether faces in an image or a video are fake, and says why."""

    model = bentoml.models.BentoModel(bentoml.use_arguments(Arguments).model)

    def __init__(self) -> None:
        self.detector = Detector(read_bundle(Path(self.model.path_of(BUNDLE_FOLDER))))

    @bentoml.api  # type: ignore[untyped-decorator]  # BentoML's types hide behind lazy imports
    def predict_image(self, image: Path) -> ImageVerdict:
        """Judge one picture: JPEG, PNG, WebP, BMP, TIFF or GIF."""
        return _answer(image, lambda: self.detector.image(image.read_bytes()))

    @bentoml.api  # type: ignore[untyped-decorator]  # BentoML's types hide behind lazy imports
    def predict_video(self, video: Path) -> VideoVerdict:
        """Judge one video by frames spread evenly over it."""
        return _answer(video, lambda: self.detector.video(video))

    @bentoml.api  # type: ignore[untyped-decorator]  # BentoML's types hide behind lazy imports
    def about(self) -> dict[str, Any]:
        """Say which model answers and why, on what it was trained and how it was judged."""
        bundle, packaged = self.detector.bundle, self.model.info.metadata
        named = {"name": packaged["kind"], "reason": packaged["said"], "sha256": bundle.sha256}
        return named | bundle.contract.model_dump(mode="json")


def _answer(upload: Path, work: Callable[[], Answer]) -> Answer:
    """The verdict, or an error response in its place: BentoML logs a traceback for every exception it sees."""
    try:
        return work()
    except DetectorError as error:
        if error.http_status >= 500:
            logger.exception("the service failed")
        error.message = error.message.replace(upload.name, "the upload")  # the name of a temporary file helps nobody
        return cast(Answer, refusal(error))
    except Exception as error:
        logger.exception("the service failed")
        return cast(
            Answer, refusal(ToolFailed(f"{type(error).__name__} while judging the file", "see the server's log"))
        )


class GetAbout:
    """ASGI middleware: BentoML's routes answer POST only and read a body; `GET /about` is what people type."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Turn any request for the route into a POST without a body."""
        if scope["type"] == "http" and scope["path"] == "/about" and scope["method"] in ("GET", "POST"):
            scope, receive = {**scope, "method": "POST", "headers": []}, _nothing
        await self.app(scope, receive, send)


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


DeepfakeDetector.mount_asgi_app(StaticFiles(directory=PAGE, html=True), path="/ui", name="ui")  # type: ignore[attr-defined]
for _middleware in (OneErrorShape, UploadGate, GetAbout):
    DeepfakeDetector.add_asgi_middleware(_middleware)  # type: ignore[attr-defined]
