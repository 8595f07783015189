"""The over-complete loss of the paper (METHOD §4), a function for each term, and likelihoods for uncertainties.

    L = λ_J2D L_J2D + λ_J3D L_J3D + λ_V3D L_V3D + λ_θ L_θ + λ_β L_β + λ_h L_h + L_aux

plus (ours) the position's own term and negative log-likelihoods of distance, stature and joints. Every function returns
one number a sample; samples without a truth weigh zero.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.geometry import matrix_to_rotation_6d
from metrichmsr.hmr.heads import HeadOutput, crop_focal
from metrichmsr.hmr.network import MetricBodies, NetworkOutput
from metrichmsr.hmr.stature_grid import soft_bins


@dataclass(frozen=True)
class LossWeights:
    """λ of every term."""

    joints2d: float = 2.0
    joints3d: float = 8.0
    vertices: float = 4.0
    pose: float = 1.0
    root: float = 2.0
    """Global orientation, beside its part in ``pose``: it dominates errors before alignment."""
    shape: float = 0.2
    age: float = 4.0
    height: float = 2.0
    position: float = 2.0
    likelihood: float = 0.1
    stature: float = 0.1
    balance: float = 0.02
    pose_prior: float = 0.2
    """Of photographs with labelled keypoints, as the next."""
    shape_prior: float = 0.2


@dataclass(frozen=True)
class Truth:
    """What is true of B crops."""

    rotations: Float[Tensor, "B D 3 3"]
    """Of the driven bones; the root's takes body frame to view frame."""
    shape: Float[Tensor, "B S"]
    translation_m: Float[Tensor, "B 3"]
    """Camera frame."""
    joints_m: Float[Tensor, "B 17 3"]
    """COCO-17, camera frame."""
    vertices_m: Float[Tensor, "B V 3"]
    """The vertices that the loss looks at, camera frame."""
    height_m: Float[Tensor, "B"]
    K_crop: Float[Tensor, "B 3 3"]


@dataclass(frozen=True)
class LossTerms:
    """Means over the batch, unweighted."""

    joints2d: Float[Tensor, ""]
    joints3d: Float[Tensor, ""]
    vertices: Float[Tensor, ""]
    pose: Float[Tensor, ""]
    root: Float[Tensor, ""]
    shape: Float[Tensor, ""]
    age: Float[Tensor, ""]
    height: Float[Tensor, ""]
    position: Float[Tensor, ""]
    likelihood: Float[Tensor, ""]
    stature: Float[Tensor, ""]
    balance: Float[Tensor, ""]

    def total(self, weights: LossWeights) -> Float[Tensor, ""]:
        """L: the weighted sum."""
        return torch.stack([getattr(weights, f.name) * getattr(self, f.name) for f in fields(self)]).sum()

    def numbers(self) -> dict[str, float]:
        """For logs."""
        return {f.name: float(getattr(self, f.name).detach()) for f in fields(self)}


NEAREST_M = 0.2
"""Nearer joints have no meaningful projection."""


def projected(
    points_m: Float[Tensor, "B N 3"], K_crop: Float[Tensor, "B 3 3"], crop_size: int
) -> Float[Tensor, "B N 2"]:
    """π: where points are seen, in half crops from the crop's corner."""
    homogeneous = points_m @ K_crop.transpose(1, 2)
    return homogeneous[..., :2] / homogeneous[..., 2:].clamp_min(NEAREST_M) * (2 / crop_size)


def joints2d_loss(
    joints_m: Float[Tensor, "B N 3"], truth_m: Float[Tensor, "B N 3"], K_crop: Float[Tensor, "B 3 3"], crop_size: int
) -> Float[Tensor, "B"]:
    """L_J2D = mean_j ρ(π(J_j) − π(J*_j)) in half crops, with ρ an L1 cut off at one crop's width.

    Joints less than 0.2 m before the camera have no meaningful projection and are left out.
    """
    usable = (joints_m[..., 2] > NEAREST_M) & (truth_m[..., 2] > NEAREST_M)
    predicted, true = (projected(points, K_crop, crop_size) for points in (joints_m, truth_m))
    distance = (predicted - true).abs().sum(-1).clamp_max(2.0)
    return (distance * usable).sum(-1) / usable.sum(-1).clamp_min(1)


def joints3d_loss(
    joints_m: Float[Tensor, "B N 3"],
    root_m: Float[Tensor, "B 3"],
    truth_m: Float[Tensor, "B N 3"],
    truth_root_m: Float[Tensor, "B 3"],
) -> Float[Tensor, "B"]:
    """L_J3D = mean_j ‖(J_j − t) − (J*_j − t*)‖₁ over the axes' mean, metres, relative to the root."""
    return ((joints_m - root_m[:, None]) - (truth_m - truth_root_m[:, None])).abs().mean((1, 2))


def pose_loss(rotations: Float[Tensor, "B D 3 3"], truth: Float[Tensor, "B D 3 3"]) -> Float[Tensor, "B"]:
    """L_θ = mean over bones of the squared distance of 6D rotations."""
    return (matrix_to_rotation_6d(rotations) - matrix_to_rotation_6d(truth)).square().mean((1, 2))


