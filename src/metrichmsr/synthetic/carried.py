"""Carried things: bags, backpacks, boxes, balls, sticks, phones, hanging rigidly on the head of a bone."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.synthetic.garments import Proxy

# Name, bone, half size (m: to the left, to the back, up in the rest pose), middle relative to the bone's head, rounded.
_THINGS = (
    ("carried_backpack", "spine02", (0.15, 0.10, 0.22), (0.0, 0.19, -0.02), True),
    ("carried_small_backpack", "spine02", (0.12, 0.08, 0.16), (0.0, 0.18, 0.0), True),
    ("carried_handbag", "wrist.L", (0.04, 0.13, 0.11), (0.03, -0.02, -0.24), True),
    ("carried_shopping_bag", "wrist.R", (0.06, 0.17, 0.20), (-0.03, -0.02, -0.34), False),
    ("carried_case", "wrist.L", (0.05, 0.21, 0.15), (0.03, 0.0, -0.27), False),
    ("carried_ball", "wrist.R", (0.11, 0.11, 0.11), (-0.05, -0.06, -0.17), True),
    ("carried_phone", "wrist.R", (0.035, 0.008, 0.075), (-0.02, -0.05, -0.10), False),
    ("carried_cup", "wrist.L", (0.035, 0.035, 0.06), (0.02, -0.05, -0.10), True),
    ("carried_stick", "wrist.R", (0.015, 0.015, 0.50), (-0.02, -0.04, -0.30), True),
    ("carried_box", "spine02", (0.20, 0.14, 0.14), (0.0, -0.34, -0.06), False),
    ("carried_shoulder_bag", "root", (0.06, 0.15, 0.13), (0.24, 0.0, 0.02), True),
)


def carried_things(body: AnnyBody) -> list[Proxy]:
    """All of them."""
    return [_thing(body, *thing) for thing in _THINGS]


def _thing(
    body: AnnyBody,
    name: str,
    bone: str,
    half: tuple[float, float, float],
    middle: tuple[float, float, float],
    rounded: bool,
) -> Proxy:
    points, faces, uv = _ellipsoid() if rounded else _box()
    offset = points * np.array(half) + np.array(middle)
    # All hangs on the one bone's head.
    ref = np.full((len(points), 3), -1 - body.bone_names.index(bone))
    weight = np.zeros((len(points), 3))
    weight[:, 0] = 1
    return Proxy(name, ref, weight, offset, faces, uv, faces, np.zeros(19158, dtype=bool), None)


def _box() -> tuple[Float[np.ndarray, "24 3"], Int[np.ndarray, "12 3"], Float[np.ndarray, "24 2"]]:
    """Six sides with corners of their own: sharp edges."""
    points, faces = [], []
    for axis in range(3):
        for side in (-1.0, 1.0):
            first = len(points)
            for a, b in ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)):
                points.append(np.insert([a, b], axis, side))
            # Seen from outside the corners run counter-clockwise on sides whose axes form a right-handed frame.
            flip = (side > 0) == (axis == 1)
            order = [(0, 2, 1), (0, 3, 2)] if flip else [(0, 1, 2), (0, 2, 3)]
            faces += [[first + k for k in triangle] for triangle in order]
    uv = np.tile([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], (6, 1))
    return np.array(points), np.array(faces), uv


def _ellipsoid(rings: int = 8, sectors: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Something between a ball and a box, as bags are."""
    polar, azimuth = np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, sectors + 1)
    polar, azimuth = (grid.ravel() for grid in np.meshgrid(polar, azimuth, indexing="ij"))
    points = np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], -1)
    points = np.sign(points) * np.abs(points) ** 0.7
    index = np.arange((rings + 1) * (sectors + 1)).reshape(rings + 1, sectors + 1)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return points, faces, np.stack([azimuth / (2 * np.pi), 1 - polar / np.pi], -1)
