"""One real crew of two workers and the whole application in this process, without a socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from deepfake_detector.model.bundle import Bundle
from deepfake_detector.serving.dispatcher import Desk
from deepfake_detector.serving.middleware import Guard
from deepfake_detector.serving.options import Options
from deepfake_detector.serving.routes import COUNTED, application

READY_S = 150
NAMED = {"name": "pretrained", "version": "1", "reason": "the model that ships with the code"}


@dataclass(frozen=True)
class Served:
    """The application, and how to ask it."""

    desk: Desk
    app: Guard
    log: Path  # of predictions

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """One request."""
        return self.ask_many([(method, path, request)])[0]

    def ask_many(self, requests: list[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
        """Requests at the same time."""

        async def run() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
                return list(await asyncio.gather(*(client.request(m, path, **kwargs) for m, path, kwargs in requests)))

        return asyncio.run(run())

    def wait_ready(self, workers: int = 1) -> None:
        """Until so many workers can work."""
        deadline = time.monotonic() + READY_S
        while self.desk.crew.ready < workers:
            assert time.monotonic() < deadline, "no worker is ready"
            time.sleep(0.02)


def serve(desk: Desk, log: Path) -> Served:
    app = application(Path(__file__).parent)  # any folder: Swagger UI's files are BentoML's
    app.state.desk = desk
    return Served(desk, Guard(app, lambda: app.state.desk.token, lambda: app.state.desk.metrics, COUNTED), log)


@pytest.fixture(scope="module")
def served(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("log") / "deep" / "predictions.jsonl"
    desk = Desk(tiny_bundle, NAMED, Options(workers=2, prediction_log=log))
    desk.start()
    try:
        found = serve(desk, log)
        found.wait_ready(2)
        yield found
    finally:
        desk.stop()


@pytest.fixture
def idle(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Served]:
    """Makes an application whose workers are never started."""

    def make(**options: Any) -> Served:
        return serve(Desk(tiny_bundle, NAMED, Options(workers=1, **options)), tmp_path_factory.mktemp("log"))

    return make
