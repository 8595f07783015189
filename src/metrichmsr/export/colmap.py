"""``cameras.txt``, ``images.txt`` and ``points3D.txt``: camera and coloured points as a COLMAP model of one picture.

Convention: COLMAP's world is the **camera frame** of the result (x right, y down, z forward), metres, so the picture's
pose is the identity, and ``person_<id>.ply`` and ``scene.ply`` lie in it as they are. The camera is a PINHOLE; pixels
count as ours. People are among the points, as the photo's pixels on the depth map show them. Where the lens had
distortion, the camera is that of the picture without it.

Source: COLMAP's documentation, "Output format"; :mod:`metrichmsr.calibration.colmap` reads the first two back.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metrichmsr.export.atomic import atomic_file
from metrichmsr.scene.surface import scene_points
from metrichmsr.structures import Recovery

CAMERAS, IMAGES, POINTS = "cameras.txt", "images.txt", "points3D.txt"
_MAX_POINTS = 100_000
"""Text of so many takes 8 MB; Gaussian splatting starts from fewer."""


def write_colmap(recovery: Recovery, folder: Path) -> None:
    """Write the three files into a folder, each atomically; without depth there are no points."""
    camera, scene = recovery.camera, recovery.scene
    K = camera.K
    points, colors = np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    if scene is not None:
        cloud = scene_points(recovery.image, scene.depth_m, camera, confidence=scene.confidence, max_points=_MAX_POINTS)
        points, colors = np.asarray(cloud.points_m, np.float64), cloud.colors
    projected = points @ K.T
    pixels = projected[:, :2] / projected[:, 2:]
    parameters = " ".join(repr(float(K[at])) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
    numbers = range(1, len(points) + 1)
    cameras = [
        "# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]",
        f"1 PINHOLE {camera.width} {camera.height} {parameters}",
    ]
    images = [
        "# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then POINTS2D[] as X Y POINT3D_ID",
        f"1 1 0 0 0 0 0 0 1 {recovery.image_path.name}",
        " ".join(f"{u:.3f} {v:.3f} {n}" for n, (u, v) in zip(numbers, pixels, strict=True)),
    ]
    cloud_lines = ["# POINT3D_ID X Y Z R G B ERROR TRACK[] as IMAGE_ID POINT2D_IDX; metres, camera frame"]
    for n, (x, y, z), (r, g, b) in zip(numbers, points, colors, strict=True):
        cloud_lines.append(f"{n} {x:.6f} {y:.6f} {z:.6f} {r} {g} {b} 0 1 {n - 1}")
    for name, lines in ((CAMERAS, cameras), (IMAGES, images), (POINTS, cloud_lines)):
        with atomic_file(folder / name) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
