"""Light of panoramas and of thin air: irradiance of the surroundings as spherical harmonics, and a sun or lamp.

Convention: world y up; a heading ψ looks along (sin ψ, 0, cos ψ). Seen from inside with y up, headings grow to the
*left*, so a panorama's columns run against them: its middle column shows heading ``yaw``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from metrichmsr.synthetic.environments import Lights

_ROWS, _COLUMNS = 16, 32
_PEAK = 12.0
"""Radiance beyond so many times the mean belongs to a sun or lamp."""
_LEAST_SUN = 0.18
"""Share of the light that a sun must give to be one."""
_BRIGHTNESS = (0.55, 1.5)
"""Range of what a white surface facing up looks like beside its panorama."""
# ∫ of the clamped cosine against harmonics of degree 0, 1, 2 (Ramamoorthi and Hanrahan 2001, eq. 8).
_COSINE = (math.pi, *(2 * math.pi / 3,) * 3, *(math.pi / 4,) * 5)


def harmonics(directions: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 9"]:
    """Real spherical harmonics (1, y, z, x, xy, yz, 3z²−1, xz, x²−y²) of unit vectors, normalised."""
    x, y, z = directions.unbind(-1)
    values = (
        torch.full_like(x, 0.282095),
        *(0.488603 * t for t in (y, z, x)),
        *(1.092548 * t for t in (x * y, y * z)),
        0.315392 * (3 * z * z - 1),
        1.092548 * x * z,
        0.546274 * (x * x - y * y),
    )
    return torch.stack(values, dim=-1)


def map_directions(rows: int, columns: int) -> tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w"]]:
    """World directions of an equirectangular map's cells at yaw 0, and their solid angles (steradian)."""
    latitude = math.pi * (0.5 - (torch.arange(rows) + 0.5) / rows)[:, None].expand(rows, columns)
    heading = -2 * math.pi * ((torch.arange(columns) + 0.5) / columns - 0.5)[None].expand(rows, columns)
    directions = torch.stack([heading.sin() * latitude.cos(), latitude.sin(), heading.cos() * latitude.cos()], dim=-1)
    edges = torch.sin(math.pi * (0.5 - torch.arange(rows + 1) / rows))
    solid = (edges[:-1] - edges[1:])[:, None].expand(rows, columns) * (2 * math.pi / columns)
    return directions, solid


def irradiance_coefficients(
    radiance: Float[Tensor, "*B h w 3"], directions: Float[Tensor, "*B h w 3"], solid: Float[Tensor, "h w"]
) -> Float[Tensor, "*B 9 3"]:
    """Coefficients of E(n) = ∫ L(ω) max(0, n·ω) dω in the harmonics of n."""
    basis = harmonics(directions) * solid[..., None]
    return torch.einsum("...hwk,...hwc->...kc", basis, radiance) * radiance.new_tensor(_COSINE)[:, None]


