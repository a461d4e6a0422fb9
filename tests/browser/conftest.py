"""The real service with the tiny bundle, and Chromium as its client; both are started once per test file.

Playwright leaves a running event loop in its thread, where other tests could not start one. `make test` therefore runs
this folder in a process of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.media.image import encode_png
from deepfake_detector.model.bundle import Bundle
from tests.service_process import running_service

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WAIT_MS = 30_000

Visit = Callable[..., Any]


@pytest.fixture(scope="module")
def address(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running service; it and its workers are killed afterwards."""
    log = tmp_path_factory.mktemp("service") / "log.txt"
    with running_service(Path(__file__).with_name("serve_tiny.py"), tiny_bundle.path, log) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium with a temporary profile."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments, timeout=60_000)
        yield chromium
        chromium.close()


@pytest.fixture
def expected_messages() -> list[str]:
    """Beginnings of console messages that are not faults of the page: the browser logs every 4xx.

    A test that makes the service fail appends the messages that it causes.
    """
    return ["Failed to load resource: the server responded with a status of 4"]


@pytest.fixture
def visit(browser: Any, address: str, expected_messages: list[str]) -> Iterator[Visit]:
    """Returns a function that opens /ui; fails at the end if a page logged an error or sent a request elsewhere."""
    contexts: list[Any] = []
    problems: list[str] = []

    def check_message(message: Any) -> None:
        if message.type in ("error", "warning"):
            problems.append(message.text)

    def check_request(request: Any) -> None:
        if not request.url.startswith((f"{address}/", "data:", "blob:")):
            problems.append(request.url)

    def open_page(width: int = 1280, height: int = 900, **options: Any) -> Any:
        viewport = {"width": width, "height": height}
        context = browser.new_context(viewport=viewport, reduced_motion="reduce", **options)
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", check_message)
        page.on("request", check_request)
        page.goto(f"{address}/ui/")
        page.locator("#strengths:not([hidden])").wait_for(state="attached")  # it comes late and moves what lies below
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [text for text in problems if not text.startswith(tuple(expected_messages))] == []


@pytest.fixture(scope="session")
def files(
    red_portrait: NDArray[np.uint8], blue_portrait: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Files that people send: a fake and a real picture for the tiny model, one with EXIF rotation, a clip, junk."""
    import io

    from PIL import Image

    folder = tmp_path_factory.mktemp("files")
    paths = {
        name: folder / name
        for name in ("red.png", "blue.png", "two.png", "rotated.jpg", "red.tif", "wall.png", "junk.jpg")
    }
    paths["red.png"].write_bytes(encode_png(red_portrait))
    paths["blue.png"].write_bytes(encode_png(blue_portrait))
    Image.fromarray(red_portrait).save(paths["red.tif"])
    paths["two.png"].write_bytes(encode_png(np.concatenate([blue_portrait, red_portrait], axis=1)))
    paths["wall.png"].write_bytes(encode_png(np.full((256, 256, 3), 120, np.uint8)))
    paths["junk.jpg"].write_bytes(b"no picture")
    # Two faces side by side, stored rotated to the left; EXIF orientation 6 tells viewers to rotate them back.
    upright = Image.fromarray(np.concatenate([blue_portrait, red_portrait], axis=1))
    exif, stored = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(stored, "JPEG", quality=95, exif=exif)
    paths["rotated.jpg"].write_bytes(stored.getvalue())
    paths["clip.webm"] = write_clip(folder / "clip.webm", blue_portrait, red_portrait)
    return paths


def write_clip(path: Path, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Path:
    """Write four seconds that every browser plays: a face on the left, from 2 s on a second one on the right."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 640, 256, "yuv420p", 4_000_000
        for number in range(40):
            frame = np.full((256, 640, 3), 90, np.uint8)
            frame[:, :256] = left
            if number >= 20:
                frame[:, 384:] = right
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path
