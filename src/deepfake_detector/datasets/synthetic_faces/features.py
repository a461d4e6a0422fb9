"""Traits of a person -> hair, eyes, nose, mouth, beard and glasses painted on a canvas; face units as in canvas.py."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from deepfake_detector.datasets.synthetic_faces.canvas import (
    SIDE_PX,
    Canvas,
    Colour,
    Mask,
    Points,
    curve,
    ellipse,
    extent,
    mask,
    mirrored,
    points,
    ribbon,
)
from deepfake_detector.datasets.synthetic_faces.traits import Traits

_STRAND_PX = 450.0  # longer than the distance from the crown to any corner
_EYE_WHITE = np.array([0.95, 0.94, 0.92], np.float32)
_PUPIL = np.array([0.07, 0.05, 0.05], np.float32)


def draw_strands(traits: Traits, rng: np.random.Generator) -> NDArray[np.float32]:
    """Brightness of hair, (256, 256) around 1: lines that start at the crown, or curls."""
    grain = rng.standard_normal((SIDE_PX, SIDE_PX), np.float32)
    if traits.hair_style in ("curly", "cropped"):
        fine = 1.2 if traits.hair_style == "cropped" else 2.4
        blobs = cv2.GaussianBlur(grain, (0, 0), fine)
        return np.asarray(np.clip(1 + 0.22 * blobs / blobs.std(), 0.4, 1.7), np.float32)
    rays = cv2.GaussianBlur(grain, (0, 0), sigmaX=26, sigmaY=1.3)  # columns: radius, rows: angle
    crown = traits.pose.flat(points((traits.parting * 0.5, -2.5)))[0]
    # Without FILL_OUTLIERS, pixels beyond the radius are uninitialized memory: another image on every run.
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR | cv2.WARP_FILL_OUTLIERS
    spread = cv2.warpPolar(rays, (SIDE_PX, SIDE_PX), (float(crown[0]), float(crown[1])), _STRAND_PX, flags)
    return np.asarray(np.clip(1 + 0.17 * spread / (rays.std() + 1e-6), 0.45, 1.6), np.float32)


def paint_hair_behind(canvas: Canvas, traits: Traits, strands: NDArray[np.float32]) -> None:
    """Paint the hair beside and below the face; `strands` (256, 256) around 1 multiplies the colour."""
    shape = _hair_outline_behind(traits)
    if shape is not None:
        _paint_hair(canvas, traits, mask(traits.pose.flat(shape), _edge_blur_px(traits)), strands, 0.72)


def paint_hair_front(canvas: Canvas, traits: Traits, strands: NDArray[np.float32]) -> None:
    """Paint the hair over the skull, without the forehead."""
    if traits.hair_style == "bald":
        return
    skull = mask(traits.pose.flat(_hair_outline_front(traits)), _edge_blur_px(traits))
    cover = skull * (1 - mask(traits.pose.on_face(_forehead(traits)), 2.5))
    _paint_hair(canvas, traits, cover.astype(np.float32), strands, 1.0)


def paint_eyes(canvas: Canvas, traits: Traits, gaze: tuple[float, float]) -> None:
    """Paint sockets, whites, irises, pupils, reflections, lids, lashes and brows."""
    for side in (-1, 1):
        _paint_eye(canvas, traits, side, gaze)
        _paint_brow(canvas, traits, side)


def paint_nose(canvas: Canvas, traits: Traits) -> None:
    """Paint bridge and tip by light and shadow, wings, nostrils and the shadow below."""
    unit, wide = traits.pose.eye_distance_px, traits.nose_width
    dark = -1 if traits.light[0] > 0 else 1
    on = traits.pose.on_face
    bridge = curve([(0.13, -0.2), (0.08, 0.1), (0.1, 0.35), (0.17, 0.55)])
    canvas.shade(on(ribbon(bridge * np.array([dark * wide, 1], np.float32), 0.11, 0.3, 0.8), 0.1), 0.83, 0.05 * unit)
    ridge = curve([(0.0, -0.1), (0.0, 0.2), (0.0, 0.5)])
    canvas.shade(on(ribbon(ridge, 0.09, 0.3, 0.8), 0.22), 1.1, 0.035 * unit)
    canvas.shade(on(ellipse(0.0, 0.52, 0.12 * wide, 0.1), 0.25), 1.09, 0.04 * unit)
    canvas.shade(on(ellipse(0.0, 0.71, 0.25 * wide, 0.07), 0.1), 0.74, 0.04 * unit)
    for side in (-1, 1):
        to_side = np.array([side * wide, 1], np.float32)
        wing = curve([(0.18, 0.45), (0.26, 0.55), (0.24, 0.65), (0.15, 0.66)])
        canvas.shade(on(ribbon(wing * to_side, 0.045, 0.1, 0.3), 0.1), 0.7, 0.7)
        nostril = ellipse(0.1, 0.65, 0.062, 0.032, 0.3) * to_side
        canvas.fill(on(nostril, 0.14), traits.skin * np.float32(0.26), 0.85, 0.7)
        fold = curve([(0.29, 0.62), (0.4, 0.78), (0.47, 0.98)])
        deep = 0.97 - 0.13 * traits.age - 0.08 * traits.smile
        canvas.shade(on(ribbon(fold * np.array([side, 1], np.float32), 0.05, 0.2, 0.1)), deep, 0.02 * unit)


def paint_mouth(canvas: Canvas, traits: Traits) -> None:
    """Paint lips, the line between them or teeth, and the shadow under the lower lip."""
    wide, lift, unit = traits.mouth_width * (1 + 0.15 * traits.smile), 0.09 * traits.smile, traits.pose.eye_distance_px
    gap = 0.1 * max(traits.smile, 0.3) if traits.teeth else 0.0
    on = traits.pose.on_face
    corner = 1.06 - lift
    bow = curve([(-wide, corner), (-0.12, 0.975), (0, 0.995), (0.12, 0.975), (wide, corner)], 32)
    top = curve([(-wide, corner), (0, 1.05 + lift * 0.2), (wide, corner)], 32)
    base = curve([(-wide, corner), (0, 1.05 + lift * 0.2 + gap * 1.6), (wide, corner)], 32)
    under = curve([(-wide, corner), (-0.16, 1.165 + gap), (0.16, 1.165 + gap), (wide, corner)], 32)
    red = _lip_colour(traits)
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
        canvas.fill(row, _EYE_WHITE * np.float32(0.93), 0.95, 0.6, within=mask(mouth, 0.6))
    canvas.shade(on(ribbon(top, 0.03, 0.5, 0.5)), 0.5, 0.6)


def beard_cover(traits: Traits, face: Mask) -> Mask:
    """Density of hair on cheeks, chin and lip (256, 256), 0..1; `face` limits it to the head."""
    unit, on = traits.pose.eye_distance_px, traits.pose.on_face
    density = np.zeros_like(face)
    if traits.beard:
        edge = curve(
            [(-1.25, 0.25), (-0.85, 0.72), (-0.48, 0.86), (0, 0.84), (0.48, 0.86), (0.85, 0.72), (1.25, 0.25)], 40
        )
        area = np.concatenate([edge, points((1.5, 2.2), (-1.5, 2.2))])
        density = mask(on(area), 0.06 * unit) * face * np.float32(min(0.25 + traits.beard, 0.95))
    if traits.beard > 0.5 or traits.moustache:
        lip = curve([(-0.45, 1.02), (-0.2, 0.84), (0, 0.85), (0.2, 0.84), (0.45, 1.02)], 30)
        density = np.maximum(density, 0.9 * mask(on(ribbon(lip, 0.17, 0.4, 0.4)), 0.025 * unit))
    bare = mask(on(ellipse(0, 1.09, traits.mouth_width * 0.95, 0.11)), 0.03 * unit)
    return (density * (1 - bare)).astype(np.float32)


def paint_beard(canvas: Canvas, traits: Traits, cover: Mask, rng: np.random.Generator) -> None:
    """Paint short hair where `cover` (256, 256) says, in the colour of the hair and as fine as the skin's texture."""
    area = extent(cover)
    cover = cover[area]
    if not cover.size:
        return
    grain = cv2.GaussianBlur(rng.standard_normal(cover.shape, np.float32), (0, 0), sigmaX=0.8, sigmaY=1.3)
    grain /= grain.std()
    depth = np.clip(cover * (0.82 + 0.35 * grain * (1.15 - cover)), 0, 0.96)
    colour = traits.hair * np.float32(0.8) * (1 + 0.15 * grain)[..., None]
    canvas.rgb[area] += depth[..., None] * (colour - canvas.rgb[area])


