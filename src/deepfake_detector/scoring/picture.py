"""Verdicts and logit maps -> pictures that explain them, uint8 (height, width, 3): boxed faces, heat, a timeline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from deepfake_detector.model.bundle import Thresholds
from deepfake_detector.scoring.decision import decide
from deepfake_detector.scoring.heat import COLOURS, heat_of
from deepfake_detector.scoring.judged import Judged
from deepfake_detector.scoring.verdict import Answer, VideoVerdict

MAX_SIDE_PX = 1600
TILE_PX = 224


def explain_image(rgb: NDArray[np.uint8], judged: Sequence[Judged], thresholds: Thresholds) -> NDArray[np.uint8]:
    """Draw boxes and scores into a picture; below it each judged face beside its heat: orange speaks for a fake.

    Args:
        rgb: the picture, (height, width, 3).
        judged: its faces.
        thresholds: they decide the colours.
    """
    page = Image.fromarray(rgb)
    page.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    scale = page.width / rgb.shape[1]
    draw = ImageDraw.Draw(page)
    for number, each in enumerate(judged, 1):
        _box(draw, each, number, scale, thresholds)
    strip = _strip([(n, each) for n, each in enumerate(judged, 1) if each.crop is not None], page.width)
    whole = Image.new("RGB", (max(page.width, strip.width), page.height + strip.height), "white")
    whole.paste(page, (0, 0))
    whole.paste(strip, (0, page.height))
    return np.array(whole)


def explain_video(verdict: VideoVerdict) -> NDArray[np.uint8]:
    """Plot p_fake of the most suspicious face of each sampled frame over time, with the two thresholds."""
    width_px, height_px, edge_px = 960, 360, 60
    page = Image.new("RGB", (width_px, height_px), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(16)

    def at(t_s: float, p: float) -> tuple[float, float]:
        x = edge_px + (width_px - 2 * edge_px) * t_s / max(verdict.duration_s, 1e-9)
        return x, height_px - edge_px - (height_px - 2 * edge_px) * p

    marks: list[tuple[Answer, float]] = [
        ("fake", verdict.model.thresholds.flag),
        ("real", verdict.model.thresholds.clear),
    ]
    for name, level in marks:
        draw.line([at(0, level), at(verdict.duration_s, level)], fill=COLOURS[name], width=1)
        draw.text(at(0, level), f"{name} {level:.2f}", fill=COLOURS[name], font=font, anchor="ls")
    draw.rectangle([at(0, 1), at(verdict.duration_s, 0)], outline="black")
    known = [(m.t_s, m.p_fake) for m in verdict.timeline if m.p_fake is not None]
    draw.line([at(t_s, p) for t_s, p in known], fill="black", width=2)
    for t_s, p in known:
        x, y = at(t_s, p)
        draw.ellipse([x - 5, y - 5, x + 5, y + 5], fill=COLOURS[decide(p, verdict.model.thresholds)])
    said = "no face judged" if verdict.p_fake is None else f"p_fake {verdict.p_fake:.3f}"
    draw.text((edge_px, 20), f"{verdict.verdict}: {said}", fill="black", font=font)
    draw.text(
        (edge_px, height_px - 40), f"0 s to {verdict.duration_s:.1f} s; up: p_fake, 0 to 1", fill="black", font=font
    )
    return np.array(page)


def _box(draw: ImageDraw.ImageDraw, judged: Judged, number: int, scale: float, thresholds: Thresholds) -> None:
    x, y, width, height = (v * scale for v in judged.face.box_px)
    colour = COLOURS[decide(judged.p_fake, thresholds)]
    draw.rectangle([x, y, x + width, y + height], outline=colour, width=3)
    text = f"{number}: not judged" if judged.p_fake is None else f"{number}: p_fake {judged.p_fake:.3f}"
    font = ImageFont.load_default(16)
    place = (max(x, 0), max(y - 20, 0))
    draw.rectangle(draw.textbbox(place, text, font=font), fill=colour)
    draw.text(place, text, fill="white", font=font)


def _strip(judged: Sequence[tuple[int, Judged]], width_px: int) -> Image.Image:
    """Rows of tiles: each face and its heat."""
    columns = max(1, width_px // (2 * TILE_PX))
    rows = -(-len(judged) // columns)
    strip = Image.new(
        "RGB", (min(columns, max(len(judged), 1)) * 2 * TILE_PX if judged else 1, rows * TILE_PX), "white"
    )
    for place, (number, each) in enumerate(judged):
        left, top = place % columns * 2 * TILE_PX, place // columns * TILE_PX
        for tile, offset in ((_tile(each, False), 0), (_tile(each, True), TILE_PX)):
            strip.paste(tile, (left + offset, top))
        ImageDraw.Draw(strip).text((left + 6, top + 4), str(number), fill="white", font=ImageFont.load_default(18))
    return strip


def _tile(judged: Judged, heated: bool) -> Image.Image:
    assert judged.crop is not None
    assert judged.logit_map is not None
    crop = Image.fromarray(judged.crop).resize((TILE_PX, TILE_PX), Image.Resampling.BICUBIC)
    if not heated:
        return crop
    grey = crop.convert("L").convert("RGBA")
    grey.alpha_composite(Image.fromarray(heat_of(judged.logit_map, TILE_PX)))
    return grey.convert("RGB")
