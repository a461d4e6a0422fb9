"""Logit map (h, w) and crop uint8 (side, side, 3) of a scored face -> heatmap, uint8 RGBA (side, side, 4)."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.inference.scored_face import ScoredFace
from deepfake_detector.inference.verdict import Explanation, Label, PointPx
from deepfake_detector.media.face_alignment import crop_corners
from deepfake_detector.media.image import encode_png

# Colour-blind people can tell these apart (Okabe and Ito): vermilion, bluish green, grey.
LABEL_COLOURS: dict[Label, tuple[int, int, int]] = {
    "fake": (213, 94, 0),
    "real": (0, 158, 115),
    "inconclusive": (110, 110, 110),
}
MAX_LOGIT = 4.0  # p 0.98 before calibration: the least transparent colour
MIN_CONTRAST_LOGIT = 1.0  # between the highest and the lowest cell; under it the differences say nothing
MAX_ALPHA = 170  # of 255: the face stays visible below


def render_heatmap(logit_map: NDArray[np.float32], side_px: int) -> NDArray[np.uint8]:
    """Draw the evidence, vermilion for a fake and green for a real face; transparent where there is none.

    Args:
        logit_map: (h, w), above 0 is evidence for a fake.
        side_px: side of the heatmap.

    Returns:
        uint8 (side_px, side_px, 4), RGBA.
    """
    size = (side_px, side_px)
    level = np.clip(logit_map / MAX_LOGIT, -1.0, 1.0)
    alpha = Image.fromarray(np.uint8(np.abs(level) * MAX_ALPHA)).resize(size, Image.Resampling.BILINEAR)
    sign = Image.fromarray(np.uint8((level > 0) * 255)).resize(size, Image.Resampling.BILINEAR)
    fake, real = (Image.new("RGB", size, LABEL_COLOURS[name]) for name in ("fake", "real"))
    colour = Image.composite(fake, real, sign)
    return np.dstack([np.asarray(colour), np.asarray(alpha)])


def render_relative_heatmap(logit_map: NDArray[np.float32], side_px: int) -> NDArray[np.uint8] | None:
    """Draw where in the face the evidence for a fake is above the face's own mean, vermilion; transparent elsewhere.

    The heatmap of a sure face is one flat colour, because every cell is beyond `MAX_LOGIT`; this one shows differences.

    Args:
        logit_map: (h, w), above 0 is evidence for a fake.
        side_px: side of the heatmap.

    Returns:
        uint8 (side_px, side_px, 4), RGBA; None where all cells are within `MIN_CONTRAST_LOGIT`.
    """
    if float(np.ptp(logit_map)) < MIN_CONTRAST_LOGIT:
        return None
    above = logit_map - logit_map.mean()
    level = np.clip(above / above.max(), 0.0, 1.0)
    alpha = Image.fromarray(np.uint8(level * MAX_ALPHA)).resize((side_px, side_px), Image.Resampling.BILINEAR)
    colour = Image.new("RGB", (side_px, side_px), LABEL_COLOURS["fake"])
    return np.dstack([np.asarray(colour), np.asarray(alpha)])


def explain_face(scored: ScoredFace, crop_scale: float) -> Explanation | None:
    """The crop of a face and its heatmap; None for a face without a score.

    Args:
        scored: the face.
        crop_scale: of the crop, see `Contract`.
    """
    if scored.crop is None or scored.logit_map is None:
        return None
    relative = render_relative_heatmap(scored.logit_map, scored.crop.shape[0])
    points: list[PointPx] = [(round(float(x), 1), round(float(y), 1)) for x, y in crop_corners(scored.face, crop_scale)]
    return Explanation(
        crop_png=_base64_png(scored.crop),
        heatmap_png=_base64_png(render_heatmap(scored.logit_map, scored.crop.shape[0])),
        relative_png=None if relative is None else _base64_png(relative),
        corners_px=(points[0], points[1], points[2], points[3]),
    )


def _base64_png(pixels: NDArray[np.uint8]) -> str:
    return base64.b64encode(encode_png(pixels)).decode("ascii")
