"""Statures as a distribution over a grid: what one number with a sigma cannot say is "a child, or a small grown-up"."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

STATURES_M: tuple[float, ...] = tuple(round(0.45 + 0.04 * i, 2) for i in range(42))
"""Middles of the bins, metres: newborn to 2.09 m."""
BIN_M = 0.04
GROWN_UP_M = 1.45
"""Whoever is shorter counts as a child in figures and in samples."""


def grid_like(tensor: Tensor) -> Float[Tensor, "S"]:
    """The bins' middles, metres, on the tensor's device."""
    return tensor.new_tensor(STATURES_M)


def soft_bins(height_m: Float[Tensor, "*B"], sigma_m: float = 0.02) -> Float[Tensor, "*B S"]:
    """A stature as a distribution: a normal one of this sigma, so that neighbouring bins are neighbours."""
    away = (height_m[..., None] - grid_like(height_m)) / sigma_m
    return (-0.5 * away.square()).softmax(-1)


def quantile(probability: Float[Tensor, "*B S"], share: float) -> Float[Tensor, "*B"]:
    """Stature below which this share lies, metres; even within a bin."""
    below = probability.cumsum(-1)
    cell = (below < share).sum(-1).clamp_max(probability.shape[-1] - 1)
    here = probability.gather(-1, cell[..., None]).squeeze(-1).clamp_min(1e-9)
    before = below.gather(-1, cell[..., None]).squeeze(-1) - here
    return grid_like(probability)[cell] + ((share - before) / here - 0.5).clamp(-0.5, 0.5) * BIN_M
