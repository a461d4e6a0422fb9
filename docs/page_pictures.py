"""A running service (`make serve`) -> docs/images/page-*.png: screenshots of its page with synthetic faces.

Run it after each change of the page or the pretrained model: `.venv/bin/python docs/page_pictures.py`. It needs
Chromium.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, sync_playwright

from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.media.corruptions import downscale
from deepfake_detector.media.image import decode_image, encode_png

Pixels = NDArray[np.uint8]
ADDRESS = "http://127.0.0.1:3000"
IMAGES = Path(__file__).parent / "images"
FACES, SEED = 4, 2
FACTORS = tuple(round(0.30 + 0.02 * step, 2) for step in range(31))  # of downscaling
SIDE_PX, RATE, SECONDS = 256, 10, 14
WAIT_MS = 120_000


@dataclass(frozen=True, eq=False)
class Face:
    """A synthetic face, the same face after a corruption, and the verdict on the latter."""

    original: Pixels
    corrupted: Pixels
    p_fake: float
    verdict: str


def main() -> None:
    """Take four screenshots with one face that the model calls real and one that it calls fake."""
    real, fake = choose_faces()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("Chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        files = write_files(Path(scratch), real, fake)
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        capture_start(browser)
        capture_picture(browser, files["portrait.png"])
        capture_video(browser, files["interview.webm"])
        capture_phone(browser, list(files.values()))
        browser.close()


def choose_faces() -> tuple[Face, Face]:
    """Return the corrupted face with the lowest score, and another face with the highest score."""
    faces = []
    for i in range(FACES):
        original = decode_image(draw_sample(SEED, "test", "real", i))
        for factor, down in product(FACTORS, ("area", "nearest")):
            pixels = downscale(original, factor, down, "nearest")
            answer = request_verdict(pixels)
            if answer["p_fake"] is not None:
                faces.append(Face(original, pixels, answer["p_fake"], answer["verdict"]))
    real = min(faces, key=lambda face: face.p_fake)
    fake = max((face for face in faces if face.original is not real.original), key=lambda face: face.p_fake)
    if (real.verdict, fake.verdict) != ("real", "fake"):
        sys.exit(f"all faces are inconclusive (scores {real.p_fake:.2f} to {fake.p_fake:.2f}): change SEED or FACES")
    return real, fake


def request_verdict(rgb: Pixels) -> dict[str, Any]:
    """Send an image to the service and return its answer."""
    response = httpx.post(f"{ADDRESS}/predict_image", files={"image": ("face.png", encode_png(rgb))}, timeout=60)
    return dict(response.raise_for_status().json())


def write_files(folder: Path, real: Face, fake: Face) -> dict[str, Path]:
    """Write the files to upload, in the order of the page's list."""
    paths = {name: folder / name for name in ("couple.png", "portrait.png", "interview.webm", "junk.mp4")}
    paths["couple.png"].write_bytes(encode_png(np.concatenate([real.corrupted, fake.corrupted], axis=1)))
    paths["portrait.png"].write_bytes(encode_png(fake.corrupted))
    paths["junk.mp4"].write_bytes(b"no video")
    write_clip(paths["interview.webm"], real, fake)
    return paths


def write_clip(path: Path, real: Face, fake: Face) -> None:
    """Write a clip of two faces; the right one is corrupted from 4.5 s to 11.5 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=RATE)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 640, 320, "yuv420p", 6_000_000
        for number in range(RATE * SECONDS):
            t_s = number / RATE
            frame = np.full((320, 640, 3), (58, 68, 78), np.uint8)
            nod = round(4 * np.sin(t_s))
            frame[36 + nod : 36 + nod + SIDE_PX, 36 : 36 + SIDE_PX] = real.corrupted
            right = fake.corrupted if 4.5 < t_s < 11.5 else fake.original
            frame[28 - nod : 28 - nod + SIDE_PX, 344 : 344 + SIDE_PX] = right
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def visit(browser: Browser, width: int, height: int, **options: Any) -> Page:
    """Open the page and wait until it shows its model."""
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", **options)
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.goto(f"{ADDRESS}/ui/")
    page.get_by_text("trained on").first.wait_for()
    return page


def capture_start(browser: Browser) -> None:
    """Screenshot of the page without files."""
    visit(browser, 1280, 720).screenshot(path=IMAGES / "page-start.png")


def capture_picture(browser: Browser, portrait: Path) -> None:
    """Screenshot of an image with its heatmap."""
    page = visit(browser, 1280, 1160)
    page.set_input_files("#file", portrait)
    page.wait_for_selector(".box")
    switch = page.get_by_role("switch", name="Show the heatmap")
    switch.check()
    page.wait_for_timeout(500)
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=IMAGES / "page-picture.png")


def capture_video(browser: Browser, clip: Path) -> None:
    """Screenshot of a video at its highest score, in dark colours."""
    page = visit(browser, 1280, 1180, color_scheme="dark")
    with page.expect_response("**/predict_video**") as response:
        page.set_input_files("#file", clip)
    page.wait_for_function("() => document.querySelector('video')?.readyState >= 2")
    frames = response.value.json()["timeline"]
    plot = page.get_by_role("slider", name="Moment of the video")
    plot.press("Home")
    scores = [frame["p_fake"] if frame["p_fake"] is not None else 0.0 for frame in frames]
    for _ in range(int(np.argmax(scores))):
        plot.press("ArrowRight")
    page.wait_for_function("() => document.querySelectorAll('.box').length === 2")
    page.wait_for_timeout(500)
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=IMAGES / "page-video.png")


def capture_phone(browser: Browser, files: list[Path]) -> None:
    """Screenshot of several files on a phone, the first one answered while others wait."""
    page = visit(browser, 360, 1500, device_scale_factor=1.5)
    page.set_input_files("#file", files)
    page.locator(".file.fake").first.wait_for()
    page.locator(".file-main").first.click()
    page.wait_for_selector(".box")
    page.screenshot(path=IMAGES / "page-phone.png")


if __name__ == "__main__":
    main()
