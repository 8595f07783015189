"""The y-up frame that scene formats share: glTF, OBJ, USD and BVH files of one result lie in one place."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from metrichmsr.structures import Recovery

GLTF_FROM_CAMERA = np.diag([1.0, -1.0, -1.0])
"""Rotation from the camera frame (y down, z forward) to glTF's axes (y up, z backwards)."""


def y_up_from_camera(recovery: Recovery) -> Float[np.ndarray, "4 4"]:
    """Camera frame to the frame of ``scene.glb``, metres.

    Where the scene tells which way is up: its world, y against gravity, the ground at y = 0. Else the camera frame
    turned by 180° about x.
    """
    scene = recovery.scene
    if scene is not None and scene.world_from_camera is not None:
        return np.asarray(scene.world_from_camera, dtype=np.float64)
    matrix = np.eye(4)
    matrix[:3, :3] = GLTF_FROM_CAMERA
    return matrix


def moved(points_m: Float[np.ndarray, "N 3"], matrix: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "N 3"]:
    """Points taken to another frame, float64."""
    return np.asarray(points_m, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
