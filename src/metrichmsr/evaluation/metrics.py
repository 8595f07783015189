"""The field's metrics, batched and aware of missing data. Every one has a naive twin in the tests.

Conventions
    Positions in metres, errors in millimetres where the name says ``_mm``; 2D in pixels; depth in metres. ``mask`` is
    True where both sides are to be compared; whatever stands elsewhere, NaN included, is never read. A sample with
    nothing to compare gives NaN, so that it drops out of :func:`torch.nanmean` instead of counting as perfect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metrichmsr.geometry import similarity_align
from metrichmsr.structures import COCO17

COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087),
    *(0.089, 0.089),
)
"""Spread of human labels per COCO-17 keypoint, as a fraction of the person's size (COCO's keypoint evaluation)."""

SIDE_PAIRS = tuple(
    (COCO17.index(f"left_{part}"), COCO17.index(f"right_{part}"))
    for part in dict.fromkeys(name.removeprefix("left_").removeprefix("right_") for name in COCO17[1:])
)
"""(left, right) indices of COCO-17."""

MID_HIP = (COCO17.index("left_hip"), COCO17.index("right_hip"))
"""The two hips of COCO-17, whose middle is the root that nearly all joint sets can provide."""


def masked_mean(values: Float[Tensor, "*B N"], mask: Bool[Tensor, "*B N"] | None = None) -> Float[Tensor, "*B"]:
    """Mean over the last axis where ``mask`` holds; NaN where it holds nowhere."""
    if mask is None:
        return values.mean(dim=-1)
    mask = mask.broadcast_to(values.shape)
    # where() and not a product: NaN times 0 is NaN.
    total = torch.where(mask, values, torch.zeros_like(values)).sum(dim=-1)
    return total / mask.sum(dim=-1)


def root_align(points: Float[Tensor, "*B J D"], root: Sequence[int]) -> Float[Tensor, "*B J D"]:
    """Points relative to the mean of the joints listed in ``root``."""
    return points - points[..., list(root), :].mean(dim=-2, keepdim=True)


# ── 3D ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def mpjpe_mm(
    predicted: Float[Tensor, "*B J 3"],
    target: Float[Tensor, "*B J 3"],
    mask: Bool[Tensor, "*B J"] | None = None,
    *,
    root: Sequence[int] | None,
) -> Float[Tensor, "*B"]:
    """Mean per-joint position error in mm.

    Args:
        predicted: joints in metres.
        target: true joints in metres.
        mask: joints to compare; the root joints must exist on both sides either way.
        root: both sides are taken relative to the mean of these joints; None compares absolute positions.
    """
    if root is not None:
        predicted, target = root_align(predicted, root), root_align(target, root)
    return 1000.0 * masked_mean(torch.linalg.vector_norm(predicted - target, dim=-1), mask)


def pa_mpjpe_mm(
    predicted: Float[Tensor, "*B J 3"], target: Float[Tensor, "*B J 3"], mask: Bool[Tensor, "*B J"] | None = None
) -> Float[Tensor, "*B"]:
    """MPJPE in mm after the best similarity (scale, rotation, translation) of prediction to truth; J ≥ 3."""
    if mask is None:
        mask = torch.ones(predicted.shape[:-1], dtype=torch.bool, device=predicted.device)
    mask = mask.broadcast_to(predicted.shape[:-1])
    clean_predicted = torch.where(mask[..., None], predicted, torch.zeros_like(predicted))
    clean_target = torch.where(mask[..., None], target, torch.zeros_like(target))
    aligned = similarity_align(clean_predicted, clean_target, mask.to(predicted.dtype)).apply(clean_predicted)
    error = 1000.0 * masked_mean(torch.linalg.vector_norm(aligned - clean_target, dim=-1), mask)
    # Two points can always be matched: a similarity of fewer than three says nothing.
    return torch.where(mask.sum(dim=-1) >= 3, error, torch.full_like(error, math.nan))


def pve_mm(
    predicted_vertices: Float[Tensor, "*B V 3"],
    target_vertices: Float[Tensor, "*B V 3"],
    predicted_root: Float[Tensor, "*B 3"],
    target_root: Float[Tensor, "*B 3"],
) -> Float[Tensor, "*B"]:
    """Per-vertex error in mm, each mesh relative to its own root; both of one topology, metres."""
    predicted = predicted_vertices - predicted_root[..., None, :]
    target = target_vertices - target_root[..., None, :]
    return 1000.0 * torch.linalg.vector_norm(predicted - target, dim=-1).mean(dim=-1)


# ── 2D ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def torso_px(keypoints: Float[Tensor, "*B 17 2"]) -> Float[Tensor, "*B"]:
    """LSP's size of a person: distance in px from the left shoulder to the right hip, across the torso.

    Where one of the two is not labelled (NaN), the other diagonal; NaN where neither is whole.
    """
    left_shoulder, right_shoulder = keypoints[..., 5, :], keypoints[..., 6, :]
    left_hip, right_hip = keypoints[..., 11, :], keypoints[..., 12, :]
    first = torch.linalg.vector_norm(left_shoulder - right_hip, dim=-1)
    return torch.where(first.isnan(), torch.linalg.vector_norm(right_shoulder - left_hip, dim=-1), first)


def correct_keypoints(
    predicted: Float[Tensor, "*B J 2"],
    target: Float[Tensor, "*B J 2"],
    size_px: Float[Tensor, "*B"],
    threshold: float,
) -> Bool[Tensor, "*B J"]:
    """Which keypoints lie within ``threshold`` · ``size_px`` of the truth: averaged over labelled ones, this is PCK.

    A NaN on either side is not correct: mask by the labels when averaging.
    """
    distance = torch.linalg.vector_norm(predicted - target, dim=-1)
    return distance <= threshold * size_px[..., None]


def correct_keypoints_swap_tolerant(
    predicted: Float[Tensor, "*B 17 2"],
    target: Float[Tensor, "*B 17 2"],
    size_px: Float[Tensor, "*B"],
    threshold: float,
) -> Bool[Tensor, "*B 17"]:
    """Like :func:`correct_keypoints`, with left and right of each pair exchanged where that gets more of them right.

    For labels whose sides cannot be trusted. Each pair (ankles, knees…) is free: an upper bound of what exchanged
    labels can hide.
    """
    plain = correct_keypoints(predicted, target, size_px, threshold)
    left, right = (list(side) for side in zip(*SIDE_PAIRS, strict=True))
    exchanged = predicted.clone()
    exchanged[..., left, :], exchanged[..., right, :] = predicted[..., right, :], predicted[..., left, :]
    swapped = correct_keypoints(exchanged, target, size_px, threshold)
    better = plain.clone()
    gain = swapped[..., left].int() + swapped[..., right].int() > plain[..., left].int() + plain[..., right].int()
    better[..., left] = torch.where(gain, swapped[..., left], plain[..., left])
    better[..., right] = torch.where(gain, swapped[..., right], plain[..., right])
    return better


def oks(
    predicted: Float[Tensor, "*B J 2"],
    target: Float[Tensor, "*B J 2"],
    area_px: Float[Tensor, "*B"],
    mask: Bool[Tensor, "*B J"] | None = None,
    *,
    sigmas: Sequence[float] = COCO_SIGMAS,
) -> Float[Tensor, "*B"]:
    """Object keypoint similarity in [0, 1] (COCO): mean of exp(−d² / (2 · area · (2σ)²)) over labelled keypoints.

    Args:
        predicted: keypoints in px.
        target: labelled keypoints in px.
        area_px: the person's segmented area in px².
        mask: labelled keypoints; missing ones are not scored.
        sigmas: one per keypoint.
    """
    k = 2 * torch.as_tensor(sigmas, dtype=predicted.dtype, device=predicted.device)
    squared = (predicted - target).square().sum(dim=-1)
    return masked_mean(torch.exp(-squared / (2 * area_px[..., None] * k.square())), mask)


# ── depth maps ──────────────────────────────────────────────────────────────────────────────────────────────────────


class DepthErrors(NamedTuple):
    """Errors of a depth map over the valid pixels of each sample."""

    abs_rel: Float[Tensor, "*B"]
    """Mean of |d − d*| / d*."""
    mae_m: Float[Tensor, "*B"]
    """Mean of |d − d*|, metres."""
    rmse_m: Float[Tensor, "*B"]
    """Root of the mean of (d − d*)², metres."""
    delta1: Float[Tensor, "*B"]
    """Share of pixels with max(d/d*, d*/d) < 1.25."""
    delta2: Float[Tensor, "*B"]
    """The same for 1.25²."""
    delta3: Float[Tensor, "*B"]
    """The same for 1.25³."""


def depth_errors(
    predicted_m: Float[Tensor, "*B H W"], target_m: Float[Tensor, "*B H W"], mask: Bool[Tensor, "*B H W"] | None = None
) -> DepthErrors:
    """AbsRel, MAE, RMSE and δ1 to δ3 where the mask holds and the truth is a positive number.

    A predicted NaN or non-positive depth there is a failure of the prediction: it makes the means NaN and counts as
    wrong in the shares. Give a mask to leave such pixels out.
    """
    valid = target_m > 0
    if mask is not None:
        valid = valid & mask
    predicted, target, valid = (values.flatten(start_dim=-2) for values in (predicted_m, target_m, valid))
    difference = (predicted - target).abs()
    ratio = torch.maximum(predicted / target, target / predicted)
    shares = [masked_mean(((predicted > 0) & (ratio < 1.25**power)).to(predicted.dtype), valid) for power in (1, 2, 3)]
    return DepthErrors(
        abs_rel=masked_mean(difference / target, valid),
        mae_m=masked_mean(difference, valid),
        rmse_m=masked_mean(difference**2, valid).sqrt(),
        delta1=shares[0],
        delta2=shares[1],
        delta3=shares[2],
    )


# ── scalars: distances, heights, uncertainties ──────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class ErrorSummary:
    """Signed and absolute size of a set of errors, in the errors' own unit; NaN throughout where there is none."""

    n: int
    mean: float
    """Mean of the signed errors: what is systematically too large (+) or too small (−)."""
    median: float
    mean_abs: float
    median_abs: float


