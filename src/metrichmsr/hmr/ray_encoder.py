"""The bounding camera ray map as tokens (paper §3.1): a ViT over K'⁻¹[u, v, 1]ᵀ.

Beside its patches the map gets one summary token: the ray through the crop's middle and, as a logarithm, how large a
crop pixel is on the plane z = 1. All of it is read off the map itself; a rotated crop's map is as good as any.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metrichmsr.hmr.transformer import Layer


class RayEncoder(nn.Module):
    """ViT over a ray map.

    Args:
        width: D, width of tokens.
        heads: attention heads.
        hidden: width inside the feed-forward parts.
        depth: layers.
        map_size: rows and columns of the map.
        patch: rows and columns of a patch.
    """

    def __init__(self, *, width: int, heads: int, hidden: int, depth: int, map_size: int, patch: int) -> None:
        super().__init__()
        if map_size % patch:
            raise ValueError(f"a map of {map_size} does not split into patches of {patch}")
        self.map_size = map_size
        self.embed = nn.Conv2d(3, width, patch, stride=patch)
        self.place = nn.Parameter(torch.randn((map_size // patch) ** 2, width) * 0.02)
        self.summary = nn.Linear(5, width)
        self.layers = nn.ModuleList(Layer(width, heads, hidden) for _ in range(depth))

    def forward(self, rays: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B M D"]:
        """Ray tokens, the summary first.

        Args:
            rays: rays at the crop's pixel centres (of a coarser grid of map_size² cells), camera frame, z = 1.
        """
        patches = self.embed(rays).flatten(2).transpose(1, 2) + self.place
        tokens = torch.cat([self.summary(summarise(rays))[:, None], patches], dim=1)
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens


def summarise(rays: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 5"]:
    """Middle ray (x, y), direction of the crop's right on the plane z = 1 (x, y), log of the crop's width there."""
    plane = rays[:, :2] / rays[:, 2:]
    middle = plane.mean((2, 3))
    right = plane[:, :, :, -1].mean(-1) - plane[:, :, :, 0].mean(-1)
    width = right.norm(dim=-1, keepdim=True) * rays.shape[-1] / (rays.shape[-1] - 1)
    return torch.cat([middle, torch.nn.functional.normalize(right, dim=-1), width.clamp_min(1e-6).log()], dim=-1)
