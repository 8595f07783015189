"""Smooth vertex normals for the mesh formats."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def vertex_normals(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "V 3"]:
    """Unit normals at the vertices: the mean of the adjoining face normals, weighted by face area.

    Faces are counter-clockwise seen from outside, so normals point outwards. A vertex without any face of positive
    area gets (0, 0, 1), because glTF allows no zero normal.
    """
    vertices = np.asarray(vertices, dtype=np.float64)
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    doubled = np.cross(b - a, c - a)
    sums = np.stack(
        [np.bincount(faces.ravel(), np.repeat(doubled[:, axis], 3), len(vertices)) for axis in range(3)], axis=1
    )
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    lost = length[:, 0] < np.finfo(np.float64).tiny
    normals = sums / np.where(length > 0, length, 1)
    normals[lost] = (0.0, 0.0, 1.0)
    return normals
