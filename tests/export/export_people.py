"""Made-up people with a real skeleton."""

from __future__ import annotations

import numpy as np
import roma
import torch

from metrichmsr.bodies.protocol import BodyModel
from metrichmsr.bodies.rig import rig_of
from metrichmsr.structures import COCO17, Person

HEIGHT_M = 1.2
"""Of the camera of the fixture ``world`` above its floor."""


def posed_person(body: BodyModel, id: int = 0, pelvis=(0.2, 0.1, 4.0), *, bend: float = 0.3, seed: int = 0) -> Person:
    """A body of any model: every bone turned by about ``bend`` radians, the root half around anything."""
    generator = torch.Generator().manual_seed(seed + 100 * id)
    turns = bend * torch.randn(1, body.num_bones, 3, generator=generator)
    turns[:, 0] = 1.5 * torch.randn(3, generator=generator)
    pose = roma.rotvec_to_rotmat(turns)
    shape = body.default_shape()[None]
    out = body(pose, shape, torch.tensor([pelvis], dtype=torch.float32))
    rotvecs = roma.rotmat_to_rotvec(pose)[0].numpy().astype(np.float64)
    return Person(
        id=id,
        score=0.9,
        box_xyxy=np.array([10.0, 10.0, 50.0, 100.0]),
        body_model=body.name,
        translation_m=out.joints_m[0, 0].numpy().astype(np.float64),
        pose=dict(zip(body.bone_names, rotvecs, strict=True)),
        shape={name: float(shape[0, i]) for i, name in enumerate(body.shape_names)},
        height_m=float(out.height_m[0]),
        height_std_m=0.06,
        distance_std_m=0.2,
        keypoints_2d_px=np.ones((len(COCO17), 3)),
        keypoints_3d_m=out.coco17_m[0].numpy().astype(np.float64),
        vertices_m=out.vertices_m[0].numpy(),
        faces=body.faces.numpy(),
        joints_m=out.joints_m[0].numpy().astype(np.float64),
        rig=rig_of(body),
        rest_pelvis_m=body.rest(shape).joints_m[0, 0].numpy().astype(np.float64),
    )


def plane(camera, normal, offset_m):
    """z-depth of the plane n·X + d = 0; NaN at and above its horizon, or beyond 30 m."""
    u, v = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(camera.K).T
    down = -(rays @ normal)
    depth = np.where(down > 1e-6, offset_m / np.maximum(down, 1e-6), np.nan)
    return np.where(depth < 30, depth, np.nan).astype(np.float32)
