"""What every body model offers: pose and shape in; vertices, joints, keypoints and stature out.

Convention
----------
A model has a *body frame* of its own (Anny: z up, facing −y, its left is +x; SMPL: y up, facing +z, its left is +x).
``pose`` holds parent-relative rotations, root first; the **root rotation takes the body frame to the camera frame**,
and everything turns about the pelvis joint (bone 0's head). ``translation_m`` is where the pelvis joint ends up, so
``joints_m[:, 0] == translation_m`` for every pose and shape; left out, the pelvis is at the origin.

``height_m`` is the stature of the rest-pose body, heel to crown: a property of the shape alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from metrichmsr.bodies.kinematics import blend_skin
from metrichmsr.bodies.landmarks import PointRegressor
from metrichmsr.structures import COCO17


@dataclass(frozen=True)
class BodyOutput:
    """A batch of posed bodies, in the frame the root rotation and translation lead to (camera frame in recovery)."""

    vertices_m: Float[Tensor, "B V 3"]
    """Mesh vertices, metres. In a restricted model: the vertices asked for, in that order."""
    joints_m: Float[Tensor, "B J 3"]
    """Bone heads, metres, in the order of ``bone_names``; the first is the pelvis."""
    coco17_m: Float[Tensor, "B 17 3"]
    """COCO-17 where an annotator would mark them, metres, in the order of ``metrichmsr.structures.COCO17``."""
    landmarks33_m: Float[Tensor, "B 33 3"]
    """BlazePose's 33 landmarks, metres, in the order of ``metrichmsr.structures.BLAZEPOSE33``."""
    bone_rotations: Float[Tensor, "B J 3 3"]
    """Rotation of each bone from the identity pose: the product of the pose rotations from the root to the bone."""
    height_m: Float[Tensor, "B"]
    """Stature of the rest-pose body, heel to crown, metres."""

    def moved(self, by_m: Float[Tensor, "B 3"]) -> BodyOutput:
        """The same bodies elsewhere."""
        points = ("vertices_m", "joints_m", "coco17_m", "landmarks33_m")
        return replace(self, **{name: getattr(self, name) + by_m[:, None] for name in points})


@dataclass(frozen=True)
class RestBody:
    """A batch of unposed bodies in the model's own frame, at the place the model's data puts them."""

    vertices_m: Float[Tensor, "B V 3"]
    """Mesh vertices of the shaped, unposed body, metres."""
    joints_m: Float[Tensor, "B J 3"]
    """Bone heads of the shaped, unposed body, metres."""


@dataclass(frozen=True)
class Skinning:
    """Rest bodies and what takes them to their pose: v' = Σ_j w_j (R_j v + t_j)."""

    rest_m: Float[Tensor, "B 3 V"]
    """Shaped, unposed vertices in planes of x, y, z; a batch of one where all bodies have one. SMPL's bulge with the
    pose."""
    rest_joints_m: Float[Tensor, "B J 3"]
    """Bone heads of the shaped, unposed body."""
    rotations: Float[Tensor, "B J 3 3"]
    """R of each bone."""
    shifts_m: Float[Tensor, "B J 3"]
    """t of each bone."""
    joints_m: Float[Tensor, "B J 3"]
    """Bone heads of the posed body."""
    bone_rotations: Float[Tensor, "B J 3 3"]
    """Rotation of each bone from the identity pose."""
    height_m: Float[Tensor, "B"]


