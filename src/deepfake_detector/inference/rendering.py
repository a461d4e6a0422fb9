"""Verdicts and logit maps -> pictures that explain them, uint8 (height, width, 3): boxed faces, heat, a timeline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from deepfake_detector.inference.decision import decide
from deepfake_detector.inference.heatmap import COLOURS, heat_of
from deepfake_detector.inference.scored_face import Judged
from deepfake_detector.inference.verdict import Answer, VideoVerdict
from deepfake_detector.model.bundle import Thresholds

MAX_SIDE_PX = 1600
TILE_PX = 224
PLOT_PX, EDGE_PX = (960, 360), 84


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
    """Plot p_fake of the most suspicious face of each sampled frame over time, with cuts and the two thresholds."""
    page = Image.new("RGB", PLOT_PX, "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(16)
    end_s, marks = max(verdict.duration_s, 1e-9), verdict.model.thresholds
    _axes(draw, end_s, font)
    for cut in verdict.shots[1:]:
        x, _ = _at(cut.start_s, 0, end_s)
        draw.line([(x, EDGE_PX), (x, PLOT_PX[1] - EDGE_PX)], fill="silver")
        draw.text((x + 3, EDGE_PX), "cut", fill="grey", font=font)
    levels: list[tuple[Answer, float]] = [("fake", marks.flag), ("real", marks.clear)]
    for name, level in levels:
        x, y = _at(end_s, level, end_s)
        draw.line([_at(0, level, end_s), (x, y)], fill=COLOURS[name], width=1)
        draw.text((x + 6, y), f"{name} {level:.2f}", fill=COLOURS[name], font=font, anchor="lm")
    known = [(m.t_s, m.p_fake) for m in verdict.timeline if m.p_fake is not None]
    draw.line([_at(t_s, p, end_s) for t_s, p in known], fill="black", width=2)
    for t_s, p in known:
        x, y = _at(t_s, p, end_s)
        draw.ellipse([x - 5, y - 5, x + 5, y + 5], fill=COLOURS[decide(p, marks)])
    said = "no face judged" if verdict.p_fake is None else f"p_fake {verdict.p_fake:.3f}, {verdict.evidence} evidence"
    draw.text((EDGE_PX, 20), f"{verdict.verdict}: {said}", fill="black", font=font)
    return np.array(page)


def _at(t_s: float, p: float, end_s: float) -> tuple[float, float]:
    """Place in the plot, px."""
    width_px, height_px = PLOT_PX
    return EDGE_PX + (width_px - 2 * EDGE_PX) * t_s / end_s, height_px - EDGE_PX - (height_px - 2 * EDGE_PX) * p


def _axes(draw: ImageDraw.ImageDraw, end_s: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> None:
    draw.rectangle([_at(0, 1, end_s), _at(end_s, 0, end_s)], outline="black")
    for fifth in range(6):
        x, y = _at(end_s * fifth / 5, 0, end_s)
        draw.text((x, y + 6), f"{end_s * fifth / 5:.1f} s", fill="black", font=font, anchor="mt")
    for p in (0.0, 0.5, 1.0):
        x, y = _at(0, p, end_s)
        draw.text((x - 6, y), f"{p:.1f}", fill="black", font=font, anchor="rm")
    draw.text(
        (PLOT_PX[0] / 2, PLOT_PX[1] - 12), "p_fake of the most suspicious face", fill="grey", font=font, anchor="mb"
    )


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