def summarise_errors(errors: Sequence[float] | Float[Tensor, " N"]) -> ErrorSummary:
    """Mean and median, signed and absolute, of the errors that are numbers. Medians of even counts are midpoints."""
    values = torch.as_tensor(errors, dtype=torch.float64)
    values = values[values.isfinite()]
    if not len(values):
        return ErrorSummary(0, math.nan, math.nan, math.nan, math.nan)
    middle = torch.tensor(0.5, dtype=torch.float64)
    return ErrorSummary(
        n=len(values),
        mean=values.mean().item(),
        median=values.quantile(middle).item(),
        mean_abs=values.abs().mean().item(),
        median_abs=values.abs().quantile(middle).item(),
    )


def relative_error_percent(predicted: Float[Tensor, "*B"], target: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """100 · (predicted / target − 1): positive where the prediction is too far or too tall."""
    return 100.0 * (predicted / target - 1.0)


def coverage_percent(
    errors: Sequence[float] | Float[Tensor, " N"], sigmas: Sequence[float] | Float[Tensor, " N"]
) -> float:
    """Share of errors within one sigma, in percent: 68 where the sigmas are honest and the errors normal.

    Pairs in which either is not a number are left out; NaN where none remains.
    """
    error = torch.as_tensor(errors, dtype=torch.float64)
    sigma = torch.as_tensor(sigmas, dtype=torch.float64)
    known = error.isfinite() & sigma.isfinite()
    return 100.0 * masked_mean((error.abs() <= sigma).to(torch.float64), known).item()


def bootstrap_interval(
    sums: Sequence[float] | Float[Tensor, " N"],
    counts: Sequence[float] | Float[Tensor, " N"],
    *,
    seed: int = 0,
    rounds: int = 2000,
) -> tuple[float, float]:
    """95 % interval of the pooled mean Σ sums / Σ counts when whole samples (pictures, people) are drawn anew.

    Keypoints of one picture are right or wrong together, so pictures are resampled and not keypoints.
    """
    total = torch.as_tensor(sums, dtype=torch.float64)
    count = torch.as_tensor(counts, dtype=torch.float64)
    if not len(total):
        return math.nan, math.nan
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(total), (rounds, len(total)), generator=generator)
    means = total[drawn].sum(dim=1) / count[drawn].sum(dim=1)
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
