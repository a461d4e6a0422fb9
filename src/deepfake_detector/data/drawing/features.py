"""Traits -> eyes, brows, nose, mouth, beard and glasses on the canvas; face units as in geometry.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.data.drawing.canvas import Canvas, Colour, Mask, mask
from deepfake_detector.data.drawing.geometry import Points, curve, ellipse, mirrored, points, ribbon
from deepfake_detector.data.drawing.traits import Traits

WHITE = np.array([0.95, 0.94, 0.92], np.float32)
DARK = np.array([0.07, 0.05, 0.05], np.float32)


def paint_eyes(canvas: Canvas, who: Traits, gaze: tuple[float, float]) -> None:
    """Sockets, white, iris, pupil, glint, lids, lashes and brows, left and right."""
    for side in (-1, 1):
        _eye(canvas, who, side, gaze)
        _brow(canvas, who, side)


def _eye(canvas: Canvas, who: Traits, side: int, gaze: tuple[float, float]) -> None:
    up, down = 0.105 * who.eye_open, 0.07 * who.eye_open
    upper = curve([(-0.24, 0.02), (-0.12, -up * 0.8), (0.02, -up), (0.15, -up * 0.62), (0.245, 0.0)])
    lower = curve([(0.245, 0.0), (0.12, down * 0.85), (0.0, down), (-0.14, down * 0.7), (-0.24, 0.02)])
    place = _placed(who, side)
    opening = place(np.concatenate([upper, lower]))
    inside = mask(opening, 0.4)
    unit = who.pose.eye_distance_px
    canvas.shade(place(ellipse(0.0, -0.04, 0.34, 0.24)), 0.86, 0.09 * unit)
    canvas.shade(place(ribbon(curve([(-0.2, 0.15), (0.0, 0.2), (0.2, 0.14)]), 0.05)), 0.9 - 0.08 * who.age, 0.03 * unit)
    canvas.fill(opening, WHITE * np.float32(0.93), 1.0, 0.4)
    canvas.shade(place(ribbon(upper, 0.13)), 0.62, 0.03 * unit, within=inside)
    x, y = gaze[0] * side, gaze[1]
    canvas.fill(place(ellipse(x, y - 0.01, 0.112, 0.112)), who.iris * np.float32(0.5), 1.0, 0.5, within=inside)
    canvas.fill(place(ellipse(x, y - 0.005, 0.092, 0.092)), who.iris * np.float32(1.1), 1.0, 0.8, within=inside)
    canvas.fill(place(ellipse(x, y - 0.01, 0.045, 0.045)), DARK, 1.0, 0.5, within=inside)
    glint = who.light[0] * 0.05 * side
    canvas.fill(place(ellipse(x + glint, y - 0.05, 0.024, 0.024)), WHITE, 0.95, 0.4)
    lash = np.minimum(who.hair, np.float32(0.25)) * np.float32(0.7)
    canvas.fill(place(ribbon(upper, 0.035 + 0.02 * who.lip, 0.3, 0.6)), lash, 0.95, 0.4)
    canvas.fill(place(ribbon(lower, 0.018, 0.3, 0.3)), lash, 0.45, 0.5)
    crease = curve([(-0.22, -0.06), (-0.08, -up - 0.06), (0.1, -up - 0.06), (0.25, -0.06)])
    canvas.shade(place(ribbon(crease, 0.03)), 0.72, 0.5)


def _brow(canvas: Canvas, who: Traits, side: int) -> None:
    arch = 0.04 + 0.05 * who.lip
    line = curve([(-0.27, -0.27), (-0.05, -0.32 - arch * 0.7), (0.15, -0.32 - arch), (0.34, -0.25)])
    colour = np.clip(who.hair * np.float32(0.75), 0.05, 0.6)
    stroke = _placed(who, side)(ribbon(line, who.brow_width, 0.75, 0.1))
    canvas.fill(stroke, colour, 0.85, 0.9)


def _placed(who: Traits, side: int) -> Callable[[Points], Points]:
    """Shapes around one eye -> pixels."""

    def place(shape: Points) -> Points:
        turned = shape if side > 0 else mirrored(shape)
        return who.pose.on_face(turned + np.array([0.5 * side, 0.0], np.float32))

    return place


def paint_nose(canvas: Canvas, who: Traits) -> None:
    """Bridge and ball by light and shadow, wings, nostrils, the shadow below."""
    unit, wide = who.pose.eye_distance_px, who.nose_width
    dark = -1 if who.light[0] > 0 else 1
    on = who.pose.on_face
    bridge = curve([(0.13, -0.2), (0.08, 0.1), (0.1, 0.35), (0.17, 0.55)])
    canvas.shade(on(ribbon(bridge * np.array([dark * wide, 1], np.float32), 0.11, 0.3, 0.8), 0.1), 0.83, 0.05 * unit)
    ridge = curve([(0.0, -0.1), (0.0, 0.2), (0.0, 0.5)])
    canvas.shade(on(ribbon(ridge, 0.09, 0.3, 0.8), 0.22), 1.1, 0.035 * unit)
    canvas.shade(on(ellipse(0.0, 0.52, 0.12 * wide, 0.1), 0.25), 1.09, 0.04 * unit)
    canvas.shade(on(ellipse(0.0, 0.71, 0.25 * wide, 0.07), 0.1), 0.74, 0.04 * unit)
    for side in (-1, 1):
        turn = np.array([side * wide, 1], np.float32)
        wing = curve([(0.18, 0.45), (0.26, 0.55), (0.24, 0.65), (0.15, 0.66)])
        canvas.shade(on(ribbon(wing * turn, 0.045, 0.1, 0.3), 0.1), 0.7, 0.7)
        nostril = ellipse(0.1, 0.65, 0.062, 0.032, 0.3) * turn
        canvas.fill(on(nostril, 0.14), who.skin * np.float32(0.26), 0.85, 0.7)
        fold = curve([(0.29, 0.62), (0.4, 0.78), (0.47, 0.98)])
        deep = 0.97 - 0.13 * who.age - 0.08 * who.smile
        canvas.shade(on(ribbon(fold * np.array([side, 1], np.float32), 0.05, 0.2, 0.1)), deep, 0.02 * unit)


def paint_mouth(canvas: Canvas, who: Traits) -> None:
    """Lips, the line between them or teeth, the shadow under the lower lip."""
    wide, lift, unit = who.mouth_width * (1 + 0.15 * who.smile), 0.09 * who.smile, who.pose.eye_distance_px
    gap = 0.1 * max(who.smile, 0.3) if who.teeth else 0.0
    on = who.pose.on_face
    corner = 1.06 - lift
    bow = curve([(-wide, corner), (-0.12, 0.975), (0, 0.995), (0.12, 0.975), (wide, corner)], 32)
    top = curve([(-wide, corner), (0, 1.05 + lift * 0.2), (wide, corner)], 32)
    base = curve([(-wide, corner), (0, 1.05 + lift * 0.2 + gap * 1.6), (wide, corner)], 32)
    under = curve([(-wide, corner), (-0.16, 1.165 + gap), (0.16, 1.165 + gap), (wide, corner)], 32)
    red = _lip_colour(who)
    canvas.shade(on(ellipse(0, 1.27 + gap, 0.24, 0.06)), 0.84, 0.05 * unit)
    canvas.fill(on(np.concatenate([bow, top[::-1]])), red * np.float32(0.82), 0.9, 0.8)
    canvas.fill(on(np.concatenate([base, under[::-1]])), red, 0.9, 0.9)
    canvas.shade(on(ellipse(0.0, 1.115 + gap, 0.13, 0.022)), 1.14, 0.02 * unit)
    if gap > 0:
        mouth = on(np.concatenate([top, base[::-1]]))
        canvas.fill(mouth, np.array([0.25, 0.08, 0.08], np.float32), 1.0, 0.5)
        row = on(
            points(
                (-wide * 0.8, 0.9), (wide * 0.8, 0.9), (wide * 0.66, 1.05 + gap * 1.0), (-wide * 0.66, 1.05 + gap * 1.0)
            )
        )
        canvas.fill(row, WHITE * np.float32(0.93), 0.95, 0.6, within=mask(mouth, 0.6))
    canvas.shade(on(ribbon(top, 0.03, 0.5, 0.5)), 0.5, 0.6)


def _lip_colour(who: Traits) -> Colour:
    bare = who.skin * np.array([0.88, 0.66, 0.64], np.float32)
    painted = np.array([0.68, 0.2, 0.24], np.float32) * np.float32(0.5 + 0.6 * float(who.skin.mean()))
    return bare + (painted - bare) * np.float32(who.lip * 0.75)


def beard_cover(who: Traits, face: Mask) -> Mask:
    """Where hair grows on cheeks, chin and lip, 0..1; `face` keeps it on the head."""
    unit, on = who.pose.eye_distance_px, who.pose.on_face
    grows = np.zeros_like(face)
    if who.beard:
        edge = curve(
            [(-1.25, 0.25), (-0.85, 0.72), (-0.48, 0.86), (0, 0.84), (0.48, 0.86), (0.85, 0.72), (1.25, 0.25)], 40
        )
        area = np.concatenate([edge, points((1.5, 2.2), (-1.5, 2.2))])
        grows = mask(on(area), 0.06 * unit) * face * np.float32(min(0.25 + who.beard, 0.95))
    if who.beard > 0.5 or who.moustache:
        lip = curve([(-0.45, 1.02), (-0.2, 0.84), (0, 0.85), (0.2, 0.84), (0.45, 1.02)], 30)
        grows = np.maximum(grows, 0.9 * mask(on(ribbon(lip, 0.17, 0.4, 0.4)), 0.025 * unit))
    bare = mask(on(ellipse(0, 1.09, who.mouth_width * 0.95, 0.11)), 0.03 * unit)
    return (grows * (1 - bare)).astype(np.float32)


def paint_glasses(canvas: Canvas, who: Traits, frame: Colour) -> None:
    """Two rims, a bridge, temples, and a faint reflection."""
    power = 0.5 if who.glasses == "round" else 0.28
    t = np.linspace(0, 2 * np.pi, 60)
    ring = np.stack([_spread(np.cos(t), power) * 0.36, _spread(np.sin(t), power) * 0.27 + 0.03], axis=1)
    on = who.pose.on_face
    for side in (-1, 1):
        rim = (ring + np.array([0.5 * side, 0.0])).astype(np.float32)
        canvas.fill(on(rim, 0.12), np.array([0.8, 0.87, 0.95], np.float32), 0.09)
        canvas.shade(on(rim + np.array([0, 0.06], np.float32), 0.0), 0.94, 2.0)
        canvas.fill(on(np.concatenate([rim * 1.0, _inner(rim, side)[::-1]]), 0.12), frame, 0.95, 0.4)
        temple = curve([(0.86 * side, -0.04), (1.0 * side, -0.05), (1.12 * side, 0.0)], 8)
        canvas.fill(on(ribbon(temple, 0.055, 1, 1), 0.0), frame, 0.9, 0.5)
    canvas.fill(on(ribbon(curve([(-0.15, 0.0), (0, -0.05), (0.15, 0.0)], 12), 0.05, 1, 1), 0.16), frame, 0.95, 0.4)


def _inner(rim: Points, side: int) -> Points:
    middle = np.array([0.5 * side, 0.03], np.float32)
    return middle + (rim - middle) * np.float32(0.87)


def _spread(wave: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """Rounds or squares an ellipse: power 0.5 is an ellipse, less a box."""
    return np.asarray(np.sign(wave) * np.abs(wave) ** (0.5 + power))
