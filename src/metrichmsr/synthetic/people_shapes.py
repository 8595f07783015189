"""Who is in the picture: age, sex and build, with more children than the shape prior draws."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metrichmsr.bodies.shape_prior import AGE, AGE_KNOTS, GENDER, HEIGHT, MUSCLE, WEIGHT, YEARS_KNOTS, ShapePrior

_YEARS_GRID = torch.tensor(YEARS_KNOTS)
_AGE_GRID = torch.tensor(AGE_KNOTS)


@dataclass(frozen=True)
class ShapeMix:
    """Whom to draw."""

    children: float = 0.25
    """Share under 16 years."""
    infants: float = 0.06
    """Share of the children under one year."""
    toddlers: float = 0.22
    """Share of the children from one to four years."""
    elders: float = 0.18
    """Share of the adults over 65 years."""
    any_build: float = 0.2
    """Share whose muscle and weight are drawn evenly over their range, where the prior has few."""
    adult_sexes: float = 0.85
    """Share of clearly male or female bodies; the rest lies anywhere between."""


def age_parameter(years: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
    """Anny's age parameter."""
    return _interpolate(years, _YEARS_GRID.to(years), _AGE_GRID.to(years))


def age_years(age: Float[Tensor, "P"]) -> Float[Tensor, "P"]:
    """Years of Anny's age parameter."""
    return _interpolate(age, _AGE_GRID.to(age), _YEARS_GRID.to(age))


def draw_shapes(
    prior: ShapePrior,
    count: int,
    generator: torch.Generator,
    *,
    mix: ShapeMix | None = None,
    carried: Bool[Tensor, "P"] | None = None,
    grown: Bool[Tensor, "P"] | None = None,
) -> Float[Tensor, "P 6"]:
    """Shapes whose stature is as likely as the prior has it for their age and sex.

    Args:
        prior: on the CPU.
        count: how many.
        generator: of the CPU.
        mix: ages and builds.
        carried: who is small enough to be carried, whatever the mix says.
        grown: who is old enough to carry.
    """
    mix = mix or ShapeMix()
    shape = prior.sample(count, generator)
    u = torch.rand(8, count, generator=generator)
    is_child = u[0] < mix.children
    infant, toddler = mix.infants, mix.infants + mix.toddlers
    child = torch.where(u[1] < infant, u[2], torch.where(u[1] < toddler, 1 + 3 * u[2], 4 + 12 * u[2]))
    adult = torch.where(u[1] < mix.elders, 65 + 25 * u[2].square(), 16 + 49 * u[2].pow(1.15))
    years = torch.where(is_child, child, adult)
    if carried is not None:
        years = torch.where(carried, 0.3 + 4.2 * u[2], years)
    if grown is not None:
        years = torch.where(grown & (years < 17), 17 + 40 * u[1], years)
    old_age = shape[:, AGE].clone()
    shape[:, AGE] = age_parameter(years)
    # The prior's muscle goes with age; keep its draw where the new age is, and never the old strong heavy corner.
    evenly = u[3] < mix.any_build
    fading = 0.3 * ((3 * shape[:, AGE] - 2).clamp(0, 1) - (3 * old_age - 2).clamp(0, 1))
    shape[:, MUSCLE] = torch.where(
        evenly, u[4] * (1 - (3 * shape[:, AGE] - 2).clamp(0, 0.6)), shape[:, MUSCLE] - fading
    )
    shape[:, MUSCLE].clamp_(0, 1)
    shape[:, WEIGHT] = torch.where(evenly, u[5], shape[:, WEIGHT])
    clear = u[6] < mix.adult_sexes
    sided = torch.where(shape[:, GENDER] < 0.5, 0.12 * u[7], 1 - 0.12 * u[7])
    shape[:, GENDER] = torch.where(clear, sided, shape[:, GENDER])
    # Stature as the prior has it at the new age: the share of spread that was drawn stays.
    mean, spread = prior.expected_stature(shape[:, GENDER], shape[:, AGE])
    middle, slope = prior.stature(
        torch.cat([shape[:, :HEIGHT], shape.new_full((count, 1), 0.5), shape[:, HEIGHT + 1 :]], 1)
    )
    normal = torch.randn(count, generator=generator).clamp_(-2.5, 2.5)
    shape[:, HEIGHT] = (0.5 + (mean + normal * spread - middle) / slope).clamp(0, 1)
    return shape


def _interpolate(x: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    cell = torch.searchsorted(knots, x.contiguous(), right=True).clamp(1, len(knots) - 1) - 1
    share = ((x - knots[cell]) / (knots[cell + 1] - knots[cell])).clamp(0, 1)
    return torch.lerp(values[cell], values[cell + 1], share)
