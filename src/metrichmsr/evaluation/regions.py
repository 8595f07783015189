"""Where in the picture a sensor's depth and a recovered surface are compared."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float

from metrichmsr.rendering import rasterize
from metrichmsr.structures import COCO17, Camera, Person

_SHOULDERS = (COCO17.index("left_shoulder"), COCO17.index("right_shoulder"))
_HIPS = (COCO17.index("left_hip"), COCO17.index("right_hip"))

BAND_OF_TORSO = 0.1
"""Half the least width of the torso region, as a fraction of the torso's length: a torso seen from the side has
shoulders and hips almost in line."""


def surface_depth(person: Person, camera: Camera) -> Float[np.ndarray, "H W"]:
    """Z-depth in metres of the first surface of one recovered body at every pixel centre; NaN beside the body."""
    fragments = rasterize(
        torch.as_tensor(person.vertices_m)[None],
        torch.as_tensor(person.faces),
        torch.as_tensor(camera.K),
        height=camera.height,
        width=camera.width,
    )
    return fragments.depth_m[0].numpy()


def erode(mask: Bool[np.ndarray, "H W"], pixels: int) -> Bool[np.ndarray, "H W"]:
    """The mask without what lies within ``pixels`` of its edge; the picture's border is no edge of the person."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.erode(mask.astype(np.uint8), disc, borderType=cv2.BORDER_CONSTANT, borderValue=1).astype(bool)


def torso_region(keypoints_px: Float[np.ndarray, "17 2"], height: int, width: int) -> Bool[np.ndarray, "H W"]:
    """Pixels inside the quadrilateral of shoulders and hips, at least a band around the spine.

    Empty where one of the four keypoints is not a number.
    """
    corners = keypoints_px[[*_SHOULDERS, *_HIPS]]
    region = np.zeros((height, width), dtype=np.uint8)
    if not np.isfinite(corners).all():
        return region.astype(bool)
    top, bottom = corners[:2].mean(axis=0), corners[2:].mean(axis=0)
    # OpenCV draws at integer pixel centres: continuous (0.5, 0.5) is its (0, 0).
    hull = cv2.convexHull((corners - 0.5).astype(np.float32)[:, None])
    cv2.fillConvexPoly(region, np.rint(hull).astype(np.int32), 1)
    thickness = max(1, round(2 * BAND_OF_TORSO * float(np.linalg.norm(bottom - top))))
    ends = [tuple(int(v) for v in np.rint(point - 0.5)) for point in (top, bottom)]
    cv2.line(region, ends[0], ends[1], 1, thickness)
    return region.astype(bool)
