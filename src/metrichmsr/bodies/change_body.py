"""Recovered people with bodies of another model, and how far the two are apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.bodies.protocol import BodyModel
from metrichmsr.bodies.rig import rig_of
from metrichmsr.bodies.transfer import transfer
from metrichmsr.structures import Person


class Gap(NamedTuple):
    """How far a body is from the one it was fitted to, millimetres."""

    keypoints_mm: float
    """Mean over COCO-17 and BlazePose's 33."""
    surface_mm: float
    """Mean distance from the new body's vertices to the nearest vertex of the old one."""
    height_mm: float
    """New stature less the old one."""


def change_body(
    people: Sequence[Person], source: BodyModel, target: BodyModel
) -> tuple[tuple[Person, ...], tuple[Gap, ...]]:
    """Fit ``target`` to the keypoints and statures of people whose bodies are of ``source``.

    What keypoints do not tell (fingers, twists) stays near the target's rest pose; see
    :func:`metrichmsr.bodies.transfer.transfer`. Detections, sigmas and masks are kept.
    """
    if not people:
        return (), ()
    like = source.default_shape()
    rotvecs = torch.from_numpy(np.stack([np.stack(list(person.pose.values())) for person in people])).to(like)
    shape = torch.tensor([[person.shape[name] for name in source.shape_names] for person in people]).to(like)
    place = torch.from_numpy(np.stack([person.translation_m for person in people])).to(like)
    with torch.no_grad():
        old = source(roma.rotvec_to_rotmat(rotvecs), shape, place)
    moved = transfer(old, target)
    body = moved.body
    turns = roma.rotmat_to_rotvec(moved.pose).numpy().astype(np.float64)
    with torch.no_grad():
        rest_pelvis = target.rest(moved.shape).joints_m[:, 0].numpy().astype(np.float64)
    faces, rig = target.faces.numpy(), rig_of(target)
    changed, gaps = [], []
    for i, person in enumerate(people):
        joints = body.joints_m[i].numpy().astype(np.float64)
        changed.append(
            dataclasses.replace(
                person,
                body_model=target.name,
                translation_m=joints[0],
                pose={name: turns[i, j] for j, name in enumerate(target.bone_names)},
                shape={name: float(moved.shape[i, k]) for k, name in enumerate(target.shape_names)},
                height_m=float(body.height_m[i]),
                keypoints_3d_m=body.coco17_m[i].numpy().astype(np.float64),
                vertices_m=body.vertices_m[i].numpy(),
                faces=faces,
                joints_m=joints,
                rig=rig,
                rest_pelvis_m=rest_pelvis[i],
            )
        )
        gaps.append(
            Gap(
                keypoints_mm=1000 * float(moved.error_m[i]),
                surface_mm=1000 * _nearest_m(body.vertices_m[i], old.vertices_m[i]),
                height_mm=1000 * float(body.height_m[i] - old.height_m[i]),
            )
        )
    return tuple(changed), tuple(gaps)


def _nearest_m(points: Float[Tensor, "N 3"], others: Float[Tensor, "M 3"]) -> float:
    nearest = [torch.cdist(part, others).amin(dim=1) for part in points.split(512)]
    return float(torch.cat(nearest).mean())
