"""``scene.obj`` with ``scene.mtl`` and ``scene_photo.jpg``: everybody and the surroundings for any 3D program.

Convention: the frame of ``scene.glb`` (y up, see :mod:`metrichmsr.export.frames`), metres. One object and group
``person_<id>`` a person, and ``surroundings`` with the photo as its texture where there is depth.

Source: Wavefront's "Object Files (.obj)" and "MTL material format", as far as every reader takes them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from metrichmsr.export.atomic import atomic_file
from metrichmsr.export.frames import moved, y_up_from_camera
from metrichmsr.export.normals import vertex_normals
from metrichmsr.export.palette import person_color
from metrichmsr.export.photo_texture import photo_jpeg
from metrichmsr.scene.outlines import Surroundings
from metrichmsr.structures import Recovery

OBJ, MTL, PHOTO = "scene.obj", "scene.mtl", "scene_photo.jpg"


def write_obj(recovery: Recovery, folder: Path, surroundings: Surroundings | None = None) -> None:
    """Write the three files into a folder, each atomically; without depth there is no photo among them.

    ``surroundings`` of the recovery are found where they are not given.
    """
    matrix = y_up_from_camera(recovery)
    blocks = [
        "# written by metrichmsr",
        "# unit: metre; axes: x right, y up, z towards the viewer",
        f"mtllib {MTL}",
    ]
    materials = ["# written by metrichmsr"]
    start = 1
    for person in recovery.people:
        name = f"person_{person.id}"
        vertices = moved(person.vertices_m, matrix)
        blocks.append(f"o {name}\ng {name}\nusemtl {name}")
        blocks += [_rows("v", vertices), _rows("vn", vertex_normals(vertices, person.faces), decimals=4)]
        # Normals are numbered from 1 as well; the people come first, and each vertex has one.
        blocks.append(_faces(person.faces, start))
        start += len(vertices)
        color = " ".join(f"{value / 255:.4f}" for value in person_color(person.id))
        materials.append(f"newmtl {name}\nKd {color}\nKs 0 0 0\nd 1\nillum 1")
    surroundings = surroundings or Surroundings.of(recovery)
    surface = None if surroundings is None else surroundings.mesh()
    if surface is not None and len(surface.faces):
        blocks.append("o surroundings\ng surroundings\nusemtl surroundings")
        blocks.append(_rows("v", moved(surface.vertices_m, matrix), decimals=4))
        # Texture coordinates of OBJ count upwards.
        blocks.append(_rows("vt", surface.uv * (1, -1) + (0, 1)))
        blocks.append(_faces(surface.faces, start, texture=1))
        materials.append(f"newmtl surroundings\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nd 1\nillum 1\nmap_Kd {PHOTO}")
        with atomic_file(folder / PHOTO) as temporary:
            temporary.write_bytes(photo_jpeg(recovery.image))
    for name, lines in ((MTL, materials), (OBJ, blocks)):
        with atomic_file(folder / name) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="ascii")


def _rows(key: str, values: Float[np.ndarray, "N k"], *, decimals: int = 6) -> str:
    line = " ".join([key] + [f"%.{decimals}f"] * values.shape[1])
    return "\n".join([line] * len(values)) % tuple(np.asarray(values, np.float64).ravel().tolist())


def _faces(faces: Int[np.ndarray, "F 3"], first: int, *, texture: int | None = None) -> str:
    """Faces whose vertices start at number ``first``; with texture coordinates from ``texture`` on, else normals."""
    corners = np.asarray(faces, np.int64) + first
    if texture is None:
        line, second = "f %d//%d %d//%d %d//%d", corners
    else:
        line, second = "f %d/%d %d/%d %d/%d", corners - first + texture
    return "\n".join([line] * len(faces)) % tuple(np.stack([corners, second], axis=-1).ravel().tolist())
