"""Errors of the estimate beside those of the assumed focal length (the longer side), set by set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metrichmsr.calibration.assumed import RELATIVE_SIGMA
from metrichmsr.calibration.film import FILM_DIAGONAL_MM
from metrichmsr.calibration.view_network import ViewNetwork
from view_pictures.collection import Described, degrees

HEADING = (
    "| set | pictures | assumed: median, mean | 27 mm: mean | estimated: median, mean | closer | within 1 σ | σ | "
    "pitch, roll: median (level) | within 1 σ |\n" + "| --- " * 10 + "|"
)

PHONE = math.log(27 / FILM_DIAGONAL_MM)
"""log(focal length / diagonal) of a phone's main camera, for comparison: a constant, too."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What the network says of views, and the truth."""

    values: Float[Tensor, "S 3"]
    sigmas: Float[Tensor, "S 3"]
    truth: Float[Tensor, "S 3"]
    assumed: Float[Tensor, "S"]
    """log(longer side / diagonal)."""
    sets: list[str]

    @property
    def errors(self) -> Float[Tensor, "S 3"]:
        """Absolute errors; NaN where the truth is unknown."""
        return (self.values - self.truth).abs()


@torch.inference_mode()
def answers(network: ViewNetwork, views: Described, *, bare: bool = False) -> Answers:
    """Ask about all views; ``bare`` leaves out what is known of usual lenses."""
    ask = network if bare else network.estimate
    network.eval()
    values, sigmas = [], []
    for i in range(len(views)):
        value, sigma = ask(views.features[i][None].float(), views.places(i))
        values.append(value[0])
        sigmas.append(sigma[0])
    assumed = torch.log(views.sizes.max(1).values / views.sizes.norm(dim=1))
    return Answers(torch.stack(values), torch.stack(sigmas), views.truth, assumed, views.sets)


def sigma_factors(given: Answers, *, by_set: bool = False) -> Float[Tensor, "3"]:
    """By what to multiply each sigma so that 68.3 % of the errors lie within it.

    Args:
        given: answers with their truth.
        by_set: count every set alike, however many pictures it has.
    """
    weights = torch.ones(len(given.sets))
    if by_set:
        weights = torch.tensor([1 / given.sets.count(name) for name in given.sets])
    factors = []
    for ratio in (given.errors / given.sigmas).T:
        known = ~ratio.isnan()
        ordered, order = ratio[known].sort()
        share = weights[known][order].cumsum(0) / weights[known].sum()
        factors.append(ordered[int((share < 0.6827).sum())])
    return torch.stack(factors)


def row(name: str, given: Answers, chosen: Sequence[int]) -> str:
    """One line of the table."""
    index = torch.tensor(list(chosen))
    errors, sigmas = given.errors[index], given.sigmas[index]
    assumed = (given.assumed[index] - given.truth[index, 0]).abs()
    focal = errors[:, 0]
    cells = [
        name,
        str(len(index)),
        f"{assumed.median():.3f}, {assumed.mean():.3f}",
        f"{(PHONE - given.truth[index, 0]).abs().mean():.3f}",
        f"{focal.median():.3f}, {focal.mean():.3f}",
        _percent(focal < assumed),
        f"{_percent(focal <= sigmas[:, 0])} (assumed {_percent(assumed <= RELATIVE_SIGMA)})",
        f"{sigmas[:, 0].median():.2f}",
    ]
    known = ~errors[:, 1].isnan()
    if bool(known.any()):
        tilt = errors[known, 1:]
        within = (tilt <= sigmas[known, 1:]).float().mean(0) * 100
        middle = degrees(tilt.median(0).values)
        level = degrees(given.truth[index][known, 1:].abs().median(0).values)
        cells += [
            f"{middle[0]:.1f}°, {middle[1]:.1f}° ({level[0]:.1f}°, {level[1]:.1f}°)",
            f"{within[0]:.0f} %, {within[1]:.0f} %",
        ]
    else:
        cells += ["", ""]
    return f"| {' | '.join(cells)} |"


def _percent(those: Bool[Tensor, "S"]) -> str:
    return f"{100 * those.float().mean():.0f} %"


def table(given: Answers, name: str, *, each: bool) -> str:
    """Rows of all views together and, with ``each``, of every set; and the mean over sets of the medians."""
    lines = [row(name, given, range(len(given.sets)))]
    names = list(dict.fromkeys(given.sets))
    if each:
        members = {name: [i for i, other in enumerate(given.sets) if other == name] for name in names}
        lines += [row(set_name, given, index) for set_name, index in members.items()]
        assumed = (given.assumed - given.truth[:, 0]).abs().numpy()
        phone = (PHONE - given.truth[:, 0]).abs().numpy()
        focal = given.errors[:, 0].numpy()
        by_set = [
            (
                np.median(assumed[index]),
                assumed[index].mean(),
                phone[index].mean(),
                np.median(focal[index]),
                focal[index].mean(),
            )
            for index in members.values()
        ]
        a, b, p, c, d = np.mean(by_set, axis=0)
        wins = sum(one[4] < one[1] for one in by_set)
        lines.append(
            f"| mean of the {len(names)} sets | | {a:.3f}, {b:.3f} | {p:.3f} | {c:.3f}, {d:.3f} "
            f"| {wins} of {len(names)} sets | | | | |"
        )
    return "\n".join(lines)
