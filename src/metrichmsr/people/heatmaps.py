"""What the heat maps add to the regressed landmarks: a finer place, a confidence, an uncertainty."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.people.blazepose import CROP_SIZE

WINDOW = 7
"""Cells around a landmark that are looked at."""
MIN_PEAK = 0.5
"""Heat maps that stay lower than this refine nothing."""
TARGET_SIGMA = 4.5
"""Width of a sure landmark's heat map: one sigma in crop pixels."""
SIGMA_FLOOR = 1.5
"""No landmark is surer than this, crop pixels."""
OVERCONFIDENCE = 2.0
"""Factor between the uncertainty a heat map claims and the one it has."""


class Refined(NamedTuple):
    """Landmarks after a look at their heat maps. Crop pixels."""

    xy: Float[Tensor, "B P 2"]
    peak: Float[Tensor, "B P"]
    """Height of the heat map near the landmark, in [0, 1]."""


def refine(xy: Float[Tensor, "B P 2"], heatmap_logits: Float[Tensor, "B P h w"]) -> Refined:
    """Move landmarks to the centre of mass of their heat map nearby, where it is high enough.

    Cell (i, j) stands for the crop coordinates (4j, 4i), in continuous pixels: mirrored crops give mirrored heat maps
    under exactly this reading.

    Args:
        xy: regressed landmarks, crop pixels.
        heatmap_logits: one map per landmark.
    """
    height, width = heatmap_logits.shape[-2:]
    cell = CROP_SIZE / width
    steps = torch.arange(WINDOW, device=xy.device) - WINDOW // 2
    column = (xy[..., 0] / cell).floor().long()[..., None] + steps
    row = (xy[..., 1] / cell).floor().long()[..., None] + steps
    inside = ((row >= 0) & (row < height))[..., :, None] & ((column >= 0) & (column < width))[..., None, :]
    flat = row.clamp(0, height - 1)[..., :, None] * width + column.clamp(0, width - 1)[..., None, :]
    heat = heatmap_logits.flatten(2).gather(2, flat.flatten(2)).reshape(flat.shape).sigmoid() * inside
    peak = heat.amax((-2, -1))
    mass = heat.sum((-2, -1)).clamp_min(1e-6)
    mean_column = (heat.sum(-2) * column).sum(-1) / mass
    mean_row = (heat.sum(-1) * row).sum(-1) / mass
    center_inside = inside[..., WINDOW // 2, WINDOW // 2]
    trusted = ((peak >= MIN_PEAK) & center_inside)[..., None]
    return Refined(torch.where(trusted, cell * torch.stack([mean_column, mean_row], dim=-1), xy), peak)


def sigma_of_peak(peak: Float[np.ndarray, "*B"]) -> Float[np.ndarray, "*B"]:
    """Uncertainty of a landmark, one sigma per axis in crop pixels, from the height of its heat map.

    The maps are trained towards a Gaussian of height 1. If the landmark's place is itself uncertain by σ, the best a
    network can answer is that Gaussian (width h) blurred by σ, whose height is h²/(h²+σ²): so σ = h·√(1/peak − 1).
    """
    blur = TARGET_SIGMA * np.sqrt(1 / np.clip(peak, 0.02, 1) - 1)
    return np.sqrt((OVERCONFIDENCE * blur) ** 2 + SIGMA_FLOOR**2)
