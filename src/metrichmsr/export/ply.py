"""PLY meshes in the camera frame."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from metrichmsr.export.atomic import atomic_file
from metrichmsr.export.normals import vertex_normals
from metrichmsr.structures import Person


def write_person_ply(person: Person, path: Path) -> None:
    """Write a person's mesh: camera frame (x right, y down, z forward), metres, as the header says."""
    write_ply(
        path,
        person.vertices_m,
        person.faces,
        comments=(
            "written by metrichmsr",
            "frame: camera, x right, y down, z forward",
            "unit: metre",
            f"person {person.id}, body model {person.body_model}, stature {person.height_m:.3f} m",
        ),
    )


def write_ply(
    path: Path,
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    *,
    comments: Iterable[str] = (),
) -> None:
    """Write a triangle mesh with smooth normals as binary little-endian PLY, atomically.

    Args:
        path: Final name.
        vertices: Stored as float32 (at 100 m from the origin still within 4 µm).
        faces: Triangles, counter-clockwise seen from outside.
        comments: Lines of the header. Anything outside ASCII becomes ``?``.
    """
    corners = np.hstack([vertices, vertex_normals(vertices, faces)]).astype("<f4")
    triangles = np.empty(len(faces), dtype=[("count", "u1"), ("corner", "<i4", 3)])
    triangles["count"] = 3
    triangles["corner"] = faces
    header = [
        "ply",
        "format binary_little_endian 1.0",
        *(f"comment {' '.join(line.split())}" for line in comments),
        f"element vertex {len(corners)}",
        *(f"property float {name}" for name in ("x", "y", "z", "nx", "ny", "nz")),
        f"element face {len(triangles)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    with atomic_file(path) as temporary, temporary.open("xb") as file:
        file.write(("\n".join(header) + "\n").encode("ascii", errors="replace"))
        file.write(corners.tobytes())
        file.write(triangles.tobytes())
