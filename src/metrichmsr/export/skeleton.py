"""The bones of a recovered person as coordinate frames: what every format with a skeleton starts from.

Convention:
    A bone's frame has its origin in the bone's head, in metres of the camera frame. There are two choices of axes.
    *Pose axes* are those of the body model: at the identity pose all bones have the axes of the body frame, so the
    rotation of a bone against its parent is its entry in ``pose``. *Bone axes* are turned against them by a rotation
    that is the same in every pose: +y runs along the bone towards its child, and +z looks the body's way where it can.
    Editors draw bones along y; with pose axes their armatures would look like a hedgehog.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from metrichmsr.structures import Person, Rig

# Bones that point where the body looks (feet, toes) have their +z up instead: more than this cosine to the front.
_ALONG_FRONT = 0.7
_SHORT_M = 1e-6


@dataclass(frozen=True, eq=False)
class Skeleton:
    """A posed skeleton in the camera frame."""

    names: tuple[str, ...]
    parents: tuple[int, ...]
    """−1 for the root, which comes first."""
    heads_m: Float[np.ndarray, "J 3"]
    """Bone heads in the camera frame, metres."""
    pose: Float[np.ndarray, "J 3 3"]
    """Rotation of each bone against its parent in pose axes; the root's takes the body frame to the camera frame."""
    rotations: Float[np.ndarray, "J 3 3"]
    """Product of ``pose`` from the root to each bone."""
    offsets_m: Float[np.ndarray, "J 3"]
    """From the parent's head to each bone's head at the identity pose, body frame; 0 for the root."""
    bone_axes: Float[np.ndarray, "J 3 3"]
    """Columns: the bone axes at the identity pose, in the body frame."""

    @classmethod
    def of(cls, person: Person) -> Skeleton | None:
        """The person's bones; None where only the mesh is known.

        Raises:
            ValueError: the person's rig has another number of bones or vertices than pose and mesh.
        """
        rig = person.rig
        if rig is None:
            return None
        if not len(rig.parents) == len(person.pose) == len(person.joints_m):
            raise ValueError(f"person {person.id}: {len(rig.parents)} bones, but {len(person.pose)} rotations")
        if len(rig.skin_bones) != len(person.vertices_m):
            raise ValueError(f"person {person.id}: weights for {len(rig.skin_bones)} vertices")
        pose = rotations_from_rotvecs(np.stack([np.asarray(r, np.float64) for r in person.pose.values()]))
        return cls.posed(tuple(person.pose), rig, pose, np.asarray(person.joints_m, np.float64))

    @classmethod
    def posed(
        cls, names: tuple[str, ...], rig: Rig, pose: Float[np.ndarray, "J 3 3"], heads_m: Float[np.ndarray, "J 3"]
    ) -> Skeleton:
        """A body model's bones in a pose, from where their heads are in the camera frame, metres."""
        rotations = pose.copy()
        for bone, parent in enumerate(rig.parents[1:], start=1):
            rotations[bone] = rotations[parent] @ pose[bone]
        offsets = np.zeros_like(heads_m)
        for bone, parent in enumerate(rig.parents[1:], start=1):
            offsets[bone] = rotations[parent].T @ (heads_m[bone] - heads_m[parent])
        return cls(names, rig.parents, heads_m, pose, rotations, offsets, _bone_axes(rig, offsets))

    def bone_rotations(self) -> Float[np.ndarray, "J 3 3"]:
        """Bone axes to camera frame."""
        return self.rotations @ self.bone_axes

    def children(self, bone: int) -> list[int]:
        """The bones that hang on a bone."""
        return [other for other, parent in enumerate(self.parents) if parent == bone]

    def tips_m(self) -> Float[np.ndarray, "J 3"]:
        """From each bone's head to its tip at the identity pose, body frame: to its child, or on as its parent runs."""
        lengths = [np.linalg.norm(self.offsets_m[self.children(bone)], axis=1) for bone in range(len(self.parents))]
        tips = np.zeros_like(self.offsets_m)
        for bone, parent in enumerate(self.parents):
            if len(lengths[bone]):
                length = float(lengths[bone].mean())
            else:  # a fingertip, an eye: no bone tells how far it reaches
                length = 0.7 * float(np.linalg.norm(self.offsets_m[bone])) if parent >= 0 else 0.1
            tips[bone] = length * self.bone_axes[bone, :, 1]
        return tips


def rotations_from_rotvecs(rotvecs: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3 3"]:
    """Rotation matrices of rotation vectors (axis · angle, radians), float64."""
    import roma
    import torch

    return roma.rotvec_to_rotmat(torch.from_numpy(np.asarray(rotvecs, np.float64))).numpy()


def quaternions_xyzw(rotations: Float[np.ndarray, "N 3 3"]) -> Float[np.ndarray, "N 4"]:
    """Unit quaternions (x, y, z, w) of rotation matrices."""
    import roma
    import torch

    return roma.rotmat_to_unitquat(torch.from_numpy(np.asarray(rotations, np.float64))).numpy()


def _bone_axes(rig: Rig, offsets_m: Float[np.ndarray, "J 3"]) -> Float[np.ndarray, "J 3 3"]:
    front, up = np.asarray(rig.front, np.float64), np.asarray(rig.up, np.float64)
    axes = np.empty((len(offsets_m), 3, 3))
    for bone, parent in enumerate(rig.parents):
        children = [other for other, above in enumerate(rig.parents) if above == bone]
        along = _direction(offsets_m[children], up if bone == 0 else None)
        if along is None:  # a tip, or a hub whose children lie around it
            along = axes[parent, :, 1]
        second = up if abs(along @ front) > _ALONG_FRONT else front
        third = second - (second @ along) * along
        third /= np.linalg.norm(third)
        axes[bone] = np.column_stack([np.cross(along, third), along, third])
    return axes


def _direction(steps_m: Float[np.ndarray, "C 3"], root: Float[np.ndarray, "3"] | None) -> np.ndarray | None:
    """Where a bone runs: to its child, or between several; the root runs up, for its children lie all around."""
    if root is not None:
        return root
    if not len(steps_m):
        return None
    middle = np.mean(steps_m, axis=0)
    length = float(np.linalg.norm(middle))
    return middle / length if length > _SHORT_M else None


def same_skeleton(frames: Sequence[Skeleton]) -> bool:
    """Whether all frames have the same bones."""
    first = frames[0]
    return all(frame.names == first.names and frame.parents == first.parents for frame in frames)
