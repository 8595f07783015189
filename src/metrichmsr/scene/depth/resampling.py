"""From the picture's pixels to a network's and back: sizes, intrinsics, and depth with holes in it.

Convention: continuous pixels, the corner of the first at (0, 0); so resizing a picture scales K's rows and nothing
else.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

FAR_M = 1000.0
"""Depth beyond this many metres is unknown: what sources write where there is sky (65504, 1e10, or their limit)."""


def fitted_size(width: int, height: int, longest: int, *, multiple: int = 1) -> tuple[int, int]:
    """Width and height with this longer side, each rounded to a multiple."""
    scale = longest / max(width, height)
    fitted = (max(1, round(side * scale / multiple)) * multiple for side in (width, height))
    return next(fitted), next(fitted)


def resize_picture(
    image: UInt8[np.ndarray, "H W 3"],
    size: tuple[int, int],
    *,
    resample: Image.Resampling = Image.Resampling.BICUBIC,
) -> UInt8[np.ndarray, "h w 3"]:
    """The picture in another (width, height), low-passed where it becomes smaller."""
    if size == (image.shape[1], image.shape[0]):
        return image
    return np.asarray(Image.fromarray(image).resize(size, resample))


def scale_intrinsics(
    K: Float[np.ndarray, "3 3"], size: tuple[int, int], to_size: tuple[int, int]
) -> Float[np.ndarray, "3 3"]:
    """K of a picture after it was resized from one (width, height) to another."""
    factors = np.array([to_size[0] / size[0], to_size[1] / size[1], 1.0])
    return factors[:, None] * np.asarray(K, dtype=np.float64)


def plausible_intrinsics(K: Float[np.ndarray, "3 3"], width: int, height: int) -> Float[np.ndarray, "3 3"] | None:
    """K where it can be a camera's: field of view 1 to 150 degrees, principal point in the picture; else None."""
    sides = np.array([width, height])
    focal, centre = np.array([K[0, 0], K[1, 1]]), np.array([K[0, 2], K[1, 2]])
    shortest, longest = 0.5 / math.tan(math.radians(75)), 0.5 / math.tan(math.radians(0.5))  # by the longer side
    inside = (centre > 0) & (centre < sides) & (focal > shortest * sides.max()) & (focal < longest * sides.max())
    return K if inside.all() else None


def resize_depth(depth: Float[np.ndarray, "h w"], width: int, height: int) -> Float[np.ndarray, "H W"]:
    """Smooth map in another size; NaN stays NaN and mixes with nothing.

    For the output of networks, which is smooth between its pixels. Measured depth is resized by
    :func:`resize_nearest`.
    """
    depth = np.ascontiguousarray(depth, dtype=np.float32)
    if depth.shape == (height, width):
        return depth
    smaller = width * height < depth.size
    known = np.isfinite(depth)
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    weight = cv2.resize(known.astype(np.float32), (width, height), interpolation=how)
    total = cv2.resize(np.where(known, depth, np.float32(0)), (width, height), interpolation=how)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight >= 0.5, total / weight, np.nan).astype(np.float32)


def resize_nearest(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """Every pixel takes the value under its centre: nothing new is made up between two surfaces."""
    rows = ((np.arange(height) + 0.5) * values.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * values.shape[1] / width).astype(np.intp)
    return values[rows[:, None], columns]


def known_depth(depth: Float[np.ndarray, "H W"], *, metric: bool) -> Float[np.ndarray, "H W"]:
    """Float32 depth with NaN for all that is none: not finite, not in front of the camera, beyond :data:`FAR_M`."""
    depth = np.asarray(depth, dtype=np.float64)
    known: Bool[np.ndarray, "H W"] = np.isfinite(depth) & (depth > 0)
    if metric:
        known &= depth <= FAR_M
    return np.where(known, depth, np.nan).astype(np.float32)
