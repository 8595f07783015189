"""One colour a person, the same in every picture and mesh of a result."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

# Okabe and Ito's colour-blind-safe set without its black and yellow (which drown in photos), brightest contrasts first.
_COLORS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
)

# Person colours on meshes are mixed with this much white: clay rather than paint, on which shading shows.
_WHITE = 0.35


def person_color(person_id: int) -> tuple[int, int, int]:
    """Colour of a person as sRGB in 0…255; colours repeat after six people."""
    return _COLORS[person_id % len(_COLORS)]


def linear_color(person_id: int) -> tuple[float, float, float]:
    """The same colour as linear light in 0…1, as materials of glTF and USD want it."""
    red, green, blue = (_linear_from_srgb(value) for value in person_color(person_id))
    return red, green, blue


def _linear_from_srgb(value: int) -> float:
    s = value / 255  # IEC 61966-2-1
    return s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4


def clay_color(person_id: int) -> Float[np.ndarray, "3"]:
    """The person's colour as it is painted on meshes, RGB in [0, 1]."""
    return _WHITE + (1 - _WHITE) * np.array(person_color(person_id)) / 255
