"""Convolutions shared by the scene's two networks."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metrichmsr.people.layers import upsample2


class DoubleConv(nn.Module):
    """Two 3×3 convolutions with group norm and GELU; the first may halve the size."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
            nn.GroupNorm(8, channels_out),
            nn.GELU(),
            nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False),
            nn.GroupNorm(8, channels_out),
            nn.GELU(),
        )

    def forward(self, x: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B Cout h w"]:  # noqa: D102
        return self.body(x)


class Up(nn.Module):
    """A UNet decoder's step: twice the size, joined with the encoder's map of that size."""

    def __init__(self, channels_in: int, channels_skip: int, channels_out: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels_in, channels_out, 1)
        self.join = DoubleConv(channels_out + channels_skip, channels_out)

    def forward(self, x: Float[Tensor, "B Ci h w"], skip: Float[Tensor, "B Cs 2*h 2*w"]) -> Float[Tensor, "B Co H W"]:
        """Decode ``x`` with the encoder's map beside it."""
        return self.join(torch.cat([upsample2(self.narrow(x)), skip], dim=1))
