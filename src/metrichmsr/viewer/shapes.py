"""Rulers, skeletons, doubt and frusta as lines and triangles. World frame: y up, metres."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from metrichmsr.structures import COCO17, Camera

UP = np.array([0.0, 1.0, 0.0])

_BONES = (
    ("left_ankle", "left_knee"),
    ("left_knee", "left_hip"),
    ("right_ankle", "right_knee"),
    ("right_knee", "right_hip"),
    ("left_hip", "right_hip"),
    ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"),
    ("left_shoulder", "right_shoulder"),
    ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"),
    ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"),
    ("nose", "left_eye"),
    ("nose", "right_eye"),
    ("left_eye", "left_ear"),
    ("right_eye", "right_ear"),
    ("left_ear", "left_shoulder"),
    ("right_ear", "right_shoulder"),
)
SKELETON = tuple((COCO17.index(a), COCO17.index(b)) for a, b in _BONES)
"""Pairs of COCO-17 keypoints that a line joins."""

# A tick every decimetre; longer ones at half metres, the longest at metres.
_TICKS_M = ((1.0, 0.16), (0.5, 0.11), (0.1, 0.06))
_NEAREST_M = 0.05


@dataclass(frozen=True, eq=False)
class Triangles:
    """A surface."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]

    @classmethod
    def joined(cls, parts: Iterable[Triangles]) -> Triangles:
        """Several surfaces as one, in their order."""
        vertices, faces, count = [np.zeros((0, 3))], [np.zeros((0, 3), np.int64)], 0
        for part in parts:
            vertices.append(part.vertices)
            faces.append(part.faces + count)
            count += len(part.vertices)
        return cls(np.concatenate(vertices), np.concatenate(faces))


@dataclass(frozen=True, eq=False)
class Ruler:
    """A measuring staff from somebody's lowest point up to their stature."""

    segments: Float[np.ndarray, "N 2 3"]
    doubt: Float[np.ndarray, "M 2 3"]
    """One sigma of the stature up and down, as a bracket at the top; nothing where it is unknown."""
    numbers: tuple[tuple[str, Float[np.ndarray, "3"]], ...]
    """What is written at half metres, and where."""
    top: Float[np.ndarray, "3"]


def ruler(foot: Float[np.ndarray, "3"], across: Float[np.ndarray, "3"], height_m: float, height_std_m: float) -> Ruler:
    """A ruler that stands on ``foot``, with its ticks to the side of the unit vector ``across``."""
    segments = [(foot, foot + height_m * UP)]
    numbers = []
    for tick in range(int(height_m * 10 + 1e-6) + 1):
        at = foot + 0.1 * tick * UP
        length = next(length for step, length in _TICKS_M if tick % round(10 * step) == 0)
        segments.append((at, at + length * across))
        if tick % 5 == 0 and 0.1 * tick < height_m - 0.15:
            numbers.append((f"{0.1 * tick:.1f}", at + (length + 0.02) * across))
    top = foot + height_m * UP
    segments.append((top, top + _TICKS_M[0][1] * across))
    doubt = np.zeros((0, 2, 3))
    if np.isfinite(height_std_m) and height_std_m > 0:
        middle = top + 0.5 * _TICKS_M[0][1] * across
        low, high = (middle + sign * height_std_m * UP for sign in (-1, 1))
        side = 0.04 * across
        doubt = np.array([(low, high), (low - side, low + side), (high - side, high + side)])
    return Ruler(np.array(segments), doubt, tuple(numbers), top)


def skeleton_lines(keypoints_m: Float[np.ndarray, "17 3"]) -> Float[np.ndarray, "N 2 3"]:
    """Lines between COCO-17 keypoints; those of unknown ends are left out."""
    lines = keypoints_m[np.array(SKELETON)]
    return lines[np.isfinite(lines).all(axis=(1, 2))]


@dataclass(frozen=True, eq=False)
class Tube:
    """A tube along the line of sight: where somebody may be, one sigma nearer to one sigma farther."""

    ends: Float[np.ndarray, "2 3"]
    surface: Triangles


def distance_tube(
    eye: Float[np.ndarray, "3"],
    place: Float[np.ndarray, "3"],
    std_m: float,
    *,
    radius_m: float = 0.018,
    sides: int = 12,
) -> Tube | None:
    """The tube of somebody at ``place`` seen from ``eye``, with a disc at either end; None where sigma is unknown.

    Closer than a hand to the camera it is cut.
    """
    ray = place - eye
    distance = float(np.linalg.norm(ray))
    if not (np.isfinite(std_m) and std_m > 0 and np.isfinite(distance) and distance > 0):
        return None
    ray = ray / distance
    near, far = max(distance - std_m, min(_NEAREST_M, distance)), distance + std_m
    side = np.cross(ray, UP if abs(ray[1]) < 0.9 else np.array([1.0, 0.0, 0.0]))
    side /= np.linalg.norm(side)
    other = np.cross(ray, side)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)[:, None]
    around = np.cos(angle) * side + np.sin(angle) * other
    # Rings from near to far: the disc's rim, the tube, the disc's rim; a disc is as thick as the tube's wall.
    thick = min(0.01, 0.1 * std_m)
    stations = (
        (near, 4 * radius_m),
        (near + thick, 4 * radius_m),
        (near + thick, radius_m),
        (far - thick, radius_m),
        (far - thick, 4 * radius_m),
        (far, 4 * radius_m),
    )
    rings = np.concatenate([eye + at * ray + wide * around for at, wide in stations])
    ends = np.stack([eye + near * ray, eye + far * ray])
    vertices = np.concatenate([rings, ends])
    faces = []
    for k in range(len(stations) - 1):
        for i in range(sides):
            j = (i + 1) % sides
            a, b, c, d = k * sides + i, k * sides + j, (k + 1) * sides + i, (k + 1) * sides + j
            faces += [(a, b, c), (b, d, c)]
    last = (len(stations) - 1) * sides
    for i in range(sides):
        j = (i + 1) % sides
        faces += [(len(rings), j, i), (len(rings) + 1, last + i, last + j)]
    return Tube(ends, Triangles(vertices, np.array(faces)))


@dataclass(frozen=True, eq=False)
class Frustum:
    """The picture in front of its camera, as it was taken."""

    lines: Float[np.ndarray, "8 2 3"]
    corners: Float[np.ndarray, "4 3"]
    """Top left, top right, bottom right, bottom left of the picture."""
    eye: Float[np.ndarray, "3"]


def frustum(camera: Camera, world_from_camera: Float[np.ndarray, "4 4"], depth_m: float) -> Frustum:
    """Edges of the field of view up to ``depth_m`` before the camera; the principal point is honoured."""
    w, h = camera.width, camera.height
    pixels = np.array([(0, 0, 1), (w, 0, 1), (w, h, 1), (0, h, 1)], dtype=np.float64)
    corners = transform(world_from_camera, depth_m * pixels @ np.linalg.inv(camera.K).T)
    eye = world_from_camera[:3, 3].copy()
    lines = [(eye, corner) for corner in corners]
    lines += [(corners[i], corners[(i + 1) % 4]) for i in range(4)]
    return Frustum(np.array(lines), corners, eye)


def transform(b_from_a: Float[np.ndarray, "4 4"], points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """Points of frame a in frame b."""
    return np.asarray(points, np.float64) @ b_from_a[:3, :3].T + b_from_a[:3, 3]
