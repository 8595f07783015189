"""Two answers for the same people, one from the mirrored picture, made one (test-time augmentation)."""

from __future__ import annotations

import dataclasses

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.bodies.protocol import mirrored_name
from metrichmsr.hmr.body_parameters import BodyParameters
from metrichmsr.hmr.crop_evidence import Up, UpDirection
from metrichmsr.hmr.network import MetricBodies
from metrichmsr.structures import COCO17

_COCO_MIRROR = [COCO17.index(mirrored_name(name)) for name in COCO17]
"""For each COCO-17 keypoint the one on the other side."""


def mirrored_up(up: Up) -> UpDirection:
    """Which way is up in the mirrored picture."""
    return UpDirection(up.direction * (-1.0, 1.0, 1.0), up.std_deg)


@torch.no_grad()
def averaged(seen: MetricBodies, in_mirror: MetricBodies, parameters: BodyParameters) -> MetricBodies:
    """The mean of both answers: rotations (chordal), shapes, directions, and logarithms of distances and sigmas.

    Args:
        seen: in the picture.
        in_mirror: the same people in the mirrored one.
        parameters: the body model.
    """
    back = parameters.body.mirror_pose(in_mirror.pose)
    pose = roma.special_procrustes(seen.pose + back)
    shape = 0.5 * (seen.shape + in_mirror.shape)
    translation = _between(seen.translation_m, in_mirror.translation_m * in_mirror.translation_m.new_tensor([-1, 1, 1]))
    pairs = {
        name: (getattr(seen, name) * getattr(in_mirror, name)).sqrt() for name in ("distance_sigma", "height_sigma_m")
    }
    logits = None
    if seen.stature_logits is not None and in_mirror.stature_logits is not None:
        logits = 0.5 * (seen.stature_logits.log_softmax(-1) + in_mirror.stature_logits.log_softmax(-1))
    return dataclasses.replace(
        seen,
        body=parameters.body(pose, shape, translation),
        pose=pose,
        shape=shape,
        translation_m=translation,
        joint_sigma_m=(seen.joint_sigma_m * in_mirror.joint_sigma_m[:, _COCO_MIRROR]).sqrt(),
        stature_logits=logits,
        **pairs,
    )


def _between(first: Float[Tensor, "B 3"], second: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3"]:
    near, far = first.norm(dim=-1, keepdim=True), second.norm(dim=-1, keepdim=True)
    return torch.nn.functional.normalize(first / near + second / far, dim=-1) * (near * far).sqrt()
