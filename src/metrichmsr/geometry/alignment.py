"""Closed-form alignment of point sets: rigid, similarity (Procrustes; Umeyama 1991), affine.

Each finds the transform ``target_from_source`` that minimises the weighted sum of squared distances.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Similarity(NamedTuple):
    """``target ≈ scale · rotation @ source + translation``, batched over leading dimensions."""

    scale: Float[Tensor, "*B"]
    rotation: Float[Tensor, "*B 3 3"]
    translation: Float[Tensor, "*B 3"]

    def apply(self, points: Float[Tensor, "*B N 3"]) -> Float[Tensor, "*B N 3"]:
        """Move points from the source frame to the target frame."""
        rotated = points @ self.rotation.transpose(-1, -2)
        return self.scale[..., None, None] * rotated + self.translation[..., None, :]


def similarity_align(
    source: Float[Tensor, "*B N 3"],
    target: Float[Tensor, "*B N 3"],
    weights: Float[Tensor, "*B N"] | None = None,
    *,
    with_scale: bool = True,
) -> Similarity:
    """Least-squares similarity ``target_from_source`` (Umeyama 1991), never a reflection.

    Args:
        source: points to move, N ≥ 3 with positive weight for a unique answer.
        target: where they should land.
        weights: non-negative weight of each pair; points with weight 0 may hold anything finite.
        with_scale: False keeps the scale at 1 (rigid alignment).
    """
    if weights is None:
        weights = torch.ones_like(source[..., 0])
    weights = weights / weights.sum(-1, keepdim=True).clamp_min(torch.finfo(source.dtype).tiny)
    w = weights[..., None]
    source_mean, target_mean = (w * source).sum(-2, keepdim=True), (w * target).sum(-2, keepdim=True)
    source_centered, target_centered = source - source_mean, target - target_mean
    covariance = (w * target_centered).transpose(-1, -2) @ source_centered
    U, S, Vh = torch.linalg.svd(covariance)
    # A negative determinant would make the best orthogonal map a mirror image: flip the weakest axis instead.
    sign = torch.ones_like(S)
    sign[..., 2] = torch.sign(torch.linalg.det(U @ Vh))
    rotation = U @ (sign[..., None] * Vh)
    if with_scale:
        variance = (w * source_centered.square()).sum((-1, -2)).clamp_min(torch.finfo(source.dtype).tiny)
        scale = (S * sign).sum(-1) / variance
    else:
        scale = torch.ones_like(S[..., 0])
    moved = scale[..., None, None] * source_mean @ rotation.transpose(-1, -2)
    return Similarity(scale, rotation, (target_mean - moved).squeeze(-2))


def rigid_align(
    source: Float[Tensor, "*B N 3"], target: Float[Tensor, "*B N 3"], weights: Float[Tensor, "*B N"] | None = None
) -> Similarity:
    """Least-squares rotation and translation ``target_from_source`` (Kabsch); ``scale`` is 1."""
    return similarity_align(source, target, weights, with_scale=False)


def affine_align(
    source: Float[Tensor, "*B N D"], target: Float[Tensor, "*B N E"], weights: Float[Tensor, "*B N"] | None = None
) -> tuple[Float[Tensor, "*B E D"], Float[Tensor, "*B E"]]:
    """Least-squares affine map: ``target ≈ A @ source + b``. Returns (A, b). With D = E = 1 this is scale and shift."""
    if weights is None:
        weights = torch.ones_like(source[..., 0])
    root = weights.sqrt()[..., None]
    design = torch.cat([source, torch.ones_like(source[..., :1])], dim=-1)
    solution = torch.linalg.lstsq(root * design, root * target).solution
    return solution[..., :-1, :].transpose(-1, -2), solution[..., -1, :]
