"""Where a body model keeps its shoulders, hips and hands: anatomy by the names of bones, the same for every model.

Bones give places inside the body, skin weights say which part of the skin belongs to an arm or a leg. Both are read
once from a model; nothing here depends on a shape or a pose, but for which vertices lie on the midline, which is asked
of the default shape.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from metrichmsr.bodies.protocol import BodyModel
from metrichmsr.errors import ModelFileError

# Role → bone, of the right side ({R}) where there are two; the first name that exists counts.
_ROLES: dict[str, tuple[str, ...]] = {
    "shoulder": ("upperarm01.{R}", "right_shoulder"),
    "elbow": ("lowerarm01.{R}", "right_elbow"),
    "wrist": ("wrist.{R}", "right_wrist"),
    "hip": ("upperleg01.{R}", "right_hip"),
    "knee": ("lowerleg01.{R}", "right_knee"),
    "ankle": ("foot.{R}", "right_ankle"),
    "neck": ("neck01", "neck"),
    "head": ("head",),
}
# From the wrist to the last bone of the middle finger, as far as the model has them.
_FINGER = (
    ("finger3-1.{R}", "finger3-2.{R}", "finger3-3.{R}"),
    ("right_middle1", "right_middle2", "right_middle3"),
    ("right_hand",),
)
_MIDLINE_M = 0.003
"""How near the plane of symmetry a vertex must be to be of the midline: SMPL's is not exactly straight."""


@dataclass(frozen=True)
class Anatomy:
    """Bones and parts of one model."""

    right: dict[str, int]
    """Role → bone of the right side (or of the middle): shoulder, elbow, wrist, hip, knee, ankle, neck, head."""
    left: dict[str, int]
    """The same of the left side."""
    right_finger: tuple[int, ...]
    """Bones of the right middle finger, outwards; the last one carries the fingertip."""
    left_finger: tuple[int, ...]
    arms: Bool[np.ndarray, "V"]
    """Skin that moves with an upper arm or what hangs on it."""
    head: Bool[np.ndarray, "V"]
    """Skin that moves with the head."""
    neck: Bool[np.ndarray, "V"]
    """Skin that moves with the neck or the head."""
    right_upper_arm: Bool[np.ndarray, "V"]
    """Skin of the right arm, without the forearm's."""
    right_lower_leg: Bool[np.ndarray, "V"]
    """Skin that moves with the right knee, without the foot's."""
    right_leg: Bool[np.ndarray, "V"]
    """Skin right of the midline below the hips' level, without arms."""
    midline: Int[np.ndarray, "N"]
    """Vertices on the plane of symmetry, trunk and head."""
    fingertips: tuple[Int[np.ndarray, "N"], Int[np.ndarray, "N"]]
    """Vertices of the last bone of the right and the left middle finger."""

    @classmethod
    def of(cls, model: BodyModel) -> Anatomy:
        """Read off a model that shows all of its vertices.

        Raises:
            ModelFileError: a bone that measuring needs is not among the model's.
        """
        names = model.bone_names
        right = {role: _bone(model, role, options, "R") for role, options in _ROLES.items()}
        left = {role: _bone(model, role, options, "L") for role, options in _ROLES.items()}
        fingers = [next(_finger(names, side)) for side in ("R", "L")]
        skin = model.skin.cpu().numpy()

        def share(roots: Collection[int], without: Collection[int] = ()) -> Float[np.ndarray, "V"]:
            bones = _descendants(model.parents, roots) - _descendants(model.parents, without)
            return skin[sorted(bones), : model.num_vertices].sum(0)

        arms = share([right["shoulder"], left["shoulder"]]) > 0.5
        legs = share([right["hip"], left["hip"]]) > 0.5
        rest = model.rest(model.default_shape()[None])
        vertices = standing(model, rest.vertices_m.cpu().numpy())[0]
        hip = standing(model, rest.joints_m.cpu().numpy())[0, right["hip"]]
        below = vertices[:, 2] < hip[2]
        middle = np.abs(vertices[:, 0]) < _MIDLINE_M
        dominant = skin[:, : model.num_vertices].argmax(0)
        return cls(
            right=right,
            left=left,
            right_finger=fingers[0],
            left_finger=fingers[1],
            arms=arms,
            head=share([right["head"]]) > 0.5,
            neck=share([right["neck"]]) > 0.5,
            right_upper_arm=share([right["shoulder"]], [right["elbow"]]) > 0.5,
            right_lower_leg=share([right["knee"]], [right["ankle"]]) > 0.5,
            right_leg=~arms & below & (legs | middle) & (vertices[:, 0] < _MIDLINE_M),
            midline=np.flatnonzero(middle & ~arms),
            fingertips=(np.flatnonzero(dominant == fingers[0][-1]), np.flatnonzero(dominant == fingers[1][-1])),
        )


def standing(model: BodyModel, points: Float[np.ndarray, "B N 3"]) -> Float[np.ndarray, "B N 3"]:
    """Points of a model's body frame in one that all share: x to the body's left, y backwards, z up."""
    if model.name == "anny":
        return points
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def _bone(model: BodyModel, role: str, options: tuple[str, ...], side: str) -> int:
    for option in options:
        name = _of_side(option, side)
        if name in model.bone_names:
            return model.bone_names.index(name)
    raise ModelFileError(f"{model.name}: no bone for the {role}; measuring needs one of {', '.join(options)}")


def _finger(names: tuple[str, ...], side: str):
    for option in _FINGER:
        finger = [_of_side(name, side) for name in option]
        if all(name in names for name in finger):
            yield tuple(names.index(name) for name in finger)
    raise ModelFileError(f"no bones of a middle finger or hand among {', '.join(names)}")


def _of_side(name: str, side: str) -> str:
    name = name.replace("{R}", side)
    return name.replace("right_", "left_") if side == "L" else name


def _descendants(parents: tuple[int, ...], roots: Collection[int]) -> set[int]:
    found = set(roots)
    for bone, parent in enumerate(parents):
        if parent in found:
            found.add(bone)
    return found
