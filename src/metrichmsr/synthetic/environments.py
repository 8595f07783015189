"""Where people stand: ground, room or street, things, far background and light of a batch of shots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from metrichmsr.synthetic.surfaces import Surfaces


@dataclass(frozen=True)
class Lights:
    """Light of S shots, world frame, linear RGB. A white surface under irradiance π looks as bright as 1."""

    irradiance_sh: Float[Tensor, "S 9 3"]
    """Irradiance of the surroundings without the sun over the normal n, as coefficients of the real spherical
    harmonics (1, y, z, x, xy, yz, 3z²−1, xz, x²−y²) of n with their usual normalisation, the cosine already folded in
    (Ramamoorthi and Hanrahan 2001)."""
    sun_direction: Float[Tensor, "S 3"]
    """Unit vector towards the sun or the brightest lamp."""
    sun_irradiance: Float[Tensor, "S 3"]
    """What it adds on a surface that faces it; zero where the light is all diffuse."""
    sun_radius: Float[Tensor, "S"]
    """Its angular radius in radians: how soft its shadows are."""


class Background(Protocol):
    """What is seen where nothing modelled is."""

    def render(
        self,
        K: Float[Tensor, "S 3 3"],
        camera_from_world: Float[Tensor, "S 4 4"],
        *,
        height: int,
        width: int,
    ) -> Float[Tensor, "S H W 3"]:
        """Linear RGB of these views (K may be that of a crop), one for each shot of the batch."""
        ...


@dataclass(frozen=True)
class Environments:
    """The surroundings of S shots."""

    surfaces: Surfaces | None
    """Ground, room and things, of all shots; None where nothing is modelled."""
    background: Background
    lights: Lights
    names: tuple[str, ...]
    """Background, panorama or room of each shot."""