def paint_glasses(canvas: Canvas, traits: Traits, frame: Colour) -> None:
    """Paint two rims, a bridge, temples and a faint reflection."""
    power = 0.5 if traits.glasses == "round" else 0.28
    t = np.linspace(0, 2 * np.pi, 60)
    ring = np.stack([_superellipse(np.cos(t), power) * 0.36, _superellipse(np.sin(t), power) * 0.27 + 0.03], axis=1)
    on = traits.pose.on_face
    for side in (-1, 1):
        rim = (ring + np.array([0.5 * side, 0.0])).astype(np.float32)
        canvas.fill(on(rim, 0.12), np.array([0.8, 0.87, 0.95], np.float32), 0.09)
        canvas.shade(on(rim + np.array([0, 0.06], np.float32), 0.0), 0.94, 2.0)
        canvas.fill(on(np.concatenate([rim * 1.0, _inner_rim(rim, side)[::-1]]), 0.12), frame, 0.95, 0.4)
        temple = curve([(0.86 * side, -0.04), (1.0 * side, -0.05), (1.12 * side, 0.0)], 8)
        canvas.fill(on(ribbon(temple, 0.055, 1, 1), 0.0), frame, 0.9, 0.5)
    canvas.fill(on(ribbon(curve([(-0.15, 0.0), (0, -0.05), (0.15, 0.0)], 12), 0.05, 1, 1), 0.16), frame, 0.95, 0.4)


