"""How tall everybody in a picture is: what the network says of each, joined with the ground that they share.

One person's stature and distance cannot be told apart by projection: the whole body, twice as large and twice as far
away, makes the same picture. What breaks the tie is evidence about statures, and each piece comes as a distribution:

* **the person**: the network's distribution over statures, from proportions, face, clothes and pose (its head
  ``stature``);
* **the ground**: whoever stands on the floor has their feet at the camera's height below it. That height is not known,
  but it is the same for everybody, and most photographs are taken at eye level. So the tall and the small of a group
  sort themselves out, and a lone "giant" whose feet lie four metres below the camera is rather a child;
* **what photographs show**: about one in ten people is a child, of the network's synthetic people one in six, and
  grown-ups are two centimetres taller there (:mod:`~metrichmsr.hmr.population`). What the network says of each is
  weighed anew by that (:func:`as_photographed`): of a doubtful case a grown-up is the likelier half;
* **how well somebody is seen**: whoever is hardly seen is rather as people in photographs are (:func:`as_seen`);
* **what the user knows**: a stature given for one person says how high the camera is, and so helps with all others;
  that all are grown up, or children, leaves only such statures (:func:`among`).

With h_i the stature, g_i the height of the camera above the feet in units of that stature (read off the recovered body,
which is right up to scale), c the camera's height and δ the error of its pitch:

    p(h_1 … h_N) ∝ Σ_c Σ_δ p(c) p(δ) Π_i p_i(h_i) · [(1 − ε) N(ln h_i + ln g_i(δ) − ln c; σ_i) + ε]

ε is the chance that somebody does not stand on that floor (jumps, sits on a wall, stands on stairs). All is summed over
grids, nothing is optimised. This is ours; the paper has no such step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metrichmsr.hmr.population import LEARNED, photographed, photographed_statures
from metrichmsr.hmr.stature_grid import GROWN_UP_M, grid_like, quantile, soft_bins

Who = Literal["anybody", "adults", "children"]
"""What the user knows of the people in a picture."""

_PITCHES = 9
_SEEN = 0.3, 0.45
"""Scores at which nothing of a body, and enough of it, is seen to tell its stature by."""


@dataclass(frozen=True)
class GroundCue:
    """What is believed of cameras and of people on the ground, before a picture is seen."""

    camera_height_m: float = 1.5
    """Median height of cameras above the floor that people stand on."""
    log_spread: float = 0.25
    """One sigma of its logarithm for pictures taken at eye level…"""
    log_spread_any: float = 0.8
    """…and for the others: from balconies, from the floor."""
    any_share: float = 0.25
    """Share of the others."""
    footing: float = 0.05
    """One sigma of ln g: bent knees, shoes, wrong poses."""
    footing_unseen: float = 0.15
    """The same where no ankle is seen."""
    elsewhere: float = 0.2
    """ε, where an ankle is seen; twice as much where none is."""


@dataclass(frozen=True)
class Footing:
    """How N people stand below the camera, in units that do not change with their size."""

    drop: Float[Tensor, "N"]
    """Height of the camera above the lowest point of the body, in statures; negative where that is above the camera."""
    reach: Float[Tensor, "N"]
    """Horizontal distance to that point, in statures: how fast ``drop`` grows as the camera is pitched."""
    seen: Bool[Tensor, "N"]
    """Whether an ankle is seen."""

    def __getitem__(self, index: Int64[Tensor, "M"]) -> Footing:
        """Some of the people."""
        return Footing(self.drop[index], self.reach[index], self.seen[index])


def footing(
    vertices_m: Float[Tensor, "N V 3"], height_m: Float[Tensor, "N"], up: Float[Tensor, "3"], seen: Bool[Tensor, "N"]
) -> Footing:
    """Read off recovered bodies.

    Args:
        vertices_m: camera frame.
        height_m: the bodies' statures.
        up: unit vector against gravity, camera frame.
        seen: whether an ankle is seen.
    """
    heights = vertices_m @ up
    lowest = heights.argmin(1)
    point = vertices_m[torch.arange(len(vertices_m)), lowest]
    drop = -heights.amin(1)
    ahead = torch.nn.functional.normalize(up.new_tensor([0.0, 0.0, 1.0]) - up[2] * up, dim=-1)
    return Footing(drop / height_m, (point @ ahead) / height_m, seen)


def fuse(
    person: Float[Tensor, "N S"],
    ground: Footing | None = None,
    *,
    up_sigma_rad: float = math.inf,
    known_height_m: Float[Tensor, "N"] | None = None,
    belief: GroundCue | None = None,
) -> Float[Tensor, "N S"]:
    """Distributions of everybody's stature, given all evidence.

    Args:
        person: each person's own distribution over :data:`~metrichmsr.hmr.stature_grid.STATURES_M`.
        ground: how they stand; None leaves the shared ground out.
        up_sigma_rad: one sigma of the direction of up that ``ground`` was read with.
        known_height_m: statures that are known, NaN elsewhere.
        belief: about cameras.
    """
    belief = belief or GroundCue()
    if known_height_m is not None:
        given = torch.isfinite(known_height_m)
        person = torch.where(given[:, None], soft_bins(known_height_m.nan_to_num()), person)
    if ground is None or not math.isfinite(up_sigma_rad) or not len(person):
        return person
    like = _on_ground(ground, up_sigma_rad, belief)  # N S C D
    height = _camera_heights(person)
    away = (height - math.log(belief.camera_height_m)).square()
    eye, anywhere = ((-0.5 * away / spread**2).softmax(-1) for spread in (belief.log_spread, belief.log_spread_any))
    prior = torch.lerp(eye, anywhere, belief.any_share)
    shift = _pitches(person)
    joint = prior[:, None] * (-0.5 * shift.square()).softmax(-1)  # C D
    each = torch.einsum("ns,nscd->ncd", person, like).clamp_min(1e-12).log()
    # Whatever the others say of the camera; a person's own part is left out.
    others = joint.log() + each.sum(0) - each
    weight = others.flatten(1).softmax(-1).view_as(others)
    posterior = person * torch.einsum("ncd,nscd->ns", weight, like)
    return posterior / posterior.sum(-1, keepdim=True)


def as_photographed(person: Float[Tensor, "N S"]) -> Float[Tensor, "N S"]:
    """What the network says of people, each stature weighed by how much likelier it is in photographs (Bayes' rule).

    Two populations, :data:`~metrichmsr.hmr.population.LEARNED` and :func:`~metrichmsr.hmr.population.photographed`.
    """
    statures, there = grid_like(person), photographed()
    grown_up = statures >= GROWN_UP_M
    # The ratio of two densities, as numbers that do not vanish anywhere.
    likelier = there.grown_ups(statures) / LEARNED.grown_ups(statures).clamp_min(1e-12)
    weight = torch.where(
        grown_up, likelier * (1 - there.children) / (1 - LEARNED.children), there.children / LEARNED.children
    )
    weighed = person * weight
    return weighed / weighed.sum(-1, keepdim=True)


def as_seen(person: Float[Tensor, "N S"], score: Float[Tensor, "N"]) -> Float[Tensor, "N S"]:
    """What is said of people who are hardly seen, mixed with who is in photographs: the network is as sure of a guess.

    Args:
        person: each person's own distribution, as photographed.
        score: how well a body was found, from 0 to 1 (:class:`~metrichmsr.people.landmarks.Landmarks`).
    """
    nothing, enough = _SEEN
    seen = ((score - nothing) / (enough - nothing)).clamp(0, 1)[:, None]
    return seen * person + (1 - seen) * photographed_statures().to(person)


def among(person: Float[Tensor, "N S"], who: Who) -> Float[Tensor, "N S"]:
    """Each person's own distribution, where the picture is known to show only adults, or only children.

    Children are shorter than :data:`~metrichmsr.hmr.stature_grid.GROWN_UP_M`.
    """
    if who == "anybody":
        return person
    grown_up = grid_like(person) >= GROWN_UP_M
    # Where the network is sure of the contrary, what is left of its opinion is worth less than what is usual.
    usual = photographed().grown_ups(grid_like(person))
    kept = torch.where(grown_up, person + 1e-4 * usual, 0.0) if who == "adults" else (person + 1e-6) * ~grown_up
    return kept / kept.sum(-1, keepdim=True)


def summary(probability: Float[Tensor, "N S"]) -> tuple[Float[Tensor, "N"], Float[Tensor, "N"]]:
    """Median of each distribution, which errs least, and half the width of its middle 68 %; metres."""
    middle = quantile(probability, 0.5)
    return middle, 0.5 * (quantile(probability, 0.84) - quantile(probability, 0.16))


def distance_sigma(
    told: Float[Tensor, "N"], height_sigma_m: Float[Tensor, "N"], alone_sigma_m: Float[Tensor, "N"]
) -> Float[Tensor, "N"]:
    """One sigma of log distance once more is known of the stature: most of its doubt is the stature's.

    Args:
        told: sigma of log distance by the network.
        height_sigma_m: one sigma of the stature as it is known now…
        alone_sigma_m: …and as the network alone has it, metres.
    """
    return told * (height_sigma_m / alone_sigma_m).clamp_max(1.0).clamp_min(POSE_SIGMA / told.clamp_min(POSE_SIGMA))


POSE_SIGMA = 0.04
"""Relative doubt of a distance with the stature known: what an uncertain pose leaves."""


def _camera_heights(like: Tensor) -> Float[Tensor, "C"]:
    """Logarithms of the camera heights that are summed over: 0.15 to 8 m."""
    return torch.linspace(math.log(0.15), math.log(8.0), 80).to(like)


def _pitches(like: Tensor) -> Float[Tensor, "D"]:
    """Errors of the pitch that are summed over, in sigmas."""
    return torch.linspace(-2, 2, _PITCHES).to(like)


def _on_ground(ground: Footing, up_sigma_rad: float, belief: GroundCue) -> Float[Tensor, "N S C D"]:
    """Likelihood of each stature for each height and pitch of the camera, up to a factor for each person."""
    statures, height = grid_like(ground.drop).log(), _camera_heights(ground.drop)
    # Of the angle's two axes pitch is one.
    pitch = _pitches(ground.drop) * (up_sigma_rad / math.sqrt(2))
    drop = ground.drop[:, None] + ground.reach[:, None] * pitch  # N D
    below = drop > 0.02
    away = statures[None, :, None, None] + drop.clamp_min(0.02).log()[:, None, None, :] - height[:, None]
    sigma = torch.where(ground.seen, belief.footing, belief.footing_unseen)[:, None, None, None]
    normal = (-0.5 * (away / sigma).square()).exp() / (sigma * math.sqrt(2 * math.pi))
    elsewhere = torch.where(ground.seen, belief.elsewhere, min(1.0, 2 * belief.elsewhere))[:, None, None, None]
    # Somebody elsewhere has their feet at any height: spread evenly over the logarithm of a factor of seven.
    return (1 - elsewhere) * normal * below[:, None, None, :] + elsewhere / math.log(7)
