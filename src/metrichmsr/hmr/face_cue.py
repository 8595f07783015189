"""What a face tells of a body: children are small, and men are taller than women by thirteen centimetres.

BlazePose's features hardly tell who is a child, and not at all who is a man. A face does, where it is seen. It comes in
as one more likelihood, p(face | stature), beside the ground and the company (:mod:`metrichmsr.hmr.stature`):

    p(face | h) = Σ_age Σ_sex p(read age | age) p(read sex | sex) p(age, sex | h)

with p(age, sex | h) from how tall people of an age and sex are and how many of them are in photographs
(:mod:`metrichmsr.hmr.population`). The reading can be wrong (dark, blurred, masked, a picture on a wall), so with
the chance 1 − w it says nothing; w falls for small faces, and for those turned away. In the same way the body's build
moves from where the network has it (between a man's and a woman's) to the read one. Ours; the paper has no such step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.hmr.population import ages, photographed_people, photographed_statures
from metrichmsr.people.faces import SMALLEST_PX, Faces


@dataclass(frozen=True)
class FaceCue:
    """What is believed of readings of faces."""

    age_sigma_years: float = 5.0
    """One sigma of the age that is read, of a newborn's face that is large…"""
    age_sigma_growth: float = 0.1
    """…and what each year of age adds to it."""
    sharp_px: float = 45.0
    """Faces at least this large are large; sigma grows as one over the size of smaller ones."""
    least_doubt: float = 0.04
    """Nobody's sex is read more surely than this."""
    trust: float = 0.9
    """w for a large face that looks at the camera."""


def stature_likelihood(faces: Faces, belief: FaceCue | None = None) -> Float[Tensor, "N S"]:
    """p(face | stature) over :data:`~metrichmsr.hmr.stature_grid.STATURES_M`, up to a factor; ones where none is seen.

    Args:
        faces: of N people.
        belief: about readings.
    """
    belief = belief or FaceCue()
    people, population = _people()  # A X S, S
    age = ages()
    read = torch.from_numpy(np.nan_to_num(faces.age_years, nan=30.0))
    male = torch.from_numpy(np.nan_to_num(faces.male, nan=0.5))
    size = torch.from_numpy(faces.size_px)
    small = _smallness(size, belief)
    sigma = (belief.age_sigma_years + belief.age_sigma_growth * age) * small[:, None]  # N A
    of_age = (-0.5 * ((read[:, None] - age) / sigma).square()).exp() / sigma
    odds = _log_odds(male, small, belief)
    of_men = torch.stack([torch.sigmoid(odds), torch.sigmoid(-odds)], dim=-1)  # N X
    grown = ((age - 8) / 8).clamp(0, 1)[:, None]  # children's sex is hardly read, and makes no difference
    of_sex = 0.5 + grown * (of_men[:, None] - 0.5)  # N A X
    told = torch.einsum("na,nax,axs->ns", of_age, of_sex, people)
    mean = (told * population).sum(-1, keepdim=True)
    weight = belief.trust * _seen(faces)[:, None]
    return (weight * told / mean + (1 - weight)).float()


def build(gender: Float[Tensor, "N"], faces: Faces, belief: FaceCue | None = None) -> Float[Tensor, "N"]:
    """Anny's gender parameter (0 a man's body, 1 a woman's), moved towards what faces show as far as they are seen.

    Args:
        gender: as the network has it.
        faces: of the same N people.
        belief: about readings.
    """
    belief = belief or FaceCue()
    male = torch.from_numpy(np.nan_to_num(faces.male, nan=0.5))
    small = _smallness(torch.from_numpy(faces.size_px), belief)
    read = torch.sigmoid(-_log_odds(male, small, belief)).to(gender)
    return torch.lerp(gender, read, (belief.trust * _seen(faces)).to(gender))


def _smallness(size_px: Float[Tensor, "N"], belief: FaceCue) -> Float[Tensor, "N"]:
    """By how much readings of small faces are worse."""
    return (belief.sharp_px / size_px.clamp_min(1e-3)).clamp_min(1.0)


def _log_odds(male: Float[Tensor, "N"], small: Float[Tensor, "N"], belief: FaceCue) -> Float[Tensor, "N"]:
    """Of a man's face: nearer to zero for small ones, which tell less."""
    return torch.logit(male.clamp(belief.least_doubt, 1 - belief.least_doubt)) / small


def _seen(faces: Faces) -> Float[Tensor, "N"]:
    """How well faces are seen, in [0, 1]: turned to the camera, large enough, all of it marked; 0 where not read."""
    read = np.isfinite(faces.age_years)
    turned = np.clip((faces.facing - 0.2) / 0.5, 0, 1)
    large = np.clip((faces.size_px - SMALLEST_PX) / 20, 0, 1)
    marked = np.clip((faces.confidence - 0.2) / 0.3, 0, 1)
    return torch.from_numpy(np.where(read, turned * large * marked, 0.0))


@cache
def _people() -> tuple[Float[Tensor, "A X S"], Float[Tensor, "S"]]:
    """p(age, sex | stature), and the distribution of statures, in photographs."""
    joint, population = photographed_people(), photographed_statures()
    # A little of everybody everywhere: nobody is impossible.
    joint = joint + 1e-6 * joint.sum(-1, keepdim=True) / math.prod(joint.shape[1:])
    return joint / joint.sum((0, 1)), population
