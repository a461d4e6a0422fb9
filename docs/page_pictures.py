"""A running service (`make serve`) -> docs/images/page-*.png: what its page makes of people whom our own code draws.

Run it anew whenever a model ships: `.venv/bin/python docs/page_pictures.py`. It needs Chromium.
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
from deepfake_detector.media.corruptions import shrink_and_enlarge
from deepfake_detector.media.image import decode_image, encode_png

Pixels = NDArray[np.uint8]
ADDRESS = "http://127.0.0.1:3000"
IMAGES = Path(__file__).parent / "images"
PEOPLE, SEED = 12, 3
FACTORS = tuple(round(0.30 + 0.02 * step, 2) for step in range(31))  # shrunk by, then enlarged with hard pixels
SIDE_PX, RATE, SECONDS = 256, 10, 14
WAIT_MS = 120_000


@dataclass(frozen=True, eq=False)
class Person:
    """Somebody drawn, and how the model sees them: as they are shrunk and enlarged."""

    drawn: Pixels
    seen: Pixels
    p_fake: float
    verdict: str


def main() -> None:
    """One person whom the model lets pass and one to whom it objects: as picture, as clip, on a phone."""
    calm, odd = cast()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("there is no Chromium here: install Debian's package `chromium`")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        files = write_files(Path(scratch), calm, odd)
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        show_start(browser)
        show_picture(browser, files["portrait.png"])
        show_video(browser, files["interview.webm"])
        show_phone(browser, list(files.values()))
        browser.close()


def cast() -> tuple[Person, Person]:
    """Of all people in all sizes the one with the lowest score, and another one with the highest."""
    seen = []
    for i in range(PEOPLE):
        drawn = decode_image(draw_sample(SEED, "test", "real", i))
        for factor, down in product(FACTORS, ("area", "nearest")):
            pixels = shrink_and_enlarge(drawn, factor, down, "nearest")
            answer = verdict(pixels)
            if answer["p_fake"] is not None:
                seen.append(Person(drawn, pixels, answer["p_fake"], answer["verdict"]))
    calm = min(seen, key=lambda person: person.p_fake)
    odd = max((each for each in seen if each.drawn is not calm.drawn), key=lambda person: person.p_fake)
    if (calm.verdict, odd.verdict) != ("real", "fake"):
        sys.exit(f"the model decides about nobody here (scores {calm.p_fake:.2f} to {odd.p_fake:.2f}): draw others")
    return calm, odd


def verdict(rgb: Pixels) -> dict[str, Any]:
    """What the service says."""
    answer = httpx.post(f"{ADDRESS}/predict_image", files={"image": ("person.png", encode_png(rgb))}, timeout=60)
    return dict(answer.raise_for_status().json())


def write_files(folder: Path, calm: Person, odd: Person) -> dict[str, Path]:
    """What is dropped on the page, in the order of its list."""
    written = {name: folder / name for name in ("couple.png", "portrait.png", "interview.webm", "junk.mp4")}
    written["couple.png"].write_bytes(encode_png(np.concatenate([calm.seen, odd.seen], axis=1)))
    written["portrait.png"].write_bytes(encode_png(odd.seen))
    written["junk.mp4"].write_bytes(b"no video")
    write_clip(written["interview.webm"], calm, odd)
    return written


def write_clip(path: Path, calm: Person, odd: Person) -> None:
    """Two people in the dark; from 4.5 s to 11.5 s the one on the right is not as drawn."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=RATE)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 640, 320, "yuv420p", 6_000_000
        for number in range(RATE * SECONDS):
            t_s = number / RATE
            page = np.full((320, 640, 3), (58, 68, 78), np.uint8)
            nod = round(4 * np.sin(t_s))
            page[36 + nod : 36 + nod + SIDE_PX, 36 : 36 + SIDE_PX] = calm.seen
            right = odd.seen if 4.5 < t_s < 11.5 else odd.drawn
            page[28 - nod : 28 - nod + SIDE_PX, 344 : 344 + SIDE_PX] = right
            container.mux(stream.encode(av.VideoFrame.from_ndarray(page, format="rgb24")))
        container.mux(stream.encode())


def visit(browser: Browser, width: int, height: int, **options: Any) -> Page:
    """The page, its model named."""
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", **options)
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.goto(f"{ADDRESS}/ui/")
    page.get_by_text("trained on").first.wait_for()
    return page


def show_start(browser: Browser) -> None:
    """Before any file."""
    visit(browser, 1280, 720).screenshot(path=IMAGES / "page-start.png")


def show_picture(browser: Browser, portrait: Path) -> None:
    """The portrait with its heatmap."""
    page = visit(browser, 1280, 1160)
    page.set_input_files("#file", portrait)
    page.wait_for_selector(".box")
    switch = page.get_by_role("switch")
    if switch.get_attribute("aria-checked") != "true":
        switch.click()
    page.wait_for_timeout(500)
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=IMAGES / "page-picture.png")


def show_video(browser: Browser, clip: Path) -> None:
    """The clip at its most suspicious moment, in dark colours."""
    page = visit(browser, 1280, 1180, color_scheme="dark")
    with page.expect_response("**/predict_video**") as asked:
        page.set_input_files("#file", clip)
    page.wait_for_function("() => document.querySelector('video')?.readyState >= 2")
    moments = asked.value.json()["timeline"]
    plot = page.get_by_role("slider", name="Moment of the video")
    plot.press("Home")
    scores = [moment["p_fake"] if moment["p_fake"] is not None else 0.0 for moment in moments]
    for _ in range(int(np.argmax(scores))):
        plot.press("ArrowRight")
    page.wait_for_function("() => document.querySelectorAll('.box').length === 2")
    page.wait_for_timeout(500)
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=IMAGES / "page-video.png")


def show_phone(browser: Browser, files: list[Path]) -> None:
    """Several files, the first one answered while others wait."""
    page = visit(browser, 360, 1500, device_scale_factor=1.5)
    page.set_input_files("#file", files)
    page.locator(".file.fake").first.wait_for()
    page.locator(".file-main").first.click()
    page.wait_for_selector(".box")
    page.screenshot(path=IMAGES / "page-phone.png")


if __name__ == "__main__":
    main()
