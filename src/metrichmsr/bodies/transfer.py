"""The same person in another body model: pose, shape and place that put its keypoints where the first body has them."""

from __future__ import annotations

from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.bodies.protocol import BodyModel, BodyOutput
from metrichmsr.geometry.alignment import rigid_align

TORSO = (5, 6, 11, 12)
"""Shoulders and hips among COCO-17: they tell how a body is turned whatever its limbs do."""


@dataclass(frozen=True)
class Transfer:
    """B bodies in the other model."""

    body: BodyOutput
    """Full bodies, in the frame of the first."""
    pose: Float[Tensor, "B J 3 3"]
    """Parent-relative rotations, root first."""
    shape: Float[Tensor, "B S"]
    """Shape parameters."""
    error_m: Float[Tensor, "B"]
    """Mean distance between keypoints of the two bodies: what the models' notions of a joint leave open."""


def transfer(source: BodyOutput, target: BodyModel, *, steps: int = 200) -> Transfer:
    """Fit ``target`` to the keypoints and stature of ``source`` by gradient descent (Adam, all bodies at once).

    Args:
        source: bodies of any model.
        target: the model to express them in; device and dtype as the source's.
        steps: gradient steps. Rotations stay near the model's rest pose where keypoints say nothing (fingers, twists).
    """
    light = target.restricted_to(torch.zeros(0, dtype=torch.long))
    wanted = torch.cat([source.coco17_m, source.landmarks33_m], dim=1).detach()
    batch, bones = len(wanted), target.num_bones
    middle = target.default_shape().expand(batch, -1)
    with torch.no_grad():
        rest = light(target.identity_pose(batch), middle)
        turn = rigid_align(rest.coco17_m[:, TORSO], source.coco17_m[:, TORSO]).rotation
    rotvecs = torch.zeros_like(middle).new_zeros(batch, bones, 3).requires_grad_()
    change = torch.zeros_like(middle).requires_grad_()
    place = source.joints_m[:, 0].detach().clone().requires_grad_()
    optimiser = torch.optim.Adam([{"params": [rotvecs, change], "lr": 0.05}, {"params": [place], "lr": 0.01}])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)

    def posed(model: BodyModel) -> tuple[BodyOutput, Tensor, Tensor]:
        turns = roma.rotvec_to_rotmat(rotvecs)
        pose = torch.cat([(turns[:, :1] @ turn[:, None]), turns[:, 1:]], dim=1)
        shape = middle + change
        return model(pose, shape, place), pose, shape

    with torch.enable_grad():
        for _ in range(steps):
            out, _, shape = posed(light)
            points = torch.cat([out.coco17_m, out.landmarks33_m], dim=1)
            error = (points - wanted).norm(dim=-1).mean(-1)
            stature = (out.height_m - source.height_m.detach()).abs()
            # In metres: a radian of an unseen rotation costs as much as a centimetre at every keypoint.
            plain = 0.01 * rotvecs[:, 1:].square().sum(-1).mean(-1) + 0.001 * change.square().mean(-1)
            optimiser.zero_grad()
            (error + 0.5 * stature + plain).sum().backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        body, pose, shape = posed(target)
        points = torch.cat([body.coco17_m, body.landmarks33_m], dim=1)
    return Transfer(body, pose.detach(), shape.detach(), (points - wanted).norm(dim=-1).mean(-1))