def root_loss(rotations: Float[Tensor, "B D 3 3"], truth: Float[Tensor, "B D 3 3"]) -> Float[Tensor, "B"]:
    """1 − cos of the angle between predicted and true global orientation: smooth at its minimum, steep everywhere."""
    trace = (rotations[:, 0] * truth[:, 0]).sum((1, 2))
    return 0.5 * (3 - trace)


def shape_loss(shape: Float[Tensor, "B S"], truth: Float[Tensor, "B S"]) -> Float[Tensor, "B"]:
    """L_β = mean squared difference of shape parameters."""
    return (shape - truth).square().mean(-1)


def age_loss(shape: Float[Tensor, "B S"], truth: Float[Tensor, "B S"], age: int | None) -> Float[Tensor, "B"]:
    """(ours) L_a = |a − a*|, a parameter of Anny that runs from −1/3 (newborn) over 0.7 (25 years) to 1 (90 years).

    Old people are shorter than young ones, so every loss on sizes drives the age of a child *up*, away from childhood,
    and no child is ever found. The age needs a loss of its own.
    """
    return (shape - truth)[:, age].abs() if age is not None else shape.new_zeros(len(shape))


def height_loss(height_m: Float[Tensor, "B"], truth_m: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """L_h = |h − h*|, metres: redundant with shape, and deliberately so (paper §3.4)."""
    return (height_m - truth_m).abs()


def stature_loss(output: HeadOutput, truth_m: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """(ours) Cross entropy of the stature's distribution; zero for a network that tells none."""
    if output.stature_logits is None:
        return torch.zeros_like(truth_m)
    return -(soft_bins(truth_m) * output.stature_logits.log_softmax(-1)).sum(-1)


def position_loss(
    output: HeadOutput,
    translation_m: Float[Tensor, "B 3"],
    truth: Truth,
    crop_size: int,
) -> Float[Tensor, "B"]:
    """(ours) ‖place − place*‖₁ in half crops + |log z − log z*|: both are seen alike at any distance."""
    homogeneous = (truth.K_crop @ truth.translation_m[..., None]).squeeze(-1)
    true_place = homogeneous[:, :2] / homogeneous[:, 2:].clamp_min(0.05) * (2 / crop_size) - 1
    if output.xyz_m is None:
        true_depth = truth.translation_m[:, 2].clamp_min(0.05) * crop_size / crop_focal(truth.K_crop)
        depth = (output.log_extent - true_depth.log()).abs()
        return (output.place - true_place).abs().sum(-1).clamp_max(2.0) + depth
    return (translation_m - truth.translation_m).abs().sum(-1).clamp_max(10.0)


def laplace_nll(error: Float[Tensor, "*B"], log_sigma: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Negative log-likelihood of a Laplace distribution whose 68 % interval is ±σ·1.14, up to a constant.

    With scale b = σ: |e|/b + log b. The error is taken as it is: gradients reach the prediction through the other
    terms, the likelihood only teaches σ.
    """
    return error.detach().abs() * (-log_sigma).exp() + log_sigma


def all_terms(
    output: NetworkOutput,
    bodies: MetricBodies,
    truth: Truth,
    *,
    crop_size: int,
    age: int | None,
) -> LossTerms:
    """Every term's mean over the batch; ``age`` is the shape parameter that is age, where the body model has one."""
    heads, body = output.heads, bodies.body
    joints = joints3d_loss(body.coco17_m, bodies.translation_m, truth.joints_m, truth.translation_m)
    offsets = (body.coco17_m - bodies.translation_m[:, None]) - (truth.joints_m - truth.translation_m[:, None])
    log_distance = bodies.translation_m.norm(dim=-1).clamp_min(0.05).log() - truth.translation_m.norm(dim=-1).log()
    likelihood = (
        laplace_nll(log_distance, heads.log_sigma_distance)
        + laplace_nll(body.height_m - truth.height_m, heads.log_sigma_height)
        + laplace_nll(offsets.abs().mean(-1), heads.log_sigma_joints).mean(-1)
    )
    return LossTerms(
        joints2d=joints2d_loss(body.coco17_m, truth.joints_m, truth.K_crop, crop_size).mean(),
        joints3d=joints.mean(),
        vertices=joints3d_loss(body.vertices_m, bodies.translation_m, truth.vertices_m, truth.translation_m).mean(),
        pose=pose_loss(heads.rotations, truth.rotations).mean(),
        root=root_loss(heads.rotations, truth.rotations).mean(),
        shape=shape_loss(heads.shape, truth.shape).mean(),
        age=age_loss(heads.shape, truth.shape, age).mean(),
        height=height_loss(body.height_m, truth.height_m).mean(),
        position=position_loss(heads, bodies.translation_m, truth, crop_size).mean(),
        likelihood=likelihood.mean(),
        stature=stature_loss(heads, truth.height_m).mean(),
        balance=output.balance_loss(),
    )
