"""Landmarks of photographs as they would have been marked on renderings.

The network, the fit and :class:`~metrichmsr.hmr.fitting.seen_landmarks.SeenLandmarks` know the landmark network from
rendered people. On photographs it marks hips and knees lower: of people who stand straight, shoulders to hips are
longer by 1.2 to 3.6 % and knees to ankles shorter by 2.6 to 4.7 %, as shares of shoulders to ankles, than of rendered
ones (``scripts/compare_proportions.py``; pictures on which no distance is measured, no labels). A longer trunk above
shorter legs looks like somebody who leans, and so is nearer.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from metrichmsr.people.landmarks import Landmarks
from metrichmsr.structures import BLAZEPOSE33

HIPS_UP = 0.025
"""How far hips are moved towards the shoulders, as a share of the trunk."""
KNEES_UP = 0.035
"""How far knees are moved away from the ankles, as a share of the shank."""


def as_rendered(landmarks: Landmarks) -> Landmarks:
    """The same people with hips and knees moved, in the picture and in 3D; all else stays.

    Args:
        landmarks: of a photograph.
    """
    world = _moved(landmarks.world)
    # Its origin is the middle of the hips.
    world = world - world[:, _pair("hip")].mean(1, keepdims=True)
    return replace(landmarks, xy=_moved(landmarks.xy), world=world)


def _moved(places: Float[np.ndarray, "N 33 d"]) -> Float[np.ndarray, "N 33 d"]:
    shoulders, hips, knees, ankles = (places[:, _pair(name)] for name in ("shoulder", "hip", "knee", "ankle"))
    moved = places.copy()
    trunk = shoulders.mean(1, keepdims=True) - hips.mean(1, keepdims=True)
    moved[:, _pair("hip")] = hips + HIPS_UP * trunk
    moved[:, _pair("knee")] = knees + KNEES_UP * (knees - ankles)
    return moved


def _pair(name: str) -> list[int]:
    return [BLAZEPOSE33.index(f"{side}_{name}") for side in ("left", "right")]