def ear(side: int, traits: Traits) -> Points:
    """Outline of one ear (n, 2)."""
    return ellipse(side * traits.face_width * 1.02, 0.22, 0.16, 0.34, side * 0.12)


def _hair_outline_behind(traits: Traits) -> Points | None:
    wide = traits.face_width
    if traits.hair_style == "long":
        return curve(
            [
                (0, -1.8),
                (-wide * 1.05, -1.3),
                (-wide * 1.32, 0.2),
                (-wide * 1.4, 2.0),
                (-wide * 1.3, 3.4),
                (0, 3.4),
                (wide * 1.3, 3.4),
                (wide * 1.4, 2.0),
                (wide * 1.32, 0.2),
                (wide * 1.05, -1.3),
                (0, -1.8),
            ],
            80,
        )
    if traits.hair_style == "bob":
        return curve(
            [
                (0, -1.8),
                (-wide * 1.08, -1.25),
                (-wide * 1.33, 0.2),
                (-wide * 1.25, 1.55),
                (-wide * 0.8, 1.75),
                (0, 1.6),
                (wide * 0.8, 1.75),
                (wide * 1.25, 1.55),
                (wide * 1.33, 0.2),
                (wide * 1.08, -1.25),
                (0, -1.8),
            ],
            80,
        )
    if traits.hair_style == "curly":
        t = np.linspace(0, 2 * np.pi, 120)
        bumps = 1 + 0.035 * np.sin(17 * t + traits.parting * 9) + 0.025 * np.sin(29 * t)
        return np.stack([wide * 1.5 * bumps * np.cos(t), -0.35 + 1.62 * bumps * np.sin(t)], axis=1).astype(np.float32)
    return None


def _hair_outline_front(traits: Traits) -> Points:
    wide, high = traits.face_width, {"cropped": 1.62, "short": 1.82, "curly": 1.85}.get(traits.hair_style, 1.78)
    side = 0.05 if traits.hair_style == "cropped" else 0.3
    low = 1.04 if traits.hair_style == "cropped" else 1.1
    return curve(
        [
            (-wide * low, side),
            (-wide * 1.1, -0.5),
            (-wide * 0.85, -high * 0.8),
            (0, -high),
            (wide * 0.85, -high * 0.8),
            (wide * 1.1, -0.5),
            (wide * low, side),
            (wide * 0.6, 0.0),
            (-wide * 0.6, 0.0),
            (-wide * low, side),
        ],
        80,
    )


def _forehead(traits: Traits) -> Points:
    """Skin without hair: the face below the hairline."""
    wide, at = traits.face_width, traits.parting * 0.55
    line = {"cropped": -1.02, "short": -0.92, "curly": -0.86}.get(traits.hair_style, -0.98)
    edge = 0.93 if traits.hair_style in ("cropped", "short") else 0.86
    return np.concatenate(
        [
            curve(
                [
                    (-wide * edge, 0.5),
                    (-wide * edge, -0.25),
                    (-wide * 0.72, line * 0.72),
                    (at, line),
                    (wide * 0.72, line * 0.72),
                    (wide * edge, -0.25),
                    (wide * edge, 0.5),
                ],
                50,
            ),
            points((wide * 1.3, 2.5), (-wide * 1.3, 2.5)),
        ]
    )


def _paint_hair(canvas: Canvas, traits: Traits, cover: Mask, strands: NDArray[np.float32], brightness: float) -> None:
    area = extent(cover)
    x, y = traits.pose.face_grid(area)
    lit = 0.8 + 0.3 * np.exp(-(((x - traits.light[0]) / 0.8) ** 2) - ((y + 1.25) / 0.45) ** 2)
    colour = traits.hair * np.float32(brightness) * (lit * strands[area])[..., None]
    canvas.rgb[area] += cover[area][..., None] * (colour - canvas.rgb[area])


