"""Initial depths that fail as real sources do: what the refinement network learns to mend.

Wrong global scale and shift; scale fields that are tilted, bent or wavy; compressed or stretched range; smoothed edges;
people flattened into what is behind them, or floating; holes; noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from metrichmsr.geometry import pixel_centers
from metrichmsr.training.depth.samples import NOBODY, SceneSamples

_FAR_M = 80.0


@dataclass(frozen=True)
class Corruption:
    """How strongly, one sigma each unless said otherwise; every picture gets an amount of its own."""

    scale: float = 0.25
    """log of the global scale."""
    shift: float = 0.12
    """Global shift over the depth of what is near (the nearest tenth of the picture): metres that do not matter on a
    street would be absurd for a face."""
    tilt: float = 0.12
    """log scale from one side of the picture to the other."""
    bend: float = 0.08
    """log scale between middle and corners."""
    waves: float = 0.08
    """log scale of a smooth random field of 3×4 cells."""
    range: float = 0.12
    """log of the power to which depth over its median is raised."""
    people: float = 0.10
    """log scale of each person alone."""
    flattened: float = 0.15
    """Share of pictures whose people lie in the plane of what surrounds them."""
    blur_px: float = 2.5
    """Mean radius by which edges are smoothed, half of the pictures."""
    holes: float = 0.3
    """Share of pictures with holes."""
    noise: float = 0.01
    """log of each pixel."""


def corrupted(
    samples: SceneSamples, generator: torch.Generator, how: Corruption | None = None
) -> tuple[Float[Tensor, "B H W"], Bool[Tensor, "B H W"]]:
    """Initial depth made of the truth, and where it is known.

    Args:
        samples: the truth.
        generator: of what is done.
        how: how strongly.
    """
    how = how or Corruption()
    depth = samples.depth_m.float()
    count, height, width = depth.shape
    device = depth.device

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator).to(device)

    def randn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    known = (depth > 0) | (samples.far > 0)
    # Sources put the sky somewhere.
    log = torch.where(depth > 0, depth, _FAR_M).clamp_min(0.05).log()
    median = torch.where(depth > 0, log, torch.nan).flatten(1).nanmedian(1).values.nan_to_num(nan=1.0)[:, None, None]
    amount = 1.6 * rand(count, 1, 1)
    flat = rand(count) < how.flattened
    person = samples.person.long()
    is_person = person != NOBODY
    behind = _surroundings(log, known & ~is_person)
    share = (0.5 + 0.5 * rand(count))[:, None, None]
    log = torch.where(flat[:, None, None] & is_person, log + share * (behind - log), log)
    alone = amount * how.people * randn(count, 32, 1)
    row = person.clamp_max(31)
    log = log + torch.where(is_person, alone[..., 0].gather(1, row.flatten(1)).view_as(log), 0.0)
    radius = how.blur_px * -rand(count).clamp_min(1e-3).log() * (rand(count) < 0.5)
    log = _blurred(log, radius)
    power = (amount * how.range * randn(count, 1, 1)).exp()
    log = median + (log - median) * power
    place = pixel_centers(height, width, device=device) / torch.tensor([width, height], device=device) * 2 - 1
    x, y = place[..., 0], place[..., 1]
    field = how.tilt / 2 * (randn(count, 1, 1) * x + randn(count, 1, 1) * y)
    field = field + how.bend / 2 * (randn(count, 1, 1) * (x * x + y * y - 0.7) + randn(count, 1, 1) * x * y)
    waves = F.interpolate(randn(count, 1, 3, 4), size=(height, width), mode="bicubic", align_corners=True)[:, 0]
    field = field + how.waves * waves
    log = log + amount * field + how.noise * rand(count, 1, 1) * randn(count, height, width)
    near = torch.nanquantile(torch.where(depth > 0, log, torch.nan).flatten(1)[:, ::7], 0.1, dim=1).nan_to_num(nan=1.0)
    near = near.exp()[:, None, None]
    wrong = log.exp() * (how.scale * randn(count, 1, 1)).exp() + how.shift * amount * randn(count, 1, 1) * near
    known = known & (wrong > 0.05 * near)
    holes = (rand(count) < how.holes)[:, None, None]
    blobs = F.interpolate(randn(count, 1, 6, 8), size=(height, width), mode="bicubic", align_corners=True)[:, 0]
    known &= ~(holes & (blobs > 1.2))
    return torch.where(known, wrong, 0.0), known


def _blurred(log: Float[Tensor, "B H W"], radius: Float[Tensor, "B"]) -> Float[Tensor, "B H W"]:
    """Each picture with its own radius, between boxes of fixed size."""
    sizes = (1, 3, 5, 9, 15)
    layers = [log]
    for size in sizes[1:]:
        layers.append(F.avg_pool2d(log[:, None], size, 1, size // 2, count_include_pad=False)[:, 0])
    level = radius.clamp(0, 7)
    radii = torch.tensor([(size - 1) / 2 for size in sizes], device=log.device)
    upper = torch.searchsorted(radii, level).clamp(1, len(sizes) - 1)
    weight = ((level - radii[upper - 1]) / (radii[upper] - radii[upper - 1]))[:, None, None]
    stack = torch.stack(layers, 1)
    rows = torch.arange(len(log), device=log.device)
    return stack[rows, upper - 1] * (1 - weight) + stack[rows, upper] * weight


def _surroundings(log: Float[Tensor, "B H W"], background: Bool[Tensor, "B H W"]) -> Float[Tensor, "B H W"]:
    """Background depth carried on behind people: local means of what is seen, coarser where nothing is near."""
    weight = background.float()
    filled, missing = torch.zeros_like(log), torch.ones_like(log, dtype=torch.bool)
    for size in (31, 91, 181):
        total = _boxed(weight, size)
        mean = _boxed(log * weight, size) / total.clamp_min(1e-3)
        use = missing & (total > 0.02)
        filled = torch.where(use, mean, filled)
        missing &= ~use
    return torch.where(missing, log, filled)


def _boxed(values: Float[Tensor, "B H W"], size: int) -> Float[Tensor, "B H W"]:
    """Mean over a square window around each pixel, roughly: a few cells of a coarser grid."""
    cell = max(1, size // 6)
    coarse = F.avg_pool2d(values[:, None], cell)
    coarse = F.avg_pool2d(coarse, 7, 1, 3, count_include_pad=False)
    return F.interpolate(coarse, size=values.shape[1:], mode="bilinear", align_corners=False)[:, 0]
