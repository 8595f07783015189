"""Where a body whose shape has changed has to stand so that it is seen where it was.

What is learned of a stature (:mod:`metrichmsr.hmr.stature`) changes the shape of a body whose picture is known. Of a
body that is seen whole, distance goes as stature does. Not so of a head and shoulders before the camera: tall people's
heads are hardly larger than others', so that ten centimetres of stature are six per cent of the distance to somebody's
feet and less than four of that to their face. So the new body is set where its landmarks fall on those of the old one,
each as far as it is seen. Ours; the paper's network answers once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_NEAREST_M = 0.1
"""Points nearer than this, or behind the camera, do not count."""
_LEAST = 1e-3
"""Weight of what is not seen at all, of 1: it settles what nothing else does."""
_FURTHEST = 2.0
"""Answers that are further than this (a factor) from what the stature alone says are not believed."""
_SURENESS = 4
"""Power of the confidence that is the weight: half as sure counts a sixteenth. What is outside the picture often has a
quarter, and long levers."""


@dataclass(frozen=True)
class Projections:
    """Where points of N bodies are seen."""

    rays: Float[Tensor, "N L 2"]
    """x/z and y/z."""
    weight: Float[Tensor, "N L"]
    """Of each point's distance from its ray: a power of its confidence, over its depth; 0 behind the camera."""

    @classmethod
    def of(cls, points_m: Float[Tensor, "N L 3"], confidence: Float[Tensor, "N L"]) -> Projections:
        """Of points in the camera frame, with how well each is seen, from 0 to 1."""
        depth = points_m[..., 2]
        sureness = torch.where(depth > _NEAREST_M, confidence.pow(_SURENESS).clamp_min(_LEAST), 0.0)
        depth = depth.clamp_min(_NEAREST_M)
        return cls(points_m[..., :2] / depth[..., None], sureness / depth)


def place(
    points_m: Float[Tensor, "N L 3"], seen: Projections, expected_m: Float[Tensor, "N 3"]
) -> Float[Tensor, "N 3"]:
    """Translations that bring points to where others are seen: weighted least squares, in closed form.

    Minimises Σ_l w_l² ‖(p_l + t)_xy − u_l (p_l + t)_z‖² over t, with rays u_l.

    Args:
        points_m: of the new bodies, relative to their pelvis, axes of the camera.
        seen: the same points of the old ones.
        expected_m: where the bodies are if the picture does not tell, or says what cannot be.
    """
    rays, weight = seen.rays, seen.weight
    one, zero = torch.ones_like(weight), torch.zeros_like(weight)
    rows = torch.stack([one, zero, -rays[..., 0], zero, one, -rays[..., 1]], dim=-1).unflatten(-1, (2, 3))
    target = rays * points_m[..., 2:] - points_m[..., :2]
    rows, target = (rows * weight[..., None, None]).flatten(1, 2), (target * weight[..., None]).flatten(1, 2)
    normal = rows.mT @ rows
    # So little that it counts only where nothing is seen.
    held = 1e-6 * torch.eye(3).to(normal)
    right = rows.mT @ target[..., None] + held @ expected_m[..., None]
    found = torch.linalg.solve(normal + held, right).squeeze(-1)
    ratio = found[:, 2] / expected_m[:, 2]
    believed = (ratio < _FURTHEST) & (ratio > 1 / _FURTHEST)
    return torch.where(believed[:, None], found, expected_m)
