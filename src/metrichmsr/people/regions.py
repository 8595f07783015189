"""Where to crop: from a box, from COCO-17 keypoints, or from BlazePose's own alignment points.

BlazePose was trained on crops centred at mid-hip, turned upright and a quarter larger than the circle around the whole
body (Bazarevsky et al. 2020, after Leonardo's Vitruvian man). Regions are ``(center_x, center_y, size, rotation)`` as
in :mod:`metrichmsr.people.crops`.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

MARGIN = 1.25
"""Side of the region over the diameter of the body's circle."""
LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP = 5, 6, 11, 12
MIN_KEYPOINT_CONFIDENCE = 0.2
REACH_BEYOND_KEYPOINTS = 1.15
"""The circle around crown, fingertips and toes, over the circle around eyes, wrists and ankles."""


def region_from_box(box_xyxy: Float[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
    """Upright square around the box's middle: all that is known without keypoints."""
    x0, y0, x1, y1 = box_xyxy
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, MARGIN * max(x1 - x0, y1 - y0), 0.0])


def region_from_keypoints(
    keypoints: Float[np.ndarray, "17 3"], box_xyxy: Float[np.ndarray, "4"]
) -> Float[np.ndarray, "4"]:
    """Region around mid-hip with the trunk pointing up; the box's where hips or shoulders are not seen.

    Args:
        keypoints: COCO-17, u, v in pixels and confidence.
        box_xyxy: the person's box, pixels.
    """
    seen = keypoints[:, 2] >= MIN_KEYPOINT_CONFIDENCE
    trunk = [LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP]
    if not seen[trunk].all():
        return region_from_box(box_xyxy)
    xy = keypoints[:, :2]
    hip = xy[[LEFT_HIP, RIGHT_HIP]].mean(0)
    up = xy[[LEFT_SHOULDER, RIGHT_SHOULDER]].mean(0) - hip
    radius = np.linalg.norm(xy[seen] - hip, axis=1).max() * REACH_BEYOND_KEYPOINTS
    return np.array([hip[0], hip[1], 2 * MARGIN * radius, np.arctan2(up[0], -up[1])])


def region_from_alignment(
    mid_hip: Float[np.ndarray, "2"], circle_point: Float[np.ndarray, "2"]
) -> Float[np.ndarray, "4"]:
    """BlazePose's own: around mid-hip, the point on the body's circle straight up.

    Args:
        mid_hip: landmark 33, pixels.
        circle_point: landmark 34, pixels: on the circle, beyond the head.
    """
    up = circle_point - mid_hip
    return np.array([mid_hip[0], mid_hip[1], 2 * MARGIN * np.hypot(*up), np.arctan2(up[0], -up[1])])
