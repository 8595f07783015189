"""35 mm equivalents: focal lengths as phones, data sheets and EXIF state them, to pixels and back.

Convention
    CIPA DCG-001: the equivalent sees on 36×24 mm film, across the **diagonal**, what the lens sees across the diagonal
    of the camera's image area. That area is 4:3 or 3:2. A picture of another shape (16:9, square) is, in nearly all
    cameras, a part of it that is as wide or as high as the whole, and what they state still speaks of the whole.
"""

from __future__ import annotations

import math

FILM_DIAGONAL_MM = math.hypot(36.0, 24.0)
"""Diagonal of 35 mm film, 43.27 mm."""

SAME_ASPECT = 0.012
"""Shapes whose aspects differ by less than this, in the logarithm, are the same."""

_WHOLE_ASPECTS = (4 / 3, 3 / 2)


def focal_of_equivalent(equivalent_mm: float, width: int, height: int) -> tuple[float, float]:
    """Focal length in pixels of a picture, and what its shape leaves open, as a relative sigma (0 for 4:3 and 3:2)."""
    diagonal_px, sigma = _whole_diagonal(width, height)
    return equivalent_mm * diagonal_px / FILM_DIAGONAL_MM, sigma


def equivalent_of_focal(focal_px: float, width: int, height: int) -> float:
    """The inverse: millimetres on 35 mm film."""
    return focal_px * FILM_DIAGONAL_MM / _whole_diagonal(width, height)[0]


def _whole_diagonal(width: int, height: int) -> tuple[float, float]:
    """Diagonal in pixels of the whole that a picture is a part of, and its relative sigma."""
    long, short = max(width, height), min(width, height)
    aspect = long / short
    if any(abs(math.log(aspect / whole)) < SAME_ASPECT for whole in _WHOLE_ASPECTS):
        return math.hypot(long, short), 0.0
    diagonals = []
    for whole in _WHOLE_ASPECTS:
        whole_long, whole_short = (long, long / whole) if aspect > whole else (short * whole, short)
        diagonals.append(math.hypot(whole_long, whole_short))
    return math.sqrt(diagonals[0] * diagonals[1]), 0.05
