"""``person_<id>.bvh``: a person's skeleton and motion, for animation programs.

Convention:
    Offsets and positions in **metres**, axes of ``scene.glb`` (y up). The rest skeleton (all rotations zero) is the
    body model's identity pose, standing along y and facing +z, its left at +x. Every joint has the rotation channels
    ``Zrotation Xrotation Yrotation`` in degrees: R = Rz · Rx · Ry on column vectors, against the parent. The root has
    ``Xposition Yposition Zposition`` before them: where the pelvis joint is, its own OFFSET being zero. A joint's
    name is that of the body model's bone.

Source: M. Meredith and S. Maddock, "Motion Capture File Formats Explained" (2001), §3 (Biovision).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from metrichmsr.errors import InputError
from metrichmsr.export.atomic import atomic_file
from metrichmsr.export.frames import y_up_from_camera
from metrichmsr.export.skeleton import Skeleton, same_skeleton
from metrichmsr.structures import Person, Recovery, Rig

_CHANNELS = "Zrotation Xrotation Yrotation"


def write_people_bvh(recovery: Recovery, folder: Path) -> None:
    """Write one file of one frame a person, ``person_<id>.bvh``; people of whom only the mesh is known are left out."""
    matrix = y_up_from_camera(recovery)
    for person in recovery.people:
        if person.rig is not None:
            write_bvh([person], folder / f"person_{person.id}.bvh", matrix)


def write_bvh(
    frames: Sequence[Person], path: Path, y_up_from_camera: Float[np.ndarray, "4 4"], *, fps: float = 30.0
) -> None:
    """Write one person's motion, atomically; one frame or many.

    The bones have the lengths of the first frame: their offsets are the same in all frames where the shape is.

    Args:
        frames: the person at evenly spaced times.
        path: final name.
        y_up_from_camera: the camera's pose in the frame of the file, the same for all frames.
        fps: frames a second.

    Raises:
        InputError: no frames, or of different body models, or a person of whom only the mesh is known.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(bvh_text(frames, y_up_from_camera, fps=fps), encoding="utf-8")


def bvh_text(frames: Sequence[Person], y_up_from_camera: Float[np.ndarray, "4 4"], *, fps: float = 30.0) -> str:
    """The file's text; arguments and errors as of :func:`write_bvh`."""
    skeletons = [skeleton for person in frames if (skeleton := Skeleton.of(person)) is not None]
    if not skeletons or len(skeletons) != len(frames):
        raise InputError("a BVH file needs at least one frame, and a skeleton in every frame")
    if not same_skeleton(skeletons):
        raise InputError("the frames of a BVH file must all be of one body model")
    first, rig = skeletons[0], frames[0].rig
    assert rig is not None
    upright = upright_from_body(rig)
    lines = ["HIERARCHY", *_joint(first, 0, first.offsets_m @ upright.T, first.tips_m() @ upright.T, "")]
    lines += ["MOTION", f"Frames: {len(frames)}", f"Frame Time: {1 / fps:.8f}"]
    turn, shift = y_up_from_camera[:3, :3], y_up_from_camera[:3, 3]
    order = _written_order(first)
    for skeleton in skeletons:
        rotations = upright @ skeleton.pose @ upright.T
        # The root's entry leads from the body frame to the camera frame, not from the body frame to itself.
        rotations[0] = turn @ skeleton.pose[0] @ upright.T
        place = turn @ skeleton.heads_m[0] + shift
        angles = zxy_degrees(rotations[order]).ravel()
        lines.append(" ".join([*(f"{value:.6f}" for value in place), *(f"{value:.6f}" for value in angles)]))
    return "\n".join(lines) + "\n"


def upright_from_body(rig: Rig) -> Float[np.ndarray, "3 3"]:
    """Rotation from the body model's frame to a body that stands along y and faces +z."""
    front, up = np.asarray(rig.front, np.float64), np.asarray(rig.up, np.float64)
    return np.stack([np.cross(up, front), up, front])


def zxy_degrees(rotations: Float[np.ndarray, "N 3 3"]) -> Float[np.ndarray, "N 3"]:
    """Angles (z, x, y) in degrees with R = Rz · Rx · Ry."""
    sine = np.clip(rotations[:, 2, 1], -1.0, 1.0)
    x = np.arcsin(sine)
    locked = np.abs(sine) > 1 - 1e-12  # z and y turn about one axis: all of it to z
    z = np.where(
        locked,
        np.arctan2(rotations[:, 1, 0], rotations[:, 0, 0]),
        np.arctan2(-rotations[:, 0, 1], rotations[:, 1, 1]),
    )
    y = np.where(locked, 0.0, np.arctan2(-rotations[:, 2, 0], rotations[:, 2, 2]))
    return np.degrees(np.stack([z, x, y], axis=1))


def _written_order(skeleton: Skeleton) -> list[int]:
    """Bones depth first: the order of the joints in the file, and so of their channels."""

    def below(bone: int) -> list[int]:
        return [bone, *(other for child in skeleton.children(bone) for other in below(child))]

    return below(0)


def _joint(skeleton: Skeleton, bone: int, offsets_m: np.ndarray, tips_m: np.ndarray, margin: str) -> list[str]:
    def vector(values: np.ndarray) -> str:
        return " ".join(f"{value + 0.0:.6f}" for value in values)

    children = skeleton.children(bone)
    channels = f"3 {_CHANNELS}" if bone else f"6 Xposition Yposition Zposition {_CHANNELS}"
    inner = [f"OFFSET {vector(offsets_m[bone])}", f"CHANNELS {channels}"]
    for child in children:
        inner += _joint(skeleton, child, offsets_m, tips_m, "")
    if not children:
        inner += ["End Site", "{", f"\tOFFSET {vector(tips_m[bone])}", "}"]
    head = f"{'JOINT' if bone else 'ROOT'} {skeleton.names[bone]}"
    return [margin + line for line in (head, "{", *(f"\t{line}" for line in inner), "}")]
