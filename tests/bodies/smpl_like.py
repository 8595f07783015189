"""A made-up model with SMPL's form and a person's: the official files may not travel with these tests.

It has SMPL's 24 bones, T-pose, 6890 vertices with the skin points where the official mesh has them, and ten linear
shape components; all are made of Anny's adults. So it is kinder than the real SMPL, whose people were scanned and whose
joints lie elsewhere; but nothing of Anny's pose (104 bones) or shape (six non-linear parameters) goes into it as it is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from metrichmsr.bodies.kinematics import faces_within
from metrichmsr.bodies.protocol import BodyModel
from metrichmsr.bodies.smpl import _SKIN, SmplBody
from metrichmsr.bodies.smpl_files import SmplData
from metrichmsr.structures import BLAZEPOSE33, COCO17

PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
_BONES = (
    *("root", "upperleg01.L", "upperleg01.R", "spine04", "lowerleg01.L", "lowerleg01.R", "spine03", "foot.L", "foot.R"),
    *("spine02", "toe2-1.L", "toe2-1.R", "neck01", "clavicle.L", "clavicle.R", "head", "upperarm01.L", "upperarm01.R"),
    *("lowerarm01.L", "lowerarm01.R", "wrist.L", "wrist.R", "finger3-1.L", "finger3-1.R"),
)
"""Anny's bone whose head is the joint."""
_VERTICES = 6890
_SHAPES = 10


def smpl_like(anny: BodyModel) -> SmplBody:
    """The model; random numbers in it are always the same."""
    # Anny is z up and looks to −y.
    from_anny = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    generator = torch.Generator().manual_seed(0)
    shapes = anny.default_shape() + 0.4 * (torch.rand(80, len(anny.shape_names), generator=generator) - 0.5)
    with torch.no_grad():
        bodies = anny(_t_pose(anny).expand(len(shapes), -1, -1, -1), shapes)
        middle = anny(_t_pose(anny), anny.default_shape()[None])
    bones = [anny.bone_names.index(name) for name in _BONES]
    kept = _vertices(anny, middle.vertices_m[0].numpy(), middle)
    vertices = bodies.vertices_m.numpy()[:, kept].astype(np.float64) @ from_anny.T
    joints = bodies.joints_m.numpy()[:, bones].astype(np.float64) @ from_anny.T
    template = vertices.mean(axis=0)
    flat = (vertices - template).reshape(len(vertices), -1)
    coefficients, sizes, components = np.linalg.svd(flat, full_matrices=False)
    scale = np.sqrt(len(flat))  # a coefficient of 1 is a standard deviation
    coefficients, components = coefficients[:, :_SHAPES] * scale, components[:_SHAPES] * sizes[:_SHAPES, None] / scale
    shape_basis = components.reshape(_SHAPES, _VERTICES, 3)
    # Joints linear in the shape, then the smallest weights of vertices that give them.
    design = np.column_stack([np.ones(len(flat)), coefficients])
    linear = np.linalg.lstsq(design, joints.reshape(len(flat), -1), rcond=None)[0].reshape(1 + _SHAPES, 24, 3)
    sources = np.concatenate([template[None], shape_basis]).transpose(0, 2, 1).reshape(-1, _VERTICES)
    sources = np.concatenate([sources, np.ones((1, _VERTICES))])
    wanted = np.concatenate([linear.transpose(0, 2, 1).reshape(-1, 24), np.ones((1, 24))])
    regressor = np.linalg.lstsq(sources, wanted, rcond=1e-6)[0].T
    faces, _ = faces_within(anny.faces, torch.from_numpy(kept), anny.num_vertices)
    data = SmplData(
        kind="smpl",
        path=Path("smpl_like.npz"),
        v_template=template.astype(np.float32),
        shapedirs=shape_basis.transpose(1, 2, 0).astype(np.float32),
        posedirs=np.zeros((_VERTICES, 3, 207), np.float32),
        joint_regressor=regressor.astype(np.float32),
        weights=_weights(anny)[kept],
        parents=PARENTS,
        faces=faces.numpy(),
        hands_mean=None,
    )
    return SmplBody(data)


def _t_pose(anny: BodyModel) -> torch.Tensor:
    """Arms level, to the sides."""
    pose = anny.identity_pose()
    with torch.no_grad():
        heads = anny(pose, anny.default_shape()[None]).joints_m[0].numpy()
    for side, sign in (("L", 1), ("R", -1)):
        shoulder, wrist = (anny.bone_names.index(f"{name}.{side}") for name in ("upperarm01", "wrist"))
        x, _, z = heads[wrist] - heads[shoulder]
        angle = np.arctan2(z, sign * x) * sign  # about y, which takes z to x
        cos, sin = np.cos(angle), np.sin(angle)
        pose[0, shoulder] = torch.tensor([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]).to(pose)
    return pose


def _vertices(anny: BodyModel, vertices: np.ndarray, middle) -> np.ndarray:
    """Which of Anny's vertices the model has, in its order: highest and lowest, and skin points at official places."""
    points = dict(zip(BLAZEPOSE33, middle.landmarks33_m[0].numpy(), strict=True))
    points |= dict(zip(COCO17, middle.coco17_m[0].numpy(), strict=True))
    fixed: dict[int, int] = {}
    for name, place in _SKIN[_VERTICES].items():
        fixed[place] = int(np.linalg.norm(vertices - points[name], axis=1).argmin())
    extremes = {int(vertices[:, 2].argmin()), int(vertices[:, 2].argmax())} - set(fixed.values())
    rest = np.setdiff1d(np.arange(len(vertices)), [*fixed.values(), *extremes])
    others = np.random.default_rng(0).choice(rest, _VERTICES - len(fixed) - len(extremes), replace=False)
    others = iter(np.sort(np.concatenate([others, list(extremes)]).astype(int)).tolist())
    return np.array([fixed[place] if place in fixed else next(others) for place in range(_VERTICES)])


def _weights(anny: BodyModel) -> np.ndarray:
    """Anny's weights, those of bones that the model has not on the next bone towards the root that it has."""
    weights = np.zeros((anny.num_vertices, len(_BONES)), np.float32)
    for bone, name in enumerate(anny.bone_names):
        above = bone
        while anny.bone_names[above] not in _BONES:
            above = anny.parents[above]
        if name.startswith("toe"):
            above = anny.bone_names.index(f"toe2-1.{name[-1]}")
        elif name.startswith(("finger", "metacarpal")):
            above = anny.bone_names.index(f"finger3-1.{name[-1]}")
        weights[:, _BONES.index(anny.bone_names[above])] += anny.skin[bone, : anny.num_vertices].numpy()
    return weights
