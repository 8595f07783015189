"""SMPL, SMPL-H and SMPL-X from the user's own model files.

Loper et al., "SMPL: A Skinned Multi-Person Linear Model" (2015); Romero et al., "Embodied Hands" (2017); Pavlakos et
al., "Expressive Body Capture: 3D Hands, Face, and Body from a Single Image" (2019). The files carry a licence of
their own and never travel with this package.

Convention: body frame y up, facing +z, its left is +x. The identity pose is the model's T-pose with flat hands (not the
relaxed mean hands; see :meth:`SmplBody.with_relaxed_hands`). SMPL-X's expression is neutral.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

from metrichmsr.bodies.kinematics import KinematicTree, faces_within
from metrichmsr.bodies.landmarks import PointRegressor
from metrichmsr.bodies.protocol import BodyModel, RestBody, Skinning
from metrichmsr.bodies.smpl_files import SmplData, find_smpl_file, read_smpl_file
from metrichmsr.errors import ModelFileError
from metrichmsr.structures import BLAZEPOSE33, COCO17

_BODY = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle"),
    *("spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder"),
    *("right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
)
_FINGERS = tuple(
    f"{side}_{finger}{i}"
    for side in ("left", "right")
    for finger in ("index", "middle", "pinky", "ring", "thumb")
    for i in (1, 2, 3)
)
_BONE_NAMES = {
    "smpl": (*_BODY, "left_hand", "right_hand"),
    "smplh": (*_BODY, *_FINGERS),
    "smplx": (*_BODY, "jaw", "left_eye", "right_eye", *_FINGERS),
}

# Vertices of the official meshes: points of the skin that the rig has no joint for.
_SKIN = {
    6890: {
        "nose": 332, "left_eye": 2800, "right_eye": 6260, "left_ear": 583, "right_ear": 4071,
        "left_heel": 3387, "right_heel": 6787, "left_foot_index": 3216, "right_foot_index": 6617,
    },
    10475: {
        "nose": 9120, "left_eye": 9448, "right_eye": 9929, "left_ear": 6, "right_ear": 616,
        "left_heel": 8846, "right_heel": 8635, "left_foot_index": 5770, "right_foot_index": 8463,
    },
}  # fmt: skip

# Where a point is neither a joint of its own name nor a vertex: bones and skin points to average, first that exist.
_NEAREST = {
    "nose": ("head",), "left_eye": ("head",), "right_eye": ("head",), "left_ear": ("head",), "right_ear": ("head",),
    "left_heel": ("left_ankle",), "right_heel": ("right_ankle",),
    "left_foot_index": ("left_foot",), "right_foot_index": ("right_foot",),
    "left_eye_inner": ("left_eye",), "left_eye_outer": ("left_eye",),
    "right_eye_inner": ("right_eye",), "right_eye_outer": ("right_eye",),
    "mouth_left": ("nose", "nose", "head"), "mouth_right": ("nose", "nose", "head"),
    "left_index": ("left_index1", "left_hand"), "right_index": ("right_index1", "right_hand"),
    "left_pinky": ("left_pinky1", "left_hand"), "right_pinky": ("right_pinky1", "right_hand"),
    "left_thumb": ("left_thumb2", "left_hand"), "right_thumb": ("right_thumb2", "right_hand"),
}  # fmt: skip


class SmplBody(BodyModel):
    """A model of the SMPL family, or a restriction of it to some vertices.

    Args:
        data: a checked model file.
        num_shapes: how many of the file's shape components to use, ``beta_0`` onwards.
    """

    front = (0.0, 0.0, 1.0)
    up = (0.0, 1.0, 0.0)

    template: Tensor
    shape_basis: Tensor
    pose_basis: Tensor
    skin: Tensor
    vertex_ids: Tensor
    """Vertices of the full mesh that this model evaluates, in the order of ``vertices_m``."""
    _joint_template: Tensor
    _joint_basis: Tensor
    _stature_template: Tensor
    _stature_basis: Tensor

    def __init__(self, data: SmplData, *, num_shapes: int = 10) -> None:
        super().__init__()
        self.name = data.kind
        self.path = data.path
        self.bone_names = _BONE_NAMES[data.kind]
        self.parents = data.parents
        num_shapes = min(num_shapes, data.shapedirs.shape[-1])
        self.shape_names = tuple(f"beta_{i}" for i in range(num_shapes))
        self.tree = KinematicTree(data.parents)
        shape_basis = data.shapedirs[..., :num_shapes].transpose(2, 1, 0)  # S 3 V
        n_vertices = len(data.v_template)
        tensors: dict[str, np.ndarray] = {
            "template": data.v_template.T,
            "shape_basis": shape_basis.reshape(num_shapes, -1),
            "pose_basis": data.posedirs.transpose(2, 1, 0).reshape(data.posedirs.shape[-1], -1),
            "skin": data.weights.T,
            "faces": data.faces,
            "vertex_ids": np.arange(n_vertices),
            # Joints are linear in the vertices, hence in the shape.
            "_joint_template": data.joint_regressor @ data.v_template,
            "_joint_basis": np.einsum("jv,siv->sji", data.joint_regressor, shape_basis).reshape(num_shapes, -1),
            "_stature_template": data.v_template[:, 1],
            "_stature_basis": shape_basis[:, 1],
        }
        if data.hands_mean is not None:
            tensors["hands_mean"] = data.hands_mean
        for name, array in tensors.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(array)), persistent=False)
        self.points = _points(self.bone_names, n_vertices)
        self._n_shown = n_vertices

    @classmethod
    def find(cls, kind: str, folder: Path | str | None, *, gender: str = "neutral") -> SmplBody:
        """Find and read the user's file.

        Raises:
            ModelFileError: it is missing (the message says what to get where), or is something else.
        """
        path = find_smpl_file(kind, folder, gender=gender)
        data = read_smpl_file(path)
        if data.kind != kind:
            raise ModelFileError(f"{path}: this is a {data.kind} model ({len(data.parents)} bones), not {kind}")
        return cls(data)

    @property
    def num_vertices(self) -> int:
        """Vertices in ``vertices_m``: all, or as many as the model is restricted to."""
        return self._n_shown

    def default_shape(self) -> Float[Tensor, "S"]:
        """The template: all components zero."""
        return self.template.new_zeros(len(self.shape_names))

    def with_relaxed_hands(self, pose: Float[Tensor, "B J 3 3"]) -> Float[Tensor, "B J 3 3"]:
        """The pose with its finger rotations applied on top of the model's mean hands; unchanged where it has none."""
        if "hands_mean" not in self._buffers:
            return pose
        mean = roma.rotvec_to_rotmat(self.get_buffer("hands_mean")).expand(len(pose), 30, 3, 3)
        return torch.cat([pose[:, :-30], mean @ pose[:, -30:]], dim=1)

    def rest(self, shape: Float[Tensor, "B S"]) -> RestBody:
        """The shaped body in its T-pose, where the model's data puts it."""
        return RestBody(self._rest_vertices(shape)[..., : self._n_shown].transpose(1, 2), self._heads(shape))

    def height(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B"]:
        """Stature of the rest body, heel to crown, metres: its vertical extent."""
        y = self._stature_template + shape @ self._stature_basis
        return y.amax(-1) - y.amin(-1)

    def skinning(
        self,
        pose: Float[Tensor, "B J 3 3"],
        shape: Float[Tensor, "B S"],
        translation_m: Float[Tensor, "B 3"] | None = None,
    ) -> Skinning:
        """See :meth:`BodyModel.skinning`."""
        heads = self._heads(shape)
        offsets = heads - heads[:, self.tree.safe_parents]
        rotations = self.tree.rotations(pose)
        joints = self.tree.joints(rotations, offsets)
        if translation_m is not None:
            joints = joints + translation_m[:, None]
        joints = joints.expand(len(pose), -1, -1)
        feature = (pose[:, 1:] - torch.eye(3, dtype=pose.dtype, device=pose.device)).flatten(1)
        rest = self._rest_vertices(shape) + (feature @ self.pose_basis).unflatten(-1, (3, -1))
        return Skinning(
            rest_m=rest,
            rest_joints_m=heads.expand(len(pose), -1, -1),
            rotations=rotations,
            shifts_m=joints - (rotations @ heads[..., None]).squeeze(-1),
            joints_m=joints,
            bone_rotations=rotations,
            height_m=self.height(shape).expand(len(pose)),
        )

    def restricted_to(self, vertex_ids: Int[Tensor, "N"]) -> SmplBody:
        """See :meth:`BodyModel.restricted_to`. What the keypoints need is evaluated beside, and not shown."""
        wanted = vertex_ids.to(self.vertex_ids.device, torch.long)
        needed = self.points.vertex_ids()
        kept = torch.cat([wanted, needed[~torch.isin(needed, wanted)]])
        light = copy.copy(self)
        light._buffers = dict(self._buffers)
        light._modules = {"tree": copy.deepcopy(self.tree), "points": self.points.restricted_to(kept)}
        light.template = self.template[:, kept]
        for name in ("shape_basis", "pose_basis"):
            setattr(light, name, getattr(self, name).unflatten(-1, (3, -1))[..., kept].flatten(1))
        light.skin = self.skin[:, kept].contiguous()
        light.faces, _ = faces_within(self.faces, wanted, self._n_shown)
        light.vertex_ids = self.vertex_ids[wanted]
        light._n_shown = len(wanted)
        return light

    def _rest_vertices(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B 3 V"]:
        return self.template + (shape @ self.shape_basis).unflatten(-1, (3, -1))

    def _heads(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B J 3"]:
        return self._joint_template + (shape @ self._joint_basis).unflatten(-1, (-1, 3))


def _points(bone_names: tuple[str, ...], n_vertices: int) -> PointRegressor:
    """COCO-17 and BlazePose's points: skin vertices on the official meshes, else joints, else the nearest there is."""
    skin = _SKIN.get(n_vertices, {})

    def sources(name: str) -> list[int]:
        if name in skin:
            return [skin[name]]
        if name in bone_names:
            return [n_vertices + bone_names.index(name)]
        options = _NEAREST[name]
        if len(options) == 3:
            return [source for option in options for source in sources(option)]
        return sources(
            next(option for option in options if option in skin or option in bone_names or option in _NEAREST)
        )

    rows = [sources(name) for name in (*COCO17, *BLAZEPOSE33)]
    index = torch.zeros(len(rows), 3, dtype=torch.long)
    weight = torch.zeros(len(rows), 3)
    for i, row in enumerate(rows):
        index[i, : len(row)] = torch.tensor(row)
        weight[i, : len(row)] = 1 / len(row)
    return PointRegressor(index, weight, num_vertices=n_vertices)
