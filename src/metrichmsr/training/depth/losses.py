"""Losses of the scene's networks, each with its equation.

z* is true depth, ẑ the network's; V the pixels where z* is known, M_a those of the anchors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class DepthLossWeights:
    """Of the embedded network."""

    likelihood: float = 1.0
    scale_free: float = 0.5
    gradient: float = 0.5
    far: float = 0.2
    people: float = 0.5


@dataclass(frozen=True)
class RefineLossWeights:
    """λ of the paper's four terms (§5)."""

    depth: float = 1.0
    anchor: float = 0.2
    tv: float = 0.05
    variance: float = 0.02


def laplace_likelihood(
    log_depth: Float[Tensor, "B H W"],
    log_sigma: Float[Tensor, "B H W"],
    log_true: Float[Tensor, "B H W"],
    valid: Bool[Tensor, "B H W"],
) -> Float[Tensor, ""]:
    """Mean over V of |log ẑ − log z*| / σ + log σ: the metric term, which teaches the sigma as well."""
    error = (log_depth - log_true).abs()
    return _mean(error * torch.exp(-log_sigma) + log_sigma, valid)


def scale_free(
    log_depth: Float[Tensor, "B H W"], log_true: Float[Tensor, "B H W"], valid: Bool[Tensor, "B H W"]
) -> Float[Tensor, ""]:
    """Mean |(log ẑ − log z*) − median over the picture|: shape, whatever the scale (Eigen et al. 2014)."""
    gap = log_depth - log_true
    middle = torch.where(valid, gap.detach(), torch.nan).flatten(1).nanmedian(1).values.nan_to_num()
    return _mean((gap - middle[:, None, None]).abs(), valid)


def gradients(
    log_depth: Float[Tensor, "B H W"],
    log_true: Float[Tensor, "B H W"],
    valid: Bool[Tensor, "B H W"],
    *,
    levels: int = 3,
) -> Float[Tensor, ""]:
    """Σ over levels of mean |∇(log ẑ − log z*)|: edges where the truth has them (Li and Snavely, *MegaDepth*, 2018)."""
    gap = torch.where(valid, log_depth - log_true, 0.0)
    total = gap.new_zeros(())
    for level in range(levels):
        step = 2**level
        for dim in (1, 2):
            ahead, here = (gap.narrow(dim, start, gap.shape[dim] - step) for start in (step, 0))
            both = valid.narrow(dim, step, gap.shape[dim] - step) & valid.narrow(dim, 0, gap.shape[dim] - step)
            total = total + _mean((ahead - here).abs(), both)
    return total / (2 * levels)


def far_or_not(
    logit: Float[Tensor, "B H W"], far: Bool[Tensor, "B H W"], decided: Bool[Tensor, "B H W"]
) -> Float[Tensor, ""]:
    """Binary cross-entropy over the pixels of which it is known whether anything is within reach."""
    return _mean(F.binary_cross_entropy_with_logits(logit, far.float(), reduction="none"), decided)


def regression(
    depth_m: Float[Tensor, "B H W"], true_m: Float[Tensor, "B H W"], valid: Bool[Tensor, "B H W"]
) -> Float[Tensor, ""]:
    """L_depth = ½ mean over V of |ẑ − z*| / z* + |log ẑ − log z*|: AbsRel, and its mirror for what is too near."""
    true = true_m.clamp_min(1e-3)
    relative = ((depth_m - true).abs() / true).clamp_max(3.0)
    logarithmic = (depth_m.clamp_min(1e-3).log() - true.log()).abs()
    return _mean(0.5 * (relative + logarithmic), valid)


def anchored(
    depth_m: Float[Tensor, "B H W"],
    anchor_m: Float[Tensor, "B H W"],
    mask: Float[Tensor, "B H W"],
    relative_std: Float[Tensor, "B H W"],
) -> Float[Tensor, ""]:
    """L_anchor = mean over M_a of w·|ẑ − z_hmr| / z_hmr, w = 1 / (1 + (σ / 5 %)²): a doubtful person pulls less."""
    weight = mask / (1 + (relative_std / 0.05) ** 2)
    gap = (depth_m - anchor_m).abs() / anchor_m.clamp_min(0.05)
    return (weight * gap.clamp_max(2.0)).sum() / mask.sum().clamp_min(1)


def total_variation(log_scale: Float[Tensor, "B h w"], shift: Float[Tensor, "B h w"]) -> Float[Tensor, ""]:
    """L_tv = mean |∇ log s| + mean |∇ b|, b over the median depth."""
    total = log_scale.new_zeros(())
    for values in (log_scale, shift):
        total = total + values.diff(dim=1).abs().mean() + values.diff(dim=2).abs().mean()
    return total


def variance(log_scale: Float[Tensor, "B h w"], shift: Float[Tensor, "B h w"]) -> Float[Tensor, ""]:
    """L_var = mean (log s − its mean over the picture)² + the same of b: one scale and shift, as far as possible."""
    maps = torch.stack([log_scale, shift])
    return 2 * ((maps - maps.mean((2, 3), keepdim=True)) ** 2).mean()


def _mean(values: Tensor, mask: Tensor) -> Float[Tensor, ""]:
    """Over the mask, every picture weighing as much as any other."""
    share = mask.float().flatten(1)
    per_picture = (torch.where(mask, values, 0.0).flatten(1)).sum(1) / share.sum(1).clamp_min(1)
    counted = (share.sum(1) > 0).float()
    return (per_picture * counted).sum() / counted.sum().clamp_min(1)
