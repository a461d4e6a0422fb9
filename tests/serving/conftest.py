"""The whole application in this process, without a socket, with a pool of two real workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from deepfake_detector.model.bundle import Bundle
from deepfake_detector.serving.dispatcher import Dispatcher
from deepfake_detector.serving.middleware import ServiceMiddleware
from deepfake_detector.serving.openapi import ModelIdentity
from deepfake_detector.serving.options import ServingOptions
from deepfake_detector.serving.routes import METRIC_ROUTES, create_app
from tests.serving.job_services import running_redis

READY_TIMEOUT_S = 150
IDENTITY = ModelIdentity("pretrained", "1", "the model that ships with the code")


@dataclass(frozen=True)
class Served:
    """The application, and requests to it."""

    dispatcher: Dispatcher
    app: ServiceMiddleware
    prediction_log: Path

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request."""
        return self.request_many([(method, path, options)])[0]

    def request_many(self, requests: list[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
        """Send requests at the same time."""

        async def run() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
                return list(
                    await asyncio.gather(*(client.request(m, path, **options) for m, path, options in requests))
                )

        return asyncio.run(run())

    def wait_ready(self, workers: int = 1) -> None:
        """Wait until so many workers are ready."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while self.dispatcher.pool.ready < workers:
            assert time.monotonic() < deadline, "no worker is ready"
            time.sleep(0.02)


def serve(dispatcher: Dispatcher, prediction_log: Path) -> Served:
    app = create_app(Path(__file__).parent, lambda: {"routes": []})  # Swagger UI and the schema belong to BentoML
    app.state.dispatcher = dispatcher
    return Served(dispatcher, ServiceMiddleware(app, app, METRIC_ROUTES), prediction_log)


@pytest.fixture(scope="module")
def served(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("log") / "deep" / "predictions.jsonl"
    dispatcher = Dispatcher(tiny_bundle, IDENTITY, ServingOptions(workers=2, prediction_log=log))
    dispatcher.start()
    try:
        served = serve(dispatcher, log)
        served.wait_ready(2)
        yield served
    finally:
        dispatcher.stop()


@pytest.fixture
def idle(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Served]:
    """Returns a function that makes an application without running workers."""

    def make(**options: Any) -> Served:
        dispatcher = Dispatcher(tiny_bundle, IDENTITY, ServingOptions(workers=1, **options))
        return serve(dispatcher, tmp_path_factory.mktemp("log"))

    return make


@pytest.fixture(scope="module")
def redis_server() -> Iterator[str]:
    with running_redis() as address:
        yield address


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """Address of an empty Redis."""
    redis.Redis.from_url(redis_server).flushall()
    return redis_server
