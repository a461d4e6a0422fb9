"""Logit maps (h, w) and crops (side, side, 3) of judged faces -> heat to lay over them, uint8 (side, side, 4)."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.inference.scored_face import Judged
from deepfake_detector.inference.verdict import Answer, Explanation, PlacePx
from deepfake_detector.media.face_alignment import corners
from deepfake_detector.media.image import encode_png

# Told apart by colour-blind people too (Okabe and Ito): vermilion, bluish green, grey.
COLOURS: dict[Answer, tuple[int, int, int]] = {
    "fake": (213, 94, 0),
    "real": (0, 158, 115),
    "inconclusive": (110, 110, 110),
}
FULL_HEAT_LOGIT = 4.0  # p 0.98 before calibration: as dense as heat gets
FULL_HEAT_ALPHA = 170  # of 255: the face stays visible below


def heat_of(logit_map: NDArray[np.float32], side_px: int) -> NDArray[np.uint8]:
    """Colour where the evidence lies, vermilion for a fake and green for a real face; transparent where there is none.

    Args:
        logit_map: (h, w), above 0 speaks for a fake.
        side_px: of the answer.

    Returns:
        uint8 (side_px, side_px, 4), RGBA.
    """
    size = (side_px, side_px)
    level = np.clip(logit_map / FULL_HEAT_LOGIT, -1.0, 1.0)
    alpha = Image.fromarray(np.uint8(np.abs(level) * FULL_HEAT_ALPHA)).resize(size, Image.Resampling.BILINEAR)
    sign = Image.fromarray(np.uint8((level > 0) * 255)).resize(size, Image.Resampling.BILINEAR)
    fake, real = (Image.new("RGB", size, COLOURS[name]) for name in ("fake", "real"))
    colour = Image.composite(fake, real, sign)
    return np.dstack([np.asarray(colour), np.asarray(alpha)])


def explain(judged: Judged, crop_scale: float) -> Explanation | None:
    """What the model was shown of a face, and the heat on it; None for a face that was not judged.

    Args:
        judged: the face.
        crop_scale: of the square cut out, see `Contract`.
    """
    if judged.crop is None or judged.logit_map is None:
        return None
    places: list[PlacePx] = [(round(float(x), 1), round(float(y), 1)) for x, y in corners(judged.face, crop_scale)]
    return Explanation(
        crop_png=_text(judged.crop),
        heatmap_png=_text(heat_of(judged.logit_map, judged.crop.shape[0])),
        corners_px=(places[0], places[1], places[2], places[3]),
    )


def _text(pixels: NDArray[np.uint8]) -> str:
    return base64.b64encode(encode_png(pixels)).decode("ascii")