def _edge_blur_px(traits: Traits) -> float:
    return {"curly": 2.2, "cropped": 1.6}.get(traits.hair_style, 1.1)


def _paint_eye(canvas: Canvas, traits: Traits, side: int, gaze: tuple[float, float]) -> None:
    up, down = 0.105 * traits.eye_open, 0.07 * traits.eye_open
    upper = curve([(-0.24, 0.02), (-0.12, -up * 0.8), (0.02, -up), (0.15, -up * 0.62), (0.245, 0.0)])
    lower = curve([(0.245, 0.0), (0.12, down * 0.85), (0.0, down), (-0.14, down * 0.7), (-0.24, 0.02)])
    to_pixels = _eye_to_pixels(traits, side)
    opening = to_pixels(np.concatenate([upper, lower]))
    inside = mask(opening, 0.4)
    unit = traits.pose.eye_distance_px
    canvas.shade(to_pixels(ellipse(0.0, -0.04, 0.34, 0.24)), 0.86, 0.09 * unit)
    canvas.shade(
        to_pixels(ribbon(curve([(-0.2, 0.15), (0.0, 0.2), (0.2, 0.14)]), 0.05)), 0.9 - 0.08 * traits.age, 0.03 * unit
    )
    canvas.fill(opening, _EYE_WHITE * np.float32(0.93), 1.0, 0.4)
    canvas.shade(to_pixels(ribbon(upper, 0.13)), 0.62, 0.03 * unit, within=inside)
    x, y = gaze[0] * side, gaze[1]
    canvas.fill(to_pixels(ellipse(x, y - 0.01, 0.112, 0.112)), traits.iris * np.float32(0.5), 1.0, 0.5, within=inside)
    canvas.fill(to_pixels(ellipse(x, y - 0.005, 0.092, 0.092)), traits.iris * np.float32(1.1), 1.0, 0.8, within=inside)
    canvas.fill(to_pixels(ellipse(x, y - 0.01, 0.045, 0.045)), _PUPIL, 1.0, 0.5, within=inside)
    reflection = traits.light[0] * 0.05 * side
    canvas.fill(to_pixels(ellipse(x + reflection, y - 0.05, 0.024, 0.024)), _EYE_WHITE, 0.95, 0.4)
    lash = np.minimum(traits.hair, np.float32(0.25)) * np.float32(0.7)
    canvas.fill(to_pixels(ribbon(upper, 0.035 + 0.02 * traits.lip, 0.3, 0.6)), lash, 0.95, 0.4)
    canvas.fill(to_pixels(ribbon(lower, 0.018, 0.3, 0.3)), lash, 0.45, 0.5)
    crease = curve([(-0.22, -0.06), (-0.08, -up - 0.06), (0.1, -up - 0.06), (0.25, -0.06)])
    canvas.shade(to_pixels(ribbon(crease, 0.03)), 0.72, 0.5)


def _paint_brow(canvas: Canvas, traits: Traits, side: int) -> None:
    arch = 0.04 + 0.05 * traits.lip
    line = curve([(-0.27, -0.27), (-0.05, -0.32 - arch * 0.7), (0.15, -0.32 - arch), (0.34, -0.25)])
    colour = np.clip(traits.hair * np.float32(0.75), 0.05, 0.6)
    stroke = _eye_to_pixels(traits, side)(ribbon(line, traits.brow_width, 0.75, 0.1))
    canvas.fill(stroke, colour, 0.85, 0.9)


def _eye_to_pixels(traits: Traits, side: int) -> Callable[[Points], Points]:
    """Shapes around one eye -> pixels."""

    def to_pixels(shape: Points) -> Points:
        on_side = shape if side > 0 else mirrored(shape)
        return traits.pose.on_face(on_side + np.array([0.5 * side, 0.0], np.float32))

    return to_pixels


def _lip_colour(traits: Traits) -> Colour:
    bare = traits.skin * np.array([0.88, 0.66, 0.64], np.float32)
    painted = np.array([0.68, 0.2, 0.24], np.float32) * np.float32(0.5 + 0.6 * float(traits.skin.mean()))
    return bare + (painted - bare) * np.float32(traits.lip * 0.75)


def _inner_rim(rim: Points, side: int) -> Points:
    middle = np.array([0.5 * side, 0.03], np.float32)
    return middle + (rim - middle) * np.float32(0.87)


def _superellipse(wave: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """Round or square a circle's cosine or sine: power 0.5 gives an ellipse, less a box."""
    return np.asarray(np.sign(wave) * np.abs(wave) ** (0.5 + power))
