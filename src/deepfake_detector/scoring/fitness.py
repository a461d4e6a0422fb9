"""A found face (box and landmarks in px) -> why it cannot be judged, or None."""

from __future__ import annotations

import math

import numpy as np

from deepfake_detector.media.face import Face

# The nose over an eye or beyond it, along the line between the eyes: one half of the face is out of sight.
MAX_TURN = 0.5


def why_not(face: Face, min_face_px: int) -> str | None:
    """Why a face cannot be judged; None when it can.

    Args:
        face: as found.
        min_face_px: the smallest side the model was trained and tested on.
    """
    if face.side_px < min_face_px:
        return f"its shorter side has {face.side_px:.0f} px, under the {min_face_px} px this model judges"
    right_eye, left_eye, nose = face.landmarks_px[:3].astype(np.float64)
    eyes = left_eye - right_eye
    width_px = math.hypot(*eyes)
    turn = abs(float((nose - (right_eye + left_eye) / 2) @ eyes)) / width_px**2 if width_px > 0 else math.inf
    if turn > MAX_TURN:
        return f"it is turned too far away: the nose lies {turn:.1f} eye distances off the middle, at most {MAX_TURN}"
    return None
