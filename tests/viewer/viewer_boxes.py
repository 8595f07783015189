"""Boxes of known size, and people who are boxes."""

from __future__ import annotations

import numpy as np

from metrichmsr.structures import COCO17, Person

CAMERA_HEIGHT_M = 1.5
WALL_M = 6.0
BOX = np.array([0.5, 1.8, 0.4])
"""Width, height and depth of the person's box, metres."""


def box_mesh(center: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and outward triangles of a box."""
    corners = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [triangle for a, b, c, d in quads for triangle in ((a, b, c), (a, c, d))]
    return center + corners * size, np.array(faces)


def box_person(id: int, x: float, z: float) -> Person:
    """Somebody of the size of ``BOX`` who stands on the ground."""
    center = np.array([x, CAMERA_HEIGHT_M - BOX[1] / 2, z])
    vertices, faces = box_mesh(center, BOX)
    rng = np.random.default_rng(id)
    keypoints = center + rng.uniform(-0.4, 0.4, (17, 3)) * BOX
    return Person(
        id=id,
        score=0.9,
        box_xyxy=np.zeros(4),
        body_model="anny",
        translation_m=center,
        pose={"root": np.zeros(3)},
        shape={},
        height_m=float(BOX[1]),
        height_std_m=0.09,
        distance_std_m=0.4,
        keypoints_2d_px=np.zeros((len(COCO17), 3)),
        keypoints_3d_m=keypoints,
        vertices_m=vertices,
        faces=faces,
        joints_m=center[None],
    )
