"""A camera from a focal length alone: square pixels, the principal point in the middle of the picture."""

from __future__ import annotations

import math

import numpy as np

from metrichmsr.structures import Camera


def centred_camera(width: int, height: int, focal_px: float, *, source: str, focal_std_px: float | None) -> Camera:
    """A pinhole camera of this focal length whose principal point is the picture's centre.

    Real lenses are off-centre by about one per cent of the width, and a cropped picture by anything; one picture does
    not tell.
    """
    K = np.array([[focal_px, 0.0, width / 2], [0.0, focal_px, height / 2], [0.0, 0.0, 1.0]])
    return Camera(K=K, width=width, height=height, source=source, focal_std_px=focal_std_px)


def long_fov_deg(width: int, height: int, focal_px: float) -> float:
    """Field of view in degrees across the longer side of a centred camera."""
    return math.degrees(2 * math.atan(max(width, height) / (2 * focal_px)))
