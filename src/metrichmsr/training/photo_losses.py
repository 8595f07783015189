"""The loss on photographs of which only keypoints are known: reprojection, and priors on what it leaves open.

    L = λ_J2D L_J2D + λ_pp L_pp + λ_sp L_sp + L_aux

as the paper joins COCO, AIC and MPII. What a picture does not tell is held by the priors of the fit: poses of motion
capture, statures of growth charts.
"""

from __future__ import annotations

from dataclasses import dataclass

import roma
from jaxtyping import Float
from torch import Tensor, nn

from metrichmsr.bodies.shape_prior import ShapePrior
from metrichmsr.hmr.body_parameters import BodyParameters
from metrichmsr.hmr.network import MetricBodies, NetworkOutput
from metrichmsr.hmr.pose_prior import PosePrior
from metrichmsr.training.losses import NEAREST_M, LossWeights, projected
from metrichmsr.training.samples import Samples


@dataclass(frozen=True)
class PhotoTerms:
    """Means over a batch of photographs, unweighted."""

    joints2d: Float[Tensor, ""]
    pose_prior: Float[Tensor, ""]
    shape_prior: Float[Tensor, ""]
    balance: Float[Tensor, ""]

    def total(self, weights: LossWeights) -> Float[Tensor, ""]:
        """L: the weighted sum."""
        return (
            weights.joints2d * self.joints2d
            + weights.pose_prior * self.pose_prior
            + weights.shape_prior * self.shape_prior
            + weights.balance * self.balance
        )

    def numbers(self) -> dict[str, float]:
        """For logs, apart from the terms of samples whose truth is known."""
        return {f"photo_{name}": float(value.detach()) for name, value in vars(self).items()}


class PhotoLosses(nn.Module):
    """Terms of bodies in photographs with labelled keypoints.

    Args:
        pose_prior: of the bones that the network drives, in their order.
        shape_prior: of Anny's shapes.
        crop_size: pixels of a crop's side.
    """

    def __init__(self, pose_prior: PosePrior, shape_prior: ShapePrior, *, crop_size: int) -> None:
        super().__init__()
        self.pose_prior = pose_prior
        self.shape_prior = shape_prior
        self.crop_size = crop_size

    @classmethod
    def load(cls, parameters: BodyParameters, *, crop_size: int) -> PhotoLosses:
        """With the shipped priors."""
        prior = PosePrior.load()
        assert prior.bone_names == parameters.driven, "the pose prior is of other bones"
        return cls(prior, ShapePrior.load(), crop_size=crop_size).requires_grad_(False)

    def forward(self, output: NetworkOutput, bodies: MetricBodies, samples: Samples) -> PhotoTerms:
        """Every term's mean over the batch.

        Args:
            output: of the network.
            bodies: where it puts them.
            samples: of photographs.
        """
        assert samples.keypoints is not None, "not photographs"
        return PhotoTerms(
            joints2d=labelled_joints2d_loss(
                bodies.body.coco17_m, samples.keypoints, samples.K_crop.float(), self.crop_size
            ).mean(),
            pose_prior=pose_prior_loss(output.heads.rotations, self.pose_prior).mean(),
            shape_prior=shape_prior_loss(output.heads.shape, self.shape_prior).mean(),
            balance=output.balance_loss(),
        )


def labelled_joints2d_loss(
    joints_m: Float[Tensor, "B 17 3"],
    keypoints: Float[Tensor, "B 17 3"],
    K_crop: Float[Tensor, "B 3 3"],
    crop_size: int,
) -> Float[Tensor, "B"]:
    """L_J2D = Σ_j w_j ρ(π(J_j) − k_j) / Σ_j w_j in half crops, with ρ an L1 cut off at one crop's width.

    Joints less than 0.2 m before the camera have no meaningful projection and are left out.

    Args:
        joints_m: COCO-17, camera frame.
        keypoints: where they were labelled (half crops, 0 the crop's middle), and w: 1 where labelled, else 0.
        K_crop: (crop from image)·K.
        crop_size: pixels of a crop's side.
    """
    place = projected(joints_m, K_crop, crop_size) - 1
    weight = keypoints[..., 2] * (joints_m[..., 2] > NEAREST_M)
    distance = (place - keypoints[..., :2]).abs().sum(-1).clamp_max(2.0)
    return (distance * weight).sum(-1) / weight.sum(-1).clamp_min(1)


def pose_prior_loss(rotations: Float[Tensor, "B D 3 3"], prior: PosePrior) -> Float[Tensor, "B"]:
    """L_pp = (−log p(c) + ½‖r − r(c)‖²/σ²) / n: c, the prior's n coefficients; r − r(c), what they cannot say of the
    rotation vectors r, with σ = 0.1 rad. The root is free.
    """
    rotvecs = roma.rotmat_to_rotvec(rotations[:, 1:].float())
    coefficients = prior.to_coefficients(rotvecs)
    rest = (rotvecs - prior.to_rotvecs(coefficients)).square().sum((1, 2))
    return (prior.pose_energy(coefficients) + 0.5 * rest / 0.1**2) / prior.n_coefficients


def shape_prior_loss(shape: Float[Tensor, "B S"], prior: ShapePrior) -> Float[Tensor, "B"]:
    """L_sp = −log p(β) / n over the n shape parameters: builds and statures of real people."""
    return -prior.log_prob(shape.float()) / shape.shape[1]
