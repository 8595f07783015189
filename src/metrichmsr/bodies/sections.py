"""Cutting a mesh with a plane: the section's points, and the girth a tape measure would read around them.

A tape measure bridges hollows: around a body it follows the **convex hull** of the section (ISO 7250-1, ISO 8559-1),
so only the points where the plane crosses mesh edges matter, not how they are joined. Leaving out a part of the mesh
(an arm) leaves out its edges; the hull closes the gap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class MeshPart:
    """Some vertices of a mesh, and the edges of the triangles between them."""

    vertex_ids: Int[np.ndarray, "N"]
    """Ascending."""
    edges: Int[np.ndarray, "E 2"]
    """Every edge once; rows of ``vertex_ids``."""

    @classmethod
    def of(cls, faces: Int[np.ndarray, "F 3"], chosen: Bool[np.ndarray, "V"]) -> MeshPart:
        """The part of the chosen vertices."""
        kept = faces[chosen[faces].all(axis=1)]
        edges = np.concatenate([kept[:, [0, 1]], kept[:, [1, 2]], kept[:, [2, 0]]])
        vertex_ids = np.unique(edges)
        edges = np.searchsorted(vertex_ids, np.unique(np.sort(edges, axis=1), axis=0))
        return cls(vertex_ids, edges)


def plane_crossings(
    vertices_m: Float[np.ndarray, "N 3"],
    edges: Int[np.ndarray, "E 2"],
    origin_m: Float[np.ndarray, "3"],
    normal: Float[np.ndarray, "3"],
) -> Float[np.ndarray, "P 3"]:
    """Where edges pass through the plane through ``origin_m`` with unit normal ``normal``; in the frame of both."""
    height = vertices_m @ normal - origin_m @ normal
    above = height >= 0
    start, end = edges[:, 0], edges[:, 1]
    crossing = above[start] != above[end]
    start, end = start[crossing], end[crossing]
    share = height[start] / (height[start] - height[end])
    return vertices_m[start] + share[:, None] * (vertices_m[end] - vertices_m[start])


def plane_axes(normal: Float[np.ndarray, "3"]) -> Float[np.ndarray, "2 3"]:
    """Two unit vectors in the plane of a unit normal, orthogonal to each other."""
    first = np.zeros(3)
    first[np.abs(normal).argmin()] = 1.0
    first -= (first @ normal) * normal
    x, y, z = first / math.sqrt(first @ first)
    a, b, c = normal
    return np.array([[x, y, z], [b * z - c * y, c * x - a * z, a * y - b * x]])


def hull_outline(points_m: Float[np.ndarray, "P 3"], normal: Float[np.ndarray, "3"]) -> Float[np.ndarray, "H 3"]:
    """Corners of the convex hull of points of one plane, in order."""
    corners = np.asarray(cv2.convexHull(_flat(points_m, normal), returnPoints=False), dtype=np.int64)
    return points_m[corners[:, 0]]


def hull_girth(points_m: Float[np.ndarray, "P 3"], normal: Float[np.ndarray, "3"]) -> float:
    """Perimeter of the convex hull of points of one plane, metres; NaN where there are fewer than three."""
    if len(points_m) < 3:
        return float("nan")
    return cv2.arcLength(cv2.convexHull(_flat(points_m, normal)), True)


def _flat(points_m: Float[np.ndarray, "P 3"], normal: Float[np.ndarray, "3"]) -> Float[np.ndarray, "P 1 2"]:
    return (points_m @ plane_axes(normal).T).astype(np.float32)[:, None]
