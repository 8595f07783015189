"""The paper's rule where nothing is known: the focal length is the picture's longer side.

That is a lens of 36 mm on 35 mm film, between the main camera of a phone (24 to 28 mm, 0.7 of this) and a portrait lens
(85 mm, 2.4 of it). The sigma states how wrong it is over the photos of people that are around; see docs/calibration.md.
"""

from __future__ import annotations

from metrichmsr.calibration.centred import centred_camera
from metrichmsr.structures import Camera

RELATIVE_SIGMA = 0.4
"""Root mean square of log(true focal length / longer side) over the lenses people are photographed with."""


def assumed_camera(width: int, height: int) -> Camera:
    """Focal length = longer side, principal point in the middle (paper §3.1), source ``assumed``."""
    focal = float(max(width, height))
    return centred_camera(width, height, focal, source="assumed", focal_std_px=RELATIVE_SIGMA * focal)
