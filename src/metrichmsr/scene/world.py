"""The world: the frame in which gravity points down and the ground is at zero.

Convention: world x right, y up (against gravity), z towards the viewer, metres: glTF's axes. The ground is y = 0, the
origin below the camera; the camera looks along −z as far as its pitch allows. Transforms are named b_from_a and applied
to column vectors.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from metrichmsr.scene.ground import Ground
from metrichmsr.scene.ground_cost import roll_and_pitch

# Where the camera looks so steeply that its forward direction says too little, its own up (or down) tells the heading.
_STEEPEST = math.cos(math.radians(89.0))


def world_from_camera(ground: Ground) -> Float[np.ndarray, "4 4"]:
    """The rigid transform that takes camera-frame points to the world.

    Args:
        ground: plane in the camera frame. Without one there is no world to speak of: only the camera's own frame.
    """
    up = np.asarray(ground.normal, dtype=np.float64)
    up = up / np.linalg.norm(up)
    forward = np.array([0.0, 0.0, 1.0])
    ahead = forward - (forward @ up) * up
    if np.linalg.norm(ahead) < _STEEPEST:
        # Looking straight down the top of the picture lies ahead, looking straight up its bottom does.
        edge = np.array([0.0, math.copysign(1.0, up[2]), 0.0])
        ahead = edge - (edge @ up) * up
    back = -ahead / np.linalg.norm(ahead)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([np.cross(up, back), up, back])
    matrix[1, 3] = ground.offset_m
    return matrix


def camera_height_m(world_from_camera: Float[np.ndarray, "4 4"]) -> float:
    """Height of the camera above the ground, metres."""
    return float(world_from_camera[1, 3])


def camera_pitch_and_roll_deg(world_from_camera: Float[np.ndarray, "4 4"]) -> tuple[float, float]:
    """How the camera is held, degrees: pitch upwards positive; roll clockwise positive, its right side low."""
    roll, pitch = roll_and_pitch(np.asarray(world_from_camera, dtype=np.float64)[1, :3])
    return math.degrees(float(pitch)), math.degrees(float(roll))
