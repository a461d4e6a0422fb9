"""A face <-> the fifteen figures by which a manifest's row keeps it, float32, to the last bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepfake_detector.media.face import Face

_POINTS = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")  # right and left as the person has them
FACE_COLUMNS = (
    *("face_x_px", "face_y_px", "face_width_px", "face_height_px"),
    *(f"{point}_{axis}_px" for point in _POINTS for axis in "xy"),
    "face_score",
)


def face_figures(face: Face) -> dict[str, float]:
    """The figures of a face by the names of `FACE_COLUMNS`; places in px of the picture."""
    figures = (*face.box_px, *face.landmarks_px.ravel().tolist(), face.score)
    return dict(zip(FACE_COLUMNS, figures, strict=True))


def face_from(figures: Sequence[float]) -> Face:
    """The face, exactly as the detector found it.

    The detector computes in float32. Wider floats hold such figures without loss, so they come back the same.

    Args:
        figures: fifteen, in the order of `FACE_COLUMNS`.
    """
    x, y, width, height, *landmarks, score = (float(figure) for figure in figures)
    return Face((x, y, width, height), np.array(landmarks, np.float32).reshape(5, 2), score)