class BodyModel(nn.Module, ABC):
    """Base of all body models. Device and dtype follow the module (``model.to(...)``); inputs must match them."""

    name: str
    """Name used in the result contract: ``anny``, ``smpl``, ``smplh``, ``smplx``."""
    bone_names: tuple[str, ...]
    """Bones, root first, parents before children; also the keys of a pose in the result contract."""
    parents: tuple[int, ...]
    """Index of each bone's parent; −1 for the root."""
    shape_names: tuple[str, ...]
    """Names of the shape parameters, in the order of the shape vector."""
    faces: Int[Tensor, "F 3"]
    """Triangles, counter-clockwise seen from outside (a buffer)."""
    skin: Float[Tensor, "J N"]
    """How much each bone moves each vertex (a buffer): the vertices shown first, in a restricted model others after."""
    points: PointRegressor
    """COCO-17 and BlazePose-33, in this order, from vertices and bone heads."""
    front: tuple[float, float, float]
    """Where the body looks, in the body frame: a unit vector."""
    up: tuple[float, float, float]
    """From its feet to its head."""

    @property
    def num_bones(self) -> int:
        """Number of bones, J."""
        return len(self.bone_names)

    @property
    @abstractmethod
    def num_vertices(self) -> int:
        """Number of vertices, V."""

    @abstractmethod
    def default_shape(self) -> Float[Tensor, "S"]:
        """Shape of an average adult."""

    @abstractmethod
    def rest(self, shape: Float[Tensor, "B S"]) -> RestBody:
        """The shaped body before posing, in the body frame."""

    @abstractmethod
    def height(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B"]:
        """Stature of the rest-pose body in metres; fast and differentiable, without building the mesh."""

    @abstractmethod
    def skinning(
        self,
        pose: Float[Tensor, "B J 3 3"],
        shape: Float[Tensor, "B S"],
        translation_m: Float[Tensor, "B 3"] | None = None,
    ) -> Skinning:
        """What moves the rest body, and whatever else hangs on its bones (clothes); arguments as of ``forward``."""

    def forward(
        self,
        pose: Float[Tensor, "B J 3 3"],
        shape: Float[Tensor, "B S"],
        translation_m: Float[Tensor, "B 3"] | None = None,
    ) -> BodyOutput:
        """Pose and shape a batch of bodies.

        Args:
            pose: parent-relative rotation matrices, root first.
            shape: shape parameters in the order of ``shape_names``; a batch of one is shared by all poses.
            translation_m: position of the pelvis joint, metres; the origin if left out.
        """
        return self.pose_with(self.skinning(pose, shape, translation_m))

    def pose_with(self, skinning: Skinning) -> BodyOutput:
        """The posed body of a skinning."""
        vertices = blend_skin(skinning.rest_m, self.skin, skinning.rotations, skinning.shifts_m)
        joints = skinning.joints_m
        points = self.points(vertices, joints)
        return BodyOutput(
            vertices_m=vertices[:, : self.num_vertices],
            joints_m=joints,
            coco17_m=points[:, : len(COCO17)],
            landmarks33_m=points[:, len(COCO17) :],
            bone_rotations=skinning.bone_rotations,
            height_m=skinning.height_m,
        )

    @abstractmethod
    def restricted_to(self, vertex_ids: Int[Tensor, "N"]) -> BodyModel:
        """The same model evaluating only these vertices (and all joints and keypoints): many times faster.

        ``faces`` keeps the triangles whose corners were all kept, renumbered.
        """

    def identity_pose(self, batch: int = 1) -> Float[Tensor, "B J 3 3"]:
        """Identity rotations for every bone, on the model's device and dtype."""
        like = self.default_shape()
        return torch.eye(3, dtype=like.dtype, device=like.device).expand(batch, self.num_bones, 3, 3).clone()

    def mirrored_bones(self) -> tuple[int, ...]:
        """For each bone the index of its counterpart on the other side (itself on the midline)."""
        index = {bone: i for i, bone in enumerate(self.bone_names)}
        return tuple(index[mirrored_name(bone)] for bone in self.bone_names)

    def mirror_pose(self, pose: Float[Tensor, "B J 3 3"]) -> Float[Tensor, "B J 3 3"]:
        """The pose seen in a mirror through the body's own sagittal plane (x → −x), left and right exchanged."""
        sign = pose.new_tensor([-1.0, 1.0, 1.0])
        return pose[:, list(self.mirrored_bones())] * sign[:, None] * sign[None, :]


def mirrored_name(bone: str) -> str:
    """Name of the bone on the other side: ``foot.L`` ↔ ``foot.R``, ``left_foot`` ↔ ``right_foot``."""
    for a, b in (("L", "R"), ("R", "L")):
        if bone.endswith(f".{a}"):
            return f"{bone[:-1]}{b}"
    for a, b in (("left_", "right_"), ("right_", "left_")):
        if bone.startswith(a):
            return b + bone.removeprefix(a)
    return bone
