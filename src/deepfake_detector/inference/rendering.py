"""Scored faces or a video's verdict -> a picture that explains the answer, uint8 RGB (height, width, 3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from deepfake_detector.inference.decision import decide
from deepfake_detector.inference.heatmap import LABEL_COLOURS, render_heatmap
from deepfake_detector.inference.scored_face import ScoredFace
from deepfake_detector.inference.verdict import Label, VideoVerdict
from deepfake_detector.model.bundle import Thresholds

MAX_SIDE_PX = 1600
TILE_PX = 224
PLOT_PX, EDGE_PX = (960, 360), 84


def render_image_explanation(
    rgb: NDArray[np.uint8], scored: Sequence[ScoredFace], thresholds: Thresholds
) -> NDArray[np.uint8]:
    """Draw boxes and scores into a picture, and below it each scored face beside its heatmap.

    Args:
        rgb: the picture, (height, width, 3).
        scored: its faces.
        thresholds: decide the colours of the boxes.
    """
    page = Image.fromarray(rgb)
    page.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    scale = page.width / rgb.shape[1]
    draw = ImageDraw.Draw(page)
    for number, face in enumerate(scored, 1):
        _draw_box(draw, face, number, scale, thresholds)
    tiles = _tiles([(number, face) for number, face in enumerate(scored, 1) if face.crop is not None], page.width)
    whole = Image.new("RGB", (max(page.width, tiles.width), page.height + tiles.height), "white")
    whole.paste(page, (0, 0))
    whole.paste(tiles, (0, page.height))
    return np.array(whole)


def render_timeline(verdict: VideoVerdict) -> NDArray[np.uint8]:
    """Plot the highest p_fake of each sampled frame over time, with cuts and the two thresholds."""
    page = Image.new("RGB", PLOT_PX, "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(16)
    end_s, thresholds = max(verdict.duration_s, 1e-9), verdict.thresholds
    _draw_axes(draw, end_s, font)
    for shot in verdict.shots[1:]:
        x, _ = _plot_point(shot.start_s, 0, end_s)
        draw.line([(x, EDGE_PX), (x, PLOT_PX[1] - EDGE_PX)], fill="silver")
        draw.text((x + 3, EDGE_PX), "cut", fill="grey", font=font)
    levels: list[tuple[Label, float]] = [("fake", thresholds.flag), ("real", thresholds.clear)]
    for name, level in levels:
        x, y = _plot_point(end_s, level, end_s)
        draw.line([_plot_point(0, level, end_s), (x, y)], fill=LABEL_COLOURS[name], width=1)
        draw.text((x + 6, y), f"{name} {level:.2f}", fill=LABEL_COLOURS[name], font=font, anchor="lm")
    points = [(point.t_s, point.p_fake) for point in verdict.timeline if point.p_fake is not None]
    draw.line([_plot_point(t_s, p, end_s) for t_s, p in points], fill="black", width=2)
    for t_s, p in points:
        x, y = _plot_point(t_s, p, end_s)
        draw.ellipse([x - 5, y - 5, x + 5, y + 5], fill=LABEL_COLOURS[decide(p, thresholds)])
    evidence = "no trace found" if verdict.verdict == "real" else f"{verdict.evidence} evidence"
    summary = "no face scored" if verdict.p_fake is None else f"p_fake {verdict.p_fake:.3f}, {evidence}"
    draw.text((EDGE_PX, 20), f"{verdict.verdict}: {summary}", fill="black", font=font)
    return np.array(page)


def _plot_point(t_s: float, p: float, end_s: float) -> tuple[float, float]:
    """Position in the plot, px."""
    width_px, height_px = PLOT_PX
    return EDGE_PX + (width_px - 2 * EDGE_PX) * t_s / end_s, height_px - EDGE_PX - (height_px - 2 * EDGE_PX) * p


def _draw_axes(draw: ImageDraw.ImageDraw, end_s: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> None:
    draw.rectangle([_plot_point(0, 1, end_s), _plot_point(end_s, 0, end_s)], outline="black")
    for fifth in range(6):
        x, y = _plot_point(end_s * fifth / 5, 0, end_s)
        draw.text((x, y + 6), f"{end_s * fifth / 5:.1f} s", fill="black", font=font, anchor="mt")
    for p in (0.0, 0.5, 1.0):
        x, y = _plot_point(0, p, end_s)
        draw.text((x - 6, y), f"{p:.1f}", fill="black", font=font, anchor="rm")
    draw.text((PLOT_PX[0] / 2, PLOT_PX[1] - 12), "highest p_fake of each frame", fill="grey", font=font, anchor="mb")


def _draw_box(draw: ImageDraw.ImageDraw, scored: ScoredFace, number: int, scale: float, thresholds: Thresholds) -> None:
    x, y, width, height = (v * scale for v in scored.face.box_px)
    colour = LABEL_COLOURS[decide(scored.p_fake, thresholds)]
    draw.rectangle([x, y, x + width, y + height], outline=colour, width=3)
    text = f"{number}: not scored" if scored.p_fake is None else f"{number}: p_fake {scored.p_fake:.3f}"
    font = ImageFont.load_default(16)
    corner = (max(x, 0), max(y - 20, 0))
    draw.rectangle(draw.textbbox(corner, text, font=font), fill=colour)
    draw.text(corner, text, fill="white", font=font)


def _tiles(scored: Sequence[tuple[int, ScoredFace]], width_px: int) -> Image.Image:
    """Rows of tiles: each face, its number in the picture, and its heatmap."""
    columns = max(1, width_px // (2 * TILE_PX))
    rows = -(-len(scored) // columns)
    used_px = min(columns, max(len(scored), 1)) * 2 * TILE_PX if scored else 1
    page = Image.new("RGB", (used_px, rows * TILE_PX), "white")
    for index, (number, face) in enumerate(scored):
        left, top = index % columns * 2 * TILE_PX, index // columns * TILE_PX
        page.paste(_tile(face, False), (left, top))
        page.paste(_tile(face, True), (left + TILE_PX, top))
        ImageDraw.Draw(page).text((left + 6, top + 4), str(number), fill="white", font=ImageFont.load_default(18))
    return page


def _tile(scored: ScoredFace, with_heatmap: bool) -> Image.Image:
    assert scored.crop is not None
    assert scored.logit_map is not None
    crop = Image.fromarray(scored.crop).resize((TILE_PX, TILE_PX), Image.Resampling.BICUBIC)
    if not with_heatmap:
        return crop
    grey = crop.convert("L").convert("RGBA")
    grey.alpha_composite(Image.fromarray(render_heatmap(scored.logit_map, TILE_PX)))
    return grey.convert("RGB")
