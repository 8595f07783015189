"""PLY meshes and point clouds in the camera frame."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from metrichmsr.export.atomic import atomic_file
from metrichmsr.export.normals import vertex_normals
from metrichmsr.export.palette import person_color
from metrichmsr.scene.outlines import Surroundings
from metrichmsr.structures import Person, Recovery


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
    elements = (
        f"element vertex {len(corners)}",
        *(f"property float {name}" for name in ("x", "y", "z", "nx", "ny", "nz")),
        f"element face {len(triangles)}",
        "property list uchar int vertex_indices",
    )
    _write(path, comments, elements, corners.tobytes() + triangles.tobytes())


def write_scene_ply(recovery: Recovery, path: Path, surroundings: Surroundings | None = None) -> None:
    """Write the surroundings as coloured points with the people's vertices among them, each person in a colour.

    Camera frame (x right, y down, z forward), metres, as the header says. ``surroundings`` of the recovery are found
    where they are not given.
    """
    points, colors = [np.zeros((0, 3), np.float32)], [np.zeros((0, 3), np.uint8)]
    surroundings = surroundings or Surroundings.of(recovery)
    if surroundings is not None:
        cloud = surroundings.points()
        points.append(cloud.points_m)
        colors.append(cloud.colors)
    for person in recovery.people:
        points.append(np.asarray(person.vertices_m, np.float32))
        colors.append(np.tile(np.array(person_color(person.id), np.uint8), (len(person.vertices_m), 1)))
    comments = ("written by metrichmsr", "frame: camera, x right, y down, z forward", "unit: metre")
    write_points(path, np.concatenate(points), np.concatenate(colors), comments=comments)


def write_points(
    path: Path,
    points: Float[np.ndarray, "N 3"],
    colors: UInt8[np.ndarray, "N 3"],
    *,
    comments: Iterable[str] = (),
) -> None:
    """Write coloured points as binary little-endian PLY, atomically; float32."""
    rows = np.empty(len(points), dtype=[("place", "<f4", 3), ("color", "u1", 3)])
    rows["place"], rows["color"] = points, colors
    elements = (
        f"element vertex {len(rows)}",
        *(f"property float {name}" for name in ("x", "y", "z")),
        *(f"property uchar {name}" for name in ("red", "green", "blue")),
    )
    _write(path, comments, elements, rows.tobytes())


def _write(path: Path, comments: Iterable[str], elements: Iterable[str], data: bytes) -> None:
    header = [
        "ply",
        "format binary_little_endian 1.0",
        *(f"comment {' '.join(line.split())}" for line in comments),
        *elements,
        "end_header",
    ]
    with atomic_file(path) as temporary, temporary.open("xb") as file:
        file.write(("\n".join(header) + "\n").encode("ascii", errors="replace"))
        file.write(data)
