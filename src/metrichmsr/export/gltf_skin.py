"""A person's bones and skin in glTF.

Of a single picture, the bind pose **is** the recovered pose: stored vertices are the posed ones, and each inverse bind
matrix is the inverse of its posed joint. Skinning then gives the stored vertices back whatever the weights are, so a
reader that ignores skins (trimesh), one that skins (three.js) and one that builds an armature (Blender) all show the
body that was recovered, where it stands. Turning a joint from there bends the body.

Source: glTF 2.0 specification, §3.7.3 (skins).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from metrichmsr.bodies.rig import strongest
from metrichmsr.export.frames import moved
from metrichmsr.export.gltf import GltfBuilder
from metrichmsr.export.skeleton import Skeleton, quaternions_xyzw
from metrichmsr.structures import Rig

_MOST, _SET = 8, 4
"""Bones a vertex. Four of Anny's nine would move a vertex by up to 30 mm where somebody poses the body anew (200 poses
of the prior; mean 0.1 mm), eight by 0.25 mm. Readers that take the first set only hold the weightiest four."""


def skin_attributes(rig: Rig) -> Mapping[str, np.ndarray]:
    """JOINTS_0 and WEIGHTS_0, and a second set where the rig has vertices with more than four bones.

    The weightiest bones come first; places without weight name bone 0.
    """
    kept = strongest(rig, _MOST)
    count, held = kept.skin_bones.shape
    integer = np.uint8 if len(rig.parents) <= 256 else np.uint16
    places = _SET * math.ceil(held / _SET)
    joints, weights = np.zeros((count, places), integer), np.zeros((count, places), np.float32)
    joints[:, :held], weights[:, :held] = kept.skin_bones, kept.skin_weights
    attributes: dict[str, np.ndarray] = {}
    for n in range(places // _SET):
        part = slice(n * _SET, (n + 1) * _SET)
        attributes |= {f"JOINTS_{n}": joints[:, part], f"WEIGHTS_{n}": weights[:, part]}
    return attributes


def add_skin(
    builder: GltfBuilder, name: str, skeleton: Skeleton, scene_from_camera: Float[np.ndarray, "4 4"]
) -> tuple[int, int]:
    """Store joints and skin; returns the indices of the skin and of the root joint's node.

    The root joint's node has to be a root of the scene, or to hang from one without a place of its own; vertices are
    stored in the scene's frame. Joints are named as the body model's bones and have bone axes
    (:mod:`metrichmsr.export.skeleton`).
    """
    rotations = scene_from_camera[:3, :3] @ skeleton.bone_rotations()
    heads = moved(skeleton.heads_m, scene_from_camera)
    local, steps = rotations.copy(), heads.copy()
    for bone, parent in enumerate(skeleton.parents[1:], start=1):
        local[bone] = rotations[parent].T @ rotations[bone]
        steps[bone] = rotations[parent].T @ (heads[bone] - heads[parent])
    inverse = np.tile(np.eye(4), (len(heads), 1, 1))
    inverse[:, :3, :3] = rotations.transpose(0, 2, 1)
    inverse[:, :3, 3] = -(inverse[:, :3, :3] @ heads[..., None])[..., 0]
    return add_bones(builder, name, skeleton, steps, quaternions_xyzw(local), inverse)


def add_bones(
    builder: GltfBuilder,
    name: str,
    skeleton: Skeleton,
    steps_m: Float[np.ndarray, "J 3"],
    quaternions: Float[np.ndarray, "J 4"],
    inverse_bind: Float[np.ndarray, "J 4 4"],
) -> tuple[int, int]:
    """Store joints and skin; returns the indices of the skin and of the root joint's node, whose bones follow in order.

    Args:
        builder: the file.
        name: of the skin.
        skeleton: names and tree of the bones.
        steps_m: from its parent's head to each bone's head, in the parent's bone axes.
        quaternions: (x, y, z, w) of each bone's axes in its parent's.
        inverse_bind: from stored vertices to each bone's axes.
    """
    first = len(builder.document.get("nodes", ()))
    for bone, bone_name in enumerate(skeleton.names):
        node = {
            "name": bone_name,
            "translation": steps_m[bone].tolist(),
            "rotation": quaternions[bone].tolist(),
        }
        children = [first + child for child in skeleton.children(bone)]
        builder.add("nodes", {**node, "children": children} if children else node)
    skin = builder.add(
        "skins",
        {
            "name": name,
            "joints": list(range(first, first + len(skeleton.names))),
            "skeleton": first,
            "inverseBindMatrices": builder.array(inverse_bind.astype(np.float32)),
        },
    )
    return skin, first
