"""A picture with what is known of its camera, and the cameras that are drawn for training and testing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from metrichmsr.calibration.film import FILM_DIAGONAL_MM

LONG_SIDE = 384
"""Of drawn pictures, pixels."""
FOV_LIMITS_DEG = (20.0, 110.0)
"""Horizontal fields of view drawn evenly in the logarithm of the focal length."""
MOST_PITCH_DEG, MOST_ROLL_DEG = 50.0, 20.0

_SHAPES = (4 / 3, 3 / 2, 16 / 9, 1.0, 5 / 4, 2.0)
# Lenses people are photographed with, 35 mm equivalents in mm and their shares (docs/calibration.md, "Assumed").
_LENSES = ((0.5, 23.0, 29.0), (0.1, 28.0, 35.0), (0.1, 48.0, 80.0), (0.3, 24.0, 105.0))


@dataclass(frozen=True, eq=False)
class View:
    """A picture with its camera."""

    image: UInt8[np.ndarray, "H W 3"]
    focal_px: float
    pitch: float = math.nan
    """Radians; positive looks up. NaN where unknown."""
    roll: float = math.nan
    """Radians; positive where the vertical leans to the right. NaN where unknown."""

    @property
    def log_focal(self) -> float:
        """Logarithm of the focal length in diagonals."""
        return math.log(self.focal_px / math.hypot(*self.image.shape[:2]))


def draw_size(rng: np.random.Generator) -> tuple[int, int]:
    """(width, height) of a picture: the usual shapes, not quite exactly, upright as often as lying."""
    shape = float(rng.choice(_SHAPES)) if rng.random() < 0.85 else math.exp(rng.uniform(0, 1.2))
    shape = max(1.0, shape * math.exp(rng.normal(0, 0.03)))
    short = max(64, round(LONG_SIDE / shape))
    return (LONG_SIDE, short) if rng.random() < 0.5 else (short, LONG_SIDE)


def draw_focal(rng: np.random.Generator, width: int, height: int, *, usual: float) -> float:
    """Focal length in pixels: with probability ``usual`` that of a usual lens, else of any field of view."""
    if rng.random() >= usual:
        near, far = (1 / math.tan(math.radians(fov / 2)) for fov in FOV_LIMITS_DEG)
        return width / 2 * math.exp(rng.uniform(math.log(far), math.log(near)))
    _, low, high = _LENSES[rng.choice(len(_LENSES), p=[share for share, _, _ in _LENSES])]
    f35 = math.exp(rng.uniform(math.log(low), math.log(high)))
    if rng.random() < 0.3:
        f35 *= rng.uniform(1.0, 1.4)  # cropped afterwards
    return f35 / FILM_DIAGONAL_MM * math.hypot(width, height)


def draw_tilt(rng: np.random.Generator, *, usual: float) -> tuple[float, float]:
    """Pitch and roll in radians: nearly level with probability ``usual``, else anything within the limits."""
    pitch = rng.normal(-4, 10) if rng.random() < usual else rng.uniform(-MOST_PITCH_DEG, MOST_PITCH_DEG)
    roll = rng.normal(0, 2.5) if rng.random() < usual else rng.uniform(-MOST_ROLL_DEG, MOST_ROLL_DEG)
    return math.radians(np.clip(pitch, -MOST_PITCH_DEG, MOST_PITCH_DEG)), math.radians(
        np.clip(roll, -MOST_ROLL_DEG, MOST_ROLL_DEG)
    )


def up_of(pitch: float, roll: float) -> Float[np.ndarray, "3"]:
    """Unit vector that points up, camera frame (x right, y down, z forward)."""
    return np.array(
        [math.cos(pitch) * math.sin(roll), -math.cos(pitch) * math.cos(roll), math.sin(pitch)], dtype=np.float64
    )


def tilt_of(up: Float[np.ndarray, "3"]) -> tuple[float, float]:
    """Pitch and roll of an up vector, radians: the inverse of :func:`up_of`."""
    return math.asin(float(np.clip(up[2] / np.linalg.norm(up), -1, 1))), math.atan2(float(up[0]), -float(up[1]))
