"""Disparity-like values to depth.

Relative networks of the MiDaS line (MiDaS, DPT, Depth Anything) give d = a / z + c with unknown a > 0 and c. That is
affine in 1/z, **not** in z: no scale and shift of 1/d gives true depth unless c is known. So c has to be settled here,
before a depth refinement that knows only scale and shift:

- People at distances that differ enough tell a and c: a weighted line through their (d, 1/z).
- One person, or several side by side, tell a only; c stays 0.
- Nobody: c stays 0, and depth is scaled to a median of 1.

c = 0 says that the network's zero is infinitely far, which is how these networks are trained to show the sky. Where it
is wrong, far things come out too near or too far; near ones hardly change.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from metrichmsr.scene.depth.protocol import SceneAnchors

_ENOUGH_SPREAD = 1.3
"""Ratio of the farthest to the nearest person from which a line through them has a meaning: heights, so distances, are
known to 5 to 10 per cent."""

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
    slope, offset = _line(*seen) if seen is not None else (1.0, 0.0)
    warnings = ()
    if offset == 0.0:
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
) -> tuple[float, float]:
    """Slope and offset of 1/z over disparity; offset 0 where the people do not tell it."""
    weight = 1 / sigma**2
    slope = float((weight * disparity * inverse).sum() / (weight * disparity**2).sum())
    if inverse.max() < _ENOUGH_SPREAD * inverse.min():
        return slope, 0.0
    middle = (weight * disparity).sum() / weight.sum(), (weight * inverse).sum() / weight.sum()
    spread = (weight * (disparity - middle[0]) ** 2).sum()
    free = (weight * (disparity - middle[0]) * (inverse - middle[1])).sum() / max(spread, 1e-30)
    offset = middle[1] - free * middle[0]
    # Nearer people must be nearer here too, and nothing that the network sees may come to lie at half their distance
    # beyond infinity: people who contradict each other do not bend the room.
    if free <= 0 or offset < -0.5 * inverse.min():
        return slope, 0.0
    return float(free), float(offset)
