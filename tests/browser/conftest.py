"""The real service with the tiny bundle, and real Chromium looking at it.

Both end with each file of tests. Playwright keeps an event loop running in the thread that it is used in, where no
other test could start one, so `make test` runs this folder in a process of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.media.image import encode_png
from deepfake_detector.model.bundle import Bundle

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
START_S, WAIT_MS = 120, 30_000

Visit = Callable[..., Any]


@pytest.fixture(scope="module")
def address(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the service answers; it and its children are killed afterwards, whatever happened."""
    log = tmp_path_factory.mktemp("service") / "log.txt"
    with socket.create_server(("127.0.0.1", 0)) as listening, log.open("wb") as out:
        found = f"http://127.0.0.1:{listening.getsockname()[1]}"
        script, number = Path(__file__).with_name("serve_tiny.py"), listening.fileno()
        command = [sys.executable, str(script), str(tiny_bundle.path), str(number)]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=[number], start_new_session=True
        )
    try:
        wait_until_ready(found, process, log)
        yield found
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def wait_until_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/about", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the service did not start within {START_S} s: {log.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window, with a profile of its own that is thrown away."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: install Debian's package `chromium`")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments, timeout=60_000)
        yield found
        found.close()


@pytest.fixture
def expected() -> list[str]:
    """How the complaints begin that the browser logs by itself and no page can prevent.

    Answers of 4xx; a test that breaks the service on purpose adds what comes of it.
    """
    return ["Failed to load resource: the server responded with a status of 4"]


@pytest.fixture
def visit(browser: Any, address: str, expected: list[str]) -> Iterator[Visit]:
    """A maker of pages that show /ui; afterwards none may have complained or asked another address for anything."""
    contexts, complaints = [], []

    def made(width: int = 1280, height: int = 900, **options: Any) -> Any:
        viewport = {"width": width, "height": height}
        context = browser.new_context(viewport=viewport, reduced_motion="reduce", **options)
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: said.type in ("error", "warning") and complaints.append(said.text))
        page.on("request", lambda request: is_foreign(request.url, address) and complaints.append(request.url))
        page.goto(f"{address}/ui/")
        return page

    yield made
    for context in contexts:
        context.close()
    assert [text for text in complaints if not text.startswith(tuple(expected))] == []


def is_foreign(url: str, address: str) -> bool:
    return not url.startswith((f"{address}/", "data:", "blob:"))


@pytest.fixture(scope="session")
def files(
    red_portrait: NDArray[np.uint8], blue_portrait: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """What people send: pictures that the tiny model calls fake and real, one that lies on its side, a clip, junk."""
    import io

    from PIL import Image

    folder = tmp_path_factory.mktemp("files")
    found = {
        name: folder / name
        for name in ("red.png", "blue.png", "two.png", "turned.jpg", "red.tif", "wall.png", "junk.jpg")
    }
    found["red.png"].write_bytes(encode_png(red_portrait))
    found["blue.png"].write_bytes(encode_png(blue_portrait))
    Image.fromarray(red_portrait).save(found["red.tif"])
    found["two.png"].write_bytes(encode_png(np.concatenate([blue_portrait, red_portrait], axis=1)))
    found["wall.png"].write_bytes(encode_png(np.full((256, 256, 3), 120, np.uint8)))
    found["junk.jpg"].write_bytes(b"no picture")
    # Two faces side by side, stored lying on their left: EXIF 6 says that they are to be turned right.
    upright = Image.fromarray(np.concatenate([blue_portrait, red_portrait], axis=1))
    exif, stored = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(stored, "JPEG", quality=95, exif=exif)
    found["turned.jpg"].write_bytes(stored.getvalue())
    found["clip.webm"] = write_clip(folder / "clip.webm", blue_portrait, red_portrait)
    return found


def write_clip(path: Path, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Path:
    """Four seconds that every browser plays: one person on the left throughout, another on the right from 2 s on."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 640, 256, "yuv420p", 4_000_000
        for number in range(40):
            page = np.full((256, 640, 3), 90, np.uint8)
            page[:, :256] = left
            if number >= 20:
                page[:, 384:] = right
            container.mux(stream.encode(av.VideoFrame.from_ndarray(page, format="rgb24")))
        container.mux(stream.encode())
    return path
