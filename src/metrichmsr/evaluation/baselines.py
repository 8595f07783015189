"""What a method must beat: constants that never looked at the person."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from metrichmsr.structures import COCO17, Camera

POPULATION_STATURE_M = 1.69
"""Stature of everybody, as a constant guess: halfway between 1.63 m and 1.75 m, round means of adult women and men in
Europe and North America. Chosen without looking at any of the sets."""

# Heights above the ground and half widths as fractions of stature (Drillis and Contini 1966), facing the camera with
# hanging arms; the left of a body that faces the camera is on the right, +x.
_FRACTIONS = {
    "shoulder": (0.129, 0.818),
    "elbow": (0.150, 0.630),
    "wrist": (0.160, 0.485),
    "hip": (0.050, 0.530),
    "knee": (0.055, 0.285),
    "ankle": (0.055, 0.039),
}


def standing_figure(stature_m: float = POPULATION_STATURE_M) -> Float[np.ndarray, "17 3"]:
    """COCO-17 of someone who stands facing the camera, relative to the middle of the hips, metres; NaN for the face."""
    figure = np.full((len(COCO17), 3), np.nan)
    for part, (across, up) in _FRACTIONS.items():
        y = (_FRACTIONS["hip"][1] - up) * stature_m
        figure[COCO17.index(f"left_{part}")] = (across * stature_m, y, 0.0)
        figure[COCO17.index(f"right_{part}")] = (-across * stature_m, y, 0.0)
    return figure


def figure_in_box(box_xyxy: Float[np.ndarray, "4"]) -> Float[np.ndarray, "17 2"]:
    """The standing figure's limb joints stretched to fill a box, pixels; NaN for the face."""
    flat = standing_figure()[:, :2]
    low, high = np.nanmin(flat, axis=0), np.nanmax(flat, axis=0)
    return box_xyxy[:2] + (flat - low) / (high - low) * (box_xyxy[2:] - box_xyxy[:2])


def depth_from_box(box_xyxy: Float[np.ndarray, "4"], camera: Camera, stature_m: float = POPULATION_STATURE_M) -> float:
    """Z-depth of someone of this stature who stands upright and fills the box from head to heel, metres."""
    return float(camera.K[1, 1] * stature_m / (box_xyxy[3] - box_xyxy[1]))
