"""Who is in photographs, and of whom the network has learned: what is believed of people before they are seen.

A distribution over statures is only as good as the population behind it. SynFocal draws children and old people oftener
than they come, so that the network knows them; what it says of somebody in a photograph is therefore weighed by how
much likelier each stature is there (Bayes' rule; :func:`metrichmsr.hmr.stature.as_photographed`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.bodies.shape_prior import stature_by_years
from metrichmsr.hmr.stature_grid import GROWN_UP_M, STATURES_M

CHILDREN, YOUTHS = 0.10, 0.07
"""Share of people below 11 years in photographs, who are about those below 1.45 m, and of those from 11 to 17."""
MEN = 0.6
"""Share of men and boys. Of the people in COCO's photographs whose sex could be told two in three were men (Zhao, Wang,
Russakovsky, ICCV 2021); of those who are photographed by friends it will be nearer to half."""

_OLDEST, _STEP = 90, 0.25
"""Years: babies grow by a quarter of a metre in the first."""


@dataclass(frozen=True)
class Statures:
    """A population by three numbers."""

    children: float
    """Share of people below :data:`~metrichmsr.hmr.stature_grid.GROWN_UP_M`."""
    mean_m: float
    """Mean of everybody else's stature…"""
    sigma_m: float
    """…and its standard deviation."""

    def grown_ups(self, statures_m: Float[Tensor, "S"]) -> Float[Tensor, "S"]:
        """Distribution of grown-ups over statures: normal, nothing below."""
        normal = (-0.5 * ((statures_m - self.mean_m) / self.sigma_m).square()).exp()
        normal = torch.where(statures_m >= GROWN_UP_M, normal, 0.0)
        return normal / normal.sum()


LEARNED = Statures(children=0.174, mean_m=1.680, sigma_m=0.094)
"""Of 52,000 samples, rendered and simulated, such as the shipped network has learned from."""


def ages() -> Float[Tensor, "A"]:
    """Years that are summed over."""
    return torch.arange(0, _OLDEST, _STEP, dtype=torch.float64)


@cache
def photographed_people() -> Float[Tensor, "A X S"]:
    """p(age, sex, stature) in photographs: :func:`ages`, men before women, the bins of statures."""
    age = ages()
    mean, spread = (torch.from_numpy(values)[..., None] for values in stature_by_years(age.numpy()))  # A X 1
    off = (torch.tensor(STATURES_M, dtype=torch.float64) - mean) / spread
    of_stature = (-0.5 * off.square()).exp()
    of_stature = of_stature / of_stature.sum(-1, keepdim=True)
    # Grown-ups: as many at each age up to 45, then fewer.
    share = torch.where(age < 45, 1.0, (_OLDEST - age) / 45)
    groups = (
        (age < 11, CHILDREN),
        ((age >= 11) & (age < 18), YOUTHS),
        (age >= 18, 1 - CHILDREN - YOUTHS),
    )
    share = sum((total * share * inside / (share * inside).sum() for inside, total in groups), torch.zeros_like(age))
    sex = torch.tensor([MEN, 1 - MEN], dtype=torch.float64)
    return share[:, None, None] * sex[:, None] * of_stature


@cache
def photographed_statures() -> Float[Tensor, "S"]:
    """p(stature) in photographs."""
    return photographed_people().sum((0, 1))


@cache
def photographed() -> Statures:
    """The same by three numbers."""
    statures = torch.tensor(STATURES_M, dtype=torch.float64)
    share = photographed_statures()
    grown_up = share * (statures >= GROWN_UP_M)
    mean = (grown_up * statures).sum() / grown_up.sum()
    variance = (grown_up * (statures - mean).square()).sum() / grown_up.sum()
    return Statures(float(1 - grown_up.sum()), float(mean), float(variance.sqrt()))
