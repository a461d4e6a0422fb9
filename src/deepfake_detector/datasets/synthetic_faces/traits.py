"""Random numbers -> a person to draw: pose, colours, hair, glasses, beard, mouth, light; colours (3,) RGB 0..1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.datasets.synthetic_faces.canvas import Colour, Pose

HairStyle = Literal["bald", "cropped", "short", "bob", "long", "curly"]

_SKINS = np.array(
    [[250, 222, 200], [238, 198, 166], [222, 172, 132], [198, 142, 102], [158, 104, 70], [116, 74, 50], [88, 56, 40]],
    np.float32,
)
_HAIRS = np.array(
    [
        [30, 25, 24],
        [48, 34, 27],
        [74, 49, 34],
        [106, 72, 46],
        [140, 74, 42],
        [186, 144, 88],
        [214, 182, 128],
        [150, 147, 144],
    ],
    np.float32,
)
_IRISES = np.array([[84, 54, 32], [58, 38, 26], [104, 110, 60], [76, 120, 150], [112, 128, 138]], np.float32)
_HAIR_STYLES: tuple[HairStyle, ...] = ("bald", "cropped", "short", "bob", "long", "curly")
_HAIR_SHARES = (0.06, 0.18, 0.24, 0.18, 0.22, 0.12)


@dataclass(frozen=True)
class Traits:
    """One person under one light."""

    pose: Pose
    skin: Colour
    hair: Colour
    iris: Colour
    cloth: Colour
    backdrop: NDArray[np.float32]  # (3, 3): colours at the top, at the bottom, and of the blurred lights
    light: tuple[float, float, float]  # direction towards the lamp, x right, y down, z to the viewer
    hair_style: HairStyle
    parting: float  # -1..1, position
    face_width: float
    jaw: float  # 0 pointed .. 1 square
    eye_open: float
    brow_width: float
    nose_width: float
    mouth_width: float
    smile: float  # -0.2..1
    teeth: bool
    lip: float  # 0 bare .. 1 painted
    beard: float  # 0 none .. 1 full
    moustache: bool
    glasses: Literal["", "round", "square"]
    freckles: int
    age: float  # 0..1


def draw_traits(rng: np.random.Generator) -> Traits:
    """Draw a person; another order of the random draws would give another data set."""
    tone = rng.uniform(0, len(_SKINS) - 1)
    feminine = rng.random() < 0.5
    style = str(rng.choice(_HAIR_STYLES, p=_HAIR_SHARES))
    if feminine and style in ("bald", "cropped"):
        style = "long"
    return Traits(
        pose=_pose(rng),
        skin=_jitter(rng, _interpolated(_SKINS, tone), 0.015),
        hair=_hair_colour(rng, tone),
        iris=_jitter(rng, _IRISES[rng.integers(2 if tone > 3 else len(_IRISES))] / 255, 0.06),
        cloth=_any_hue(rng, rng.uniform(0.12, 0.75), 0.35),
        backdrop=_backdrop(rng),
        light=(float(rng.uniform(-0.75, 0.75)), float(rng.uniform(-0.65, -0.1)), float(rng.uniform(0.65, 1.0))),
        hair_style=style,  # type: ignore[arg-type]
        parting=float(rng.uniform(-0.8, 0.8)),
        face_width=float(rng.uniform(1.08, 1.2) - 0.04 * feminine),
        jaw=float(rng.uniform(0.0, 0.5) if feminine else rng.uniform(0.35, 1.0)),
        eye_open=float(rng.uniform(0.8, 1.2)),
        brow_width=float(rng.uniform(0.05, 0.08) if feminine else rng.uniform(0.08, 0.12)),
        nose_width=float(rng.uniform(0.85, 1.2) - 0.08 * feminine),
        mouth_width=float(rng.uniform(0.36, 0.44)),
        smile=float(rng.uniform(0.0, 1.0)),
        teeth=bool(rng.random() < 0.4),
        lip=float(rng.uniform(0.3, 1.0) if feminine else rng.uniform(0.0, 0.25)),
        beard=float(0.0 if feminine or rng.random() < 0.5 else rng.uniform(0.35, 1.0)),
        moustache=bool(not feminine and rng.random() < 0.2),
        glasses=str(rng.choice(["", "round", "square"], p=[0.72, 0.14, 0.14])),  # type: ignore[arg-type]
        freckles=int(rng.integers(20, 60)) if rng.random() < 0.15 else 0,
        age=float(rng.random()),
    )


def _pose(rng: np.random.Generator) -> Pose:
    return Pose(
        centre_px=(128 + float(rng.normal(0, 5)), 114 + float(rng.normal(0, 4))),
        eye_distance_px=float(rng.uniform(46, 58)),
        roll=float(np.clip(rng.normal(0, 0.08), -0.2, 0.2)),
        yaw=float(np.clip(rng.normal(0, 0.16), -0.35, 0.35)),
        pitch=float(np.clip(rng.normal(0, 0.07), -0.14, 0.14)),
    )


def _interpolated(table: NDArray[np.float32], at: float) -> Colour:
    low = min(int(at), len(table) - 2)
    return np.asarray((table[low] + (table[low + 1] - table[low]) * (at - low)) / 255, np.float32)


def _jitter(rng: np.random.Generator, colour: Colour, by: float) -> Colour:
    return np.clip(colour * (1 + rng.normal(0, by, 3)), 0.03, 0.99).astype(np.float32)


def _hair_colour(rng: np.random.Generator, tone: float) -> Colour:
    if rng.random() < 0.12:
        return _jitter(rng, _HAIRS[-1] / 255, 0.04)
    index = int(rng.integers(0, 3 if tone > 3.2 else len(_HAIRS) - 1))
    return _jitter(rng, _HAIRS[index] / 255, 0.06)


def _any_hue(rng: np.random.Generator, value: float, saturation: float) -> Colour:
    """A colour of any hue, RGB 0..1."""
    hue = (rng.random() + np.array([0, 1 / 3, 2 / 3])) * 2 * np.pi
    return np.clip(value * (1 + saturation * rng.random() * np.cos(hue)), 0.03, 0.97).astype(np.float32)


def _backdrop(rng: np.random.Generator) -> NDArray[np.float32]:
    base = _any_hue(rng, rng.uniform(0.25, 0.8), 0.28)
    low = np.clip(base * rng.uniform(0.6, 1.1) + rng.normal(0, 0.03, 3), 0.03, 0.97)
    lights = np.clip(base * rng.uniform(0.7, 1.5) + rng.normal(0, 0.06, 3), 0.03, 0.97)
    return np.stack([base, low, lights]).astype(np.float32)
