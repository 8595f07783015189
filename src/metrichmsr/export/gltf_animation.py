"""``animation.glb``: the people of a sequence, each once, moving; with the first frame's surroundings and camera.

Convention:
    Axes as in ``scene.glb`` (:mod:`metrichmsr.export.gltf_scene`), of the first frame. Stored vertices are the unposed
    body of a person's one shape, standing upright with its pelvis where it came in and looking along z; inverse bind
    matrices are the body model's own, so that skinning is the model's in every frame (to the eight bones a vertex that
    glTF carries). One animation moves all of it: every bone's rotation, the root bone's translation, and, of bodies
    that bulge with their pose, the weights of morph targets. Between two frames rotations go the short way (slerp),
    places straight.

    Nobody is seen in every frame. Whoever is away has a root bone of scale 0, stepwise: glTF's own way to hide what is
    skinned (glTF 2.0 specification, §3.5.3: all joints at once).

Source: glTF 2.0 specification, §3.11 (animations), §3.7.2.2 (morph targets).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float

from metrichmsr.bodies.protocol import BodyModel, Skinning
from metrichmsr.bodies.rig import rig_of
from metrichmsr.export.atomic import atomic_file
from metrichmsr.export.bvh import upright_from_body
from metrichmsr.export.frames import moved, y_up_from_camera
from metrichmsr.export.gltf import GltfBuilder
from metrichmsr.export.gltf_scene import add_skin_colour, finish_scene, known_numbers, start_scene
from metrichmsr.export.gltf_skin import add_bones, skin_attributes
from metrichmsr.export.normals import vertex_normals
from metrichmsr.export.pose_correctives import pose_correctives
from metrichmsr.export.sequence import Motion, MotionSequence
from metrichmsr.export.skeleton import Skeleton, quaternions_xyzw, rotations_from_rotvecs
from metrichmsr.structures import Recovery

ANIMATION = "animation.glb"
_STILL = 1e-6
"""Bones whose quaternion changes by no more have no channel: fingers, eyes."""


def write_animation(sequence: MotionSequence, first: Recovery, path: Path) -> None:
    """Write ``animation.glb`` atomically; see :func:`animation_glb`."""
    data = animation_glb(sequence, first)
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def animation_glb(sequence: MotionSequence, first: Recovery) -> bytes:
    """The motions of a sequence as binary glTF.

    Names of nodes are those of ``scene.glb``: ``person_<id>`` is the mesh, and its bones hang from
    ``person_<id>_rig``.

    Args:
        sequence: everybody's motion.
        first: of the first frame: its camera and surroundings are taken.
    """
    builder = start_scene(first, frames=len(sequence.times_s), duration_s=round(float(sequence.times_s[-1]), 6))
    clip = _Clip(builder)
    people: list[int] = []
    for motion in sequence.motions:
        people += _add_motion(builder, clip, motion, sequence, y_up_from_camera(first))
    clip.finish(first.image_path.stem)
    return finish_scene(builder, first, (), skinned=people)


class _Clip:
    """The animation on its way into the file; accessors of equal times are shared."""

    def __init__(self, builder: GltfBuilder) -> None:
        self._builder = builder
        self._times: dict[bytes, int] = {}
        self._samplers: list[dict[str, Any]] = []
        self._channels: list[dict[str, Any]] = []

    def add(
        self,
        node: int,
        path: Literal["translation", "rotation", "scale", "weights"],
        times_s: Float[np.ndarray, "N"],
        values: np.ndarray,
        interpolation: Literal["LINEAR", "STEP"] = "LINEAR",
    ) -> None:
        times = times_s.astype(np.float32)
        key = times.tobytes()
        if key not in self._times:
            self._times[key] = self._builder.array(times, bounds=True)
        output = self._builder.array(values.astype(np.float32))
        self._samplers.append({"input": self._times[key], "output": output, "interpolation": interpolation})
        self._channels.append({"sampler": len(self._samplers) - 1, "target": {"node": node, "path": path}})

    def finish(self, name: str) -> None:
        entry = {"name": name, "samplers": self._samplers, "channels": self._channels}
        self._builder.add("animations", entry)


def _add_motion(
    builder: GltfBuilder,
    clip: _Clip,
    motion: Motion,
    sequence: MotionSequence,
    scene_from_camera: Float[np.ndarray, "4 4"],
) -> tuple[int, int]:
    """Indices of the node of the mesh and of the one that its bones hang from."""
    body, times = sequence.body, sequence.times_s[motion.frames]
    like = body.default_shape()
    shape = torch.from_numpy(motion.shape).to(like)[None]
    count, bones = motion.rotvecs.shape[:2]
    pose = rotations_from_rotvecs(motion.rotvecs.reshape(-1, 3)).reshape(count, bones, 3, 3)
    with torch.no_grad():
        still = body.skinning(body.identity_pose(), shape)
        height_m = float(body.height(shape)[0])
    rig = rig_of(body)
    heads = still.joints_m[0].numpy().astype(np.float64)
    skeleton = Skeleton.posed(body.bone_names, rig, np.tile(np.eye(3), (bones, 1, 1)), heads)
    upright = upright_from_body(rig)
    targets, weights = pose_correctives(body, torch.from_numpy(pose).to(like), shape)
    places = moved(motion.places_m, scene_from_camera)
    vertices = _bind_vertices(body, still) @ upright.T + places[0]
    name = f"person_{motion.id}"
    mesh = builder.mesh(
        name,
        {
            "POSITION": vertices.astype(np.float32),
            "NORMAL": vertex_normals(vertices, body.faces.numpy()).astype(np.float32),
            **skin_attributes(rig),
        },
        body.faces.numpy(),
        material=add_skin_colour(builder, name, motion.id),
        targets=(targets @ upright.T).astype(np.float32),
        target_weights=weights[0],
    )
    turn = scene_from_camera[:3, :3]
    quaternions = _continuous(np.stack([_local_quaternions(skeleton, frame, turn) for frame in pose]))
    steps = _steps(skeleton)
    steps[0] = places[0]
    inverse_bind = _inverse_bind(skeleton, still, upright, places[0])
    skin, root = add_bones(builder, name, skeleton, steps, quaternions[0], inverse_bind)
    clip.add(root, "translation", times, places)
    for bone in range(bones):
        if bone == 0 or np.ptp(quaternions[:, bone], axis=0).max() > _STILL:
            clip.add(root + bone, "rotation", times, quaternions[:, bone])
    seen = np.zeros(len(sequence.times_s), bool)
    seen[motion.frames] = True
    if not seen.all():
        changes = np.flatnonzero(np.diff(seen, prepend=~seen[:1]))
        clip.add(root, "scale", sequence.times_s[changes], _scales(seen[changes]), "STEP")
    extras = known_numbers({"height_m": height_m, "score": motion.score})
    node: dict[str, Any] = {
        "name": name,
        "mesh": mesh,
        "skin": skin,
        "extras": {**extras, "frames": [int(motion.frames[0]), int(motion.frames[-1])], "seen_frames": count},
    }
    index = builder.add("nodes", node)
    if len(targets):
        clip.add(index, "weights", times, weights.ravel())
    return index, builder.add("nodes", {"name": f"{name}_rig", "children": [root]})


def _scales(seen: Bool[np.ndarray, "N"]) -> Float[np.ndarray, "N 3"]:
    return np.repeat(seen.astype(np.float64)[:, None], 3, axis=1)


def _bind_vertices(body: BodyModel, still: Skinning) -> Float[np.ndarray, "V 3"]:
    """The unposed body, body frame, its pelvis joint at the origin."""
    pelvis = still.rest_joints_m[0, 0].numpy().astype(np.float64)
    return still.rest_m[0, :, : body.num_vertices].T.numpy().astype(np.float64) - pelvis


def _inverse_bind(
    skeleton: Skeleton, still: Skinning, upright: Float[np.ndarray, "3 3"], place_m: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "J 4 4"]:
    """From stored vertices to each bone's axes: what the model does at the identity pose, seen from the bone there.

    In any other pose the bone carries that along, as it does in the model.
    """
    turns, shifts = (values[0].numpy().astype(np.float64) for values in (still.rotations, still.shifts_m))
    pelvis = still.rest_joints_m[0, 0].numpy().astype(np.float64)
    bones_from_body = skeleton.bone_axes.transpose(0, 2, 1)
    inverse = np.tile(np.eye(4), (len(turns), 1, 1))
    inverse[:, :3, :3] = bones_from_body @ turns @ upright.T
    at_pelvis = turns @ pelvis + shifts - skeleton.heads_m
    inverse[:, :3, 3] = (bones_from_body @ at_pelvis[..., None])[..., 0] - inverse[:, :3, :3] @ place_m
    return inverse


def _steps(skeleton: Skeleton) -> Float[np.ndarray, "J 3"]:
    """From its parent's head to each bone's head, in the parent's bone axes; 0 for the root."""
    steps = np.zeros_like(skeleton.offsets_m)
    for bone, parent in enumerate(skeleton.parents[1:], start=1):
        steps[bone] = skeleton.bone_axes[parent].T @ skeleton.offsets_m[bone]
    return steps


def _local_quaternions(
    skeleton: Skeleton, pose: Float[np.ndarray, "J 3 3"], scene_from_camera: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "J 4"]:
    """Each bone's axes in its parent's, the root's in the scene's."""
    parents = list(skeleton.parents[1:])
    axes = skeleton.bone_axes
    local = np.empty_like(pose)
    local[0] = scene_from_camera @ pose[0] @ axes[0]
    local[1:] = axes[parents].transpose(0, 2, 1) @ pose[1:] @ axes[1:]
    return quaternions_xyzw(local)


def _continuous(quaternions: Float[np.ndarray, "N J 4"]) -> Float[np.ndarray, "N J 4"]:
    """The same rotations, each quaternion on the side of the one before it: q and −q are one rotation."""
    along = (quaternions[1:] * quaternions[:-1]).sum(-1, keepdims=True)
    signs = np.cumprod(np.where(along < 0, -1.0, 1.0), axis=0)
    return np.concatenate([quaternions[:1], quaternions[1:] * signs])
