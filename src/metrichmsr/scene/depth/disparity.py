"""Disparity-like values to depth.

Relative networks of the MiDaS line (MiDaS, DPT, Depth Anything) give d = a / z + c with unknown a > 0 and c. That is
affine in 1/z, **not** in z: no scale and shift of 1/d gives true depth unless c is known. So c has to be settled here,
before a depth refinement that knows only scale and shift:

- People at different distances tell a and c: a weighted line through their (d, 1/z).
- One person, or several side by side, tell a only.
- Nobody: depth is scaled to a median of 1.

What nobody tells is c = 0: the network's zero is infinitely far, which is how these networks are trained to show the
sky. A prior says so with a width of 30 % of the people's 1/z, so that the more the distances of the people differ, and
the surer they are, the more they say about c. Where c is wrong, far things come out too near or too far; near ones
hardly change.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from metrichmsr.scene.depth.protocol import SceneAnchors

_OFFSET_SIGMA = 0.3
"""Prior width of the offset, relative to the people's mean 1/z."""

_FEWEST_PIXELS = 30
_FARTHEST = 100.0
"""Where d is so small that depth is this many times the median, nothing is known about it."""


def depth_from_disparity(
    disparity: Float[np.ndarray, "H W"], anchors: SceneAnchors | None = None
) -> tuple[Float[np.ndarray, "H W"], tuple[str, ...]]:
    """Relative depth of disparity-like values.

    Args:
        disparity: larger is nearer; NaN or ≤ 0 where unknown.
        anchors: recovered people, at the same resolution; where given, depth comes near their metres.

    Returns:
        Depth, float32, up to a scale and a shift at best, NaN where unknown; and what the user should know.
    """
    disparity = np.asarray(disparity, dtype=np.float64)
    disparity = np.where(np.isfinite(disparity) & (disparity > 0), disparity, np.nan)
    seen = _people(disparity, anchors)
    slope, offset, sure = _line(*seen) if seen is not None else (1.0, 0.0, False)
    warnings = ()
    if not sure:
        warnings = ("depth of far things is doubtful: its source gives disparity up to an unknown shift",)
    with np.errstate(invalid="ignore", divide="ignore"):
        inverse = slope * disparity + offset
        depth = np.where(inverse > 0, 1 / inverse, np.nan)
    if np.isfinite(depth).any():
        median = np.nanmedian(depth)
        depth = np.where(depth <= _FARTHEST * median, depth, np.nan)
        if seen is None:
            depth = depth / median
    return depth.astype(np.float32), warnings


def _people(
    disparity: Float[np.ndarray, "H W"], anchors: SceneAnchors | None
) -> tuple[Float[np.ndarray, "P"], Float[np.ndarray, "P"], Float[np.ndarray, "P"]] | None:
    """Per person the median disparity, the median 1/z and its sigma."""
    if anchors is None:
        return None
    usable = anchors.mask & np.isfinite(disparity) & np.isfinite(anchors.depth_m)
    rows: list[tuple[float, float, float]] = []
    for index, relative_std in enumerate(anchors.relative_std):
        pixels = usable & (anchors.person == index)
        if pixels.sum() >= _FEWEST_PIXELS:
            near = float(np.median(1 / anchors.depth_m[pixels]))
            sigma = max(float(relative_std), 0.02) if np.isfinite(relative_std) else 0.5
            rows.append((float(np.median(disparity[pixels])), near, near * sigma))
    if not rows:
        return None
    seen, near, sigmas = np.array(rows).T
    return seen, near, sigmas


def _line(
    disparity: Float[np.ndarray, "P"], inverse: Float[np.ndarray, "P"], sigma: Float[np.ndarray, "P"]
) -> tuple[float, float, bool]:
    """Slope and offset of 1/z over disparity, and whether the people said more about the offset than the prior."""
    weight = 1 / sigma**2
    prior = 1 / (_OFFSET_SIGMA * inverse.mean()) ** 2
    normal = np.array(
        [
            [(weight * disparity**2).sum(), (weight * disparity).sum()],
            [(weight * disparity).sum(), weight.sum() + prior],
        ]
    )
    covariance = np.linalg.inv(normal)
    slope, offset = covariance @ [(weight * disparity * inverse).sum(), (weight * inverse).sum()]
    proportional = float((weight * disparity * inverse).sum() / normal[0, 0])
    # The nearer person must be nearer here too: people who contradict each other do not bend the room.
    if slope < 0.3 * proportional:
        return proportional, 0.0, False
    return float(slope), float(offset), bool(covariance[1, 1] * prior < 0.25)