@dataclass(frozen=True)
class LightMaps:
    """Light of M panoramas."""

    names: tuple[str, ...]
    around: Float[Tensor, "M 16 32 3"]
    """Radiance without the sun."""
    sun_direction: Float[Tensor, "M 3"]
    """At yaw 0."""
    sun_irradiance: Float[Tensor, "M 3"]
    """Facing it; zero where there is none."""

    @staticmethod
    def read(maps: dict[str, np.ndarray]) -> LightMaps:
        """From radiance maps (H, W, 3), the top row the zenith."""
        around, directions, suns = [], [], []
        for name in sorted(maps):
            radiance = torch.from_numpy(maps[name].astype(np.float32)).clamp(0, 6e4).nan_to_num(0.0)
            where, solid = map_directions(*radiance.shape[:2])
            mean = float((radiance.mean(-1) * solid).sum() / solid.sum())
            bright = radiance.mean(-1) > _PEAK * max(mean, 1e-6)
            peak = torch.where(bright[..., None], radiance - _PEAK * mean, torch.zeros_like(radiance)).clamp_min(0)
            sun = (peak * solid[..., None]).sum((0, 1))
            whole = (radiance * solid[..., None]).sum((0, 1))
            direction = (where * (peak.mean(-1) * solid)[..., None]).sum((0, 1))
            if float(sun.mean()) < _LEAST_SUN * float(whole.mean()) or float(direction[1]) <= 0.05 * float(
                direction.norm()
            ):
                peak, sun, direction = torch.zeros_like(peak), torch.zeros(3), torch.tensor([0.0, 1.0, 0.0])
            rest = (radiance - peak).permute(2, 0, 1)[None]
            around.append(
                torch.nn.functional.interpolate(rest, size=(_ROWS, _COLUMNS), mode="area")[0].permute(1, 2, 0)
            )
            directions.append(torch.nn.functional.normalize(direction, dim=-1))
            suns.append(sun)
        return LightMaps(tuple(sorted(maps)), torch.stack(around), torch.stack(directions), torch.stack(suns))

    def lights(
        self,
        which: Int64[Tensor, "S"],
        yaw: Float[Tensor, "S"],
        generator: torch.Generator,
        device: torch.device | str,
    ) -> Lights:
        """Light of these panoramas, turned so that their middle columns show these headings."""
        directions, solid = map_directions(_ROWS, _COLUMNS)
        turned = _turn(directions[None], yaw[:, None, None])
        coefficients = irradiance_coefficients(self.around[which], turned, solid)
        direction, sun = _turn(self.sun_direction[which], yaw), self.sun_irradiance[which]
        up = (coefficients * harmonics(torch.tensor([0.0, 1.0, 0.0]))[:, None]).sum(1)
        level = (up + sun * direction[:, 1:2].clamp_min(0)).mean(-1).clamp_min(1e-6)
        low, high = _BRIGHTNESS
        wanted = math.pi * low * (high / low) ** torch.rand(len(which), generator=generator)
        gain = (wanted / level)[:, None]
        return Lights(
            irradiance_sh=(coefficients * gain[..., None]).to(device),
            sun_direction=direction.to(device),
            sun_irradiance=(sun * gain).to(device),
            sun_radius=torch.full((len(which),), 0.02).to(device),
        )


def drawn_lights(count: int, generator: torch.Generator, device: torch.device | str) -> Lights:
    """Light that no panorama gave: a sky or a ceiling, tinted, and in half the cases a sun, a lamp or a flash."""
    u = torch.rand(10, count, generator=generator)
    normal = torch.randn(9, count, generator=generator)
    ambient = math.pi * (0.35 + 0.6 * u[0])
    tint = (0.08 * normal[:3]).exp().T
    coefficients = torch.zeros(count, 9, 3)
    coefficients[:, 0] = (ambient / 0.282095)[:, None] * tint
    # More from above, something from a side.
    for k, share in ((1, 0.15 + 0.45 * u[1]), (2, 0.25 * normal[3]), (3, 0.25 * normal[4])):
        coefficients[:, k] = (share.clamp(-0.6, 0.6) * ambient / 0.488603)[:, None] * tint
    heading, height = 2 * math.pi * u[2], torch.asin(0.15 + 0.84 * u[3])
    direction = torch.stack([heading.sin() * height.cos(), height.sin(), heading.cos() * height.cos()], dim=-1)
    shines = (u[4] < 0.55).float()
    colour = (0.10 * normal[5:8]).exp().T
    strength = shines * math.pi * (0.3 + 1.6 * u[5])
    return Lights(
        irradiance_sh=coefficients.to(device),
        sun_direction=direction.to(device),
        sun_irradiance=(strength[:, None] * colour).to(device),
        sun_radius=(0.01 + 0.15 * u[6].square()).to(device),
    )


def _turn(directions: Float[Tensor, "*B 3"], yaw: Float[Tensor, "*B"]) -> Float[Tensor, "*B 3"]:
    """Directions turned to headings greater by yaw."""
    x, y, z = directions.unbind(-1)
    sin, cos = yaw.sin(), yaw.cos()
    return torch.stack([x * cos + z * sin, y.expand_as(x * cos), z * cos - x * sin], dim=-1)
