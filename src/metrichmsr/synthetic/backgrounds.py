"""What is far away: panoramas around the world's middle, and flat pictures pinned to the sky behind the people.

A background is a function of the viewing direction alone, so that a crop shows exactly what it covers of its picture,
and focal twins see the same surroundings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metrichmsr.synthetic.textures import TexturePool

_GAMMA = 2.2


@dataclass(frozen=True)
class Backgrounds:
    """Backgrounds of S shots; implements :class:`metrichmsr.synthetic.environments.Background`."""

    pool: TexturePool
    """Pictures, sRGB."""
    picture: Int64[Tensor, "S"]
    """Which picture each shot shows."""
    is_panorama: Bool[Tensor, "S"]
    yaw: Float[Tensor, "S"]
    """Heading of a panorama's middle column."""
    patch_from_world: Float[Tensor, "S 3 3"]
    """Axes of a flat picture (x right, y down, z at its middle)."""
    patch_scale: Float[Tensor, "S 2"]
    """Picture widths and heights per unit of x/z and y/z."""
    gain: Float[Tensor, "S 3"]
    """Linear factor."""
    coarse: bool = False
    """Look up every second pixel and interpolate: these pictures are soft anyway."""

    def render(
        self,
        K: Float[Tensor, "S 3 3"],
        camera_from_world: Float[Tensor, "S 4 4"],
        *,
        height: int,
        width: int,
    ) -> Float[Tensor, "S H W 3"]:
        """See :class:`metrichmsr.synthetic.environments.Background`."""
        step = 2 if self.coarse else 1
        rows, columns = -(-height // step), -(-width // step)
        device = K.device
        v = (torch.arange(rows, device=device) + 0.5) * (height / rows)
        u = (torch.arange(columns, device=device) + 0.5) * (width / columns)
        rotation = camera_from_world[:, :3, :3].float().transpose(1, 2)
        to_world = rotation @ torch.linalg.inv(K.double()).float()
        # Directions are linear in the pixel: a row's and a column's part, added.
        directions = (
            u[None, None, :, None] * to_world[:, None, None, :, 0]
            + v[None, :, None, None] * to_world[:, None, None, :, 1]
            + to_world[:, None, None, :, 2]
        )
        parts = [self._look(i, directions[i], float(K[i, 0, 0])) for i in range(len(K))]
        picture = torch.stack(parts)
        if step > 1:
            planes = picture.permute(0, 3, 1, 2)
            planes = torch.nn.functional.interpolate(planes, size=(height, width), mode="bilinear")
            picture = planes.permute(0, 2, 3, 1).contiguous()
        return picture

    def _look(self, shot: int, directions: Float[Tensor, "h w 3"], focal_px: float) -> Float[Tensor, "h w 3"]:
        number = self.picture[shot : shot + 1]
        size = self.pool.size(number)[0]
        if bool(self.is_panorama[shot]):
            x, y, z = directions.unbind(-1)
            heading = torch.atan2(x, z) - self.yaw[shot]
            latitude = torch.atan2(y, torch.hypot(x, z))
            place = torch.stack([0.5 - heading / (2 * math.pi), 0.5 + latitude / math.pi], dim=-1)
            texels = size[0] / (2 * math.pi * focal_px)
        else:
            seen = directions @ self.patch_from_world[shot].T
            z = seen[..., 2:]
            flat = seen[..., :2] / torch.where(z.abs() < 0.05, torch.full_like(z, 0.05), z)
            place = 0.5 + flat * self.patch_scale[shot] * flat.new_tensor([1.0, -1.0])
            # Beyond its edges a picture goes on mirrored.
            place = 1 - (place.remainder(2) - 1).abs()
            texels = self.patch_scale[shot, 0] * size[0] / focal_px
        flat_place = place.reshape(-1, 2)
        if not bool(self.is_panorama[shot]):
            flat_place = flat_place.clamp(0.5 / float(size.max()), 1 - 0.5 / float(size.max()))
        count = len(flat_place)
        colours = self.pool.sample(number.expand(count), flat_place, texels.expand(count))[:, :3]
        return (colours.pow(_GAMMA) * self.gain[shot]).view(*directions.shape[:2], 3)
