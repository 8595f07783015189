"""A crowd with its clothes on."""

from __future__ import annotations

from dataclasses import dataclass

from metrichmsr.bodies.protocol import BodyOutput
from metrichmsr.synthetic.surfaces import Surfaces


@dataclass(frozen=True)
class Dressed:
    """P people, dressed."""

    surfaces: Surfaces
    """Skin, hair, clothes (owned by the person's row) and carried things, in the world."""
    output: BodyOutput
    """The bodies under the clothes, in the world: the truth."""
    wears: tuple[tuple[str, ...], ...]
    """Names of each person's skin, hair, garments and carried things."""
