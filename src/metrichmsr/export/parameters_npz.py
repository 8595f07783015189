"""``recovery.npz``: all parameters, joints and vertices of everybody with the camera, for programs in any language.

Convention: camera frame (x right, y down, z forward), metres, radians, pixels. P people, J bones, V vertices, S shape
parameters; people of one result share a body model.

| key | shape | what |
| --- | --- | --- |
| ``K``, ``image_size`` | 3×3; 2 | intrinsics, pixels; width and height |
| ``ids``, ``scores``, ``boxes_xyxy`` | P; P; P×4 | who, how surely, where in the picture |
| ``body_model`` | text | ``anny``, ``smpl``… |
| ``bone_names``, ``bone_parents`` | J | parents only where the rig is known |
| ``pose_rotvec`` | P×J×3 | parent-relative rotation vectors, root first |
| ``shape_names``, ``shape`` | S; P×S | |
| ``translation_m`` | P×3 | pelvis joint |
| ``joints_m``, ``vertices_m``, ``faces`` | P×J×3; P×V×3; F×3 | vertices float32 |
| ``rest_pelvis_m`` | P×3 | pelvis of the unposed body, body frame; NaN where unknown |
| ``keypoint_names``, ``keypoints_2d_px``, ``keypoints_3d_m`` | 17; P×17×3; P×17×3 | COCO-17: detected (u, v, confidence), body's |
| ``height_m``, ``height_std_m``, ``distance_m``, ``distance_std_m`` | P | |
| ``world_from_camera`` | 4×4 | y up, ground at y = 0; NaN where up is unknown |
"""  # noqa: E501

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from metrichmsr.export.atomic import atomic_file
from metrichmsr.structures import COCO17, Recovery

NPZ = "recovery.npz"


def write_parameters_npz(recovery: Recovery, path: Path) -> None:
    """Write ``recovery.npz`` atomically; nothing in it needs pickle."""
    with atomic_file(path) as temporary:
        np.savez_compressed(temporary, **parameter_arrays(recovery))


def parameter_arrays(recovery: Recovery) -> dict[str, Any]:
    """What ``recovery.npz`` holds. Without people the arrays of people have no rows."""
    people, scene = recovery.people, recovery.scene
    first = people[0] if people else None
    nowhere = np.full(3, np.nan)
    world = None if scene is None else scene.world_from_camera

    def rows(values: list[Any], *shape: int) -> np.ndarray:
        return np.asarray(values, np.float64).reshape(len(people), *shape)

    bones, shapes = (0, 0) if first is None else (len(first.pose), len(first.shape))
    vertices = 0 if first is None else len(first.vertices_m)
    arrays: dict[str, Any] = {
        "K": recovery.camera.K,
        "image_size": np.array([recovery.camera.width, recovery.camera.height]),
        "ids": np.array([person.id for person in people], dtype=np.int64),
        "scores": rows([person.score for person in people]),
        "boxes_xyxy": rows([person.box_xyxy for person in people], 4),
        "body_model": np.array("" if first is None else first.body_model),
        "bone_names": np.array([] if first is None else list(first.pose), dtype=np.str_),
        "pose_rotvec": rows([list(person.pose.values()) for person in people], bones, 3),
        "shape_names": np.array([] if first is None else list(first.shape), dtype=np.str_),
        "shape": rows([list(person.shape.values()) for person in people], shapes),
        "translation_m": rows([person.translation_m for person in people], 3),
        "joints_m": rows([person.joints_m for person in people], bones, 3),
        "vertices_m": rows([person.vertices_m for person in people], vertices, 3).astype(np.float32),
        "faces": np.zeros((0, 3), np.int32) if first is None else np.asarray(first.faces, np.int32),
        "rest_pelvis_m": rows(
            [nowhere if person.rest_pelvis_m is None else person.rest_pelvis_m for person in people], 3
        ),
        "keypoint_names": np.array(COCO17),
        "keypoints_2d_px": rows([person.keypoints_2d_px for person in people], len(COCO17), 3),
        "keypoints_3d_m": rows([person.keypoints_3d_m for person in people], len(COCO17), 3),
        "world_from_camera": np.full((4, 4), np.nan) if world is None else np.asarray(world, np.float64),
    }
    for name in ("height_m", "height_std_m", "distance_m", "distance_std_m"):
        arrays[name] = rows([getattr(person, name) for person in people])
    if first is not None and first.rig is not None:
        arrays["bone_parents"] = np.asarray(first.rig.parents, np.int64)
    return arrays
