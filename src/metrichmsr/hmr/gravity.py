"""Which way is up, as one token beside the rays (ours).

A picture plane does not tell whether somebody who seems short leans towards the camera or away from it. People who
stand do neither, so it helps to know which way is up: how the camera was held is part of the camera, as its rays are.
What is known of it comes with its doubt, and a crop of which nothing is known says so.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metrichmsr.hmr.heads import camera_from_crop

LEAST_SIGMA_RAD = math.radians(0.5)
"""Nobody knows better."""


def gravity_inputs(
    up: Float[Tensor, "N 3"], sigma_rad: Float[Tensor, "N"], K_crop: Float[Tensor, "N 3 3"], *, crop_size: int
) -> Float[Tensor, "N 4"]:
    """What the network is told of up.

    Args:
        up: unit vectors against gravity, camera frame; NaN where nothing is known.
        sigma_rad: root mean square angle to the true ones.
        K_crop: (crop from image)·K of each crop.
        crop_size: pixels of a crop's side.

    Returns:
        The unit vector in the crop's view frame and −log σ (0 for a radian, larger for what is surer); all zero where
        nothing is known.
    """
    view = camera_from_crop(K_crop, crop_size)
    turned = (view.transpose(1, 2) @ up[..., None]).squeeze(-1)
    sure = -sigma_rad.clamp(LEAST_SIGMA_RAD, 1.0).log()
    return torch.cat([turned, sure[:, None]], dim=-1).nan_to_num() * torch.isfinite(up).all(-1, keepdim=True)


class GravityToken(nn.Module):
    """The four numbers of :func:`gravity_inputs` as one token of the network's width.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(4, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, up: Float[Tensor, "B 4"]) -> Float[Tensor, "B 1 D"]:
        """The token."""
        return self.embed(up)[:, None]
