"""``scene.glb``: everybody of a picture and the surroundings, with the camera, for Blender, engines and web viewers.

Axes and units: :mod:`metrichmsr.export.gltf_scene`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from metrichmsr.export.atomic import atomic_file
from metrichmsr.export.frames import GLTF_FROM_CAMERA, moved, y_up_from_camera
from metrichmsr.export.gltf import GltfBuilder
from metrichmsr.export.gltf_scene import add_skin_colour, finish_scene, known_numbers, start_scene
from metrichmsr.export.gltf_skin import add_skin, skin_attributes
from metrichmsr.export.normals import vertex_normals
from metrichmsr.export.skeleton import Skeleton
from metrichmsr.scene.outlines import Surroundings
from metrichmsr.structures import Person, Recovery, Rig


def write_glb(recovery: Recovery, path: Path, surroundings: Surroundings | None = None) -> None:
    """Write ``scene.glb`` atomically; see :func:`scene_glb`."""
    data = scene_glb(recovery, surroundings)
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def scene_glb(recovery: Recovery, surroundings: Surroundings | None = None) -> bytes:
    """The people of a picture, its surroundings and its camera as binary glTF.

    The scene has one node ``person_<id>`` each, a node ``surroundings`` with the photo as its
    texture where there is depth, and a node ``camera``. Height, distance (metres) and score of each person travel in
    its node's ``extras``, K in the camera's. ``surroundings`` of the recovery are found where they are not given.

    A person with a rig is skinned: its bones hang from a node ``person_<id>_rig``, and the bind pose is the recovered
    pose (:mod:`metrichmsr.export.gltf_skin`). Without one the mesh's node stands at the pelvis.
    """
    builder = start_scene(recovery)
    scene_from_camera = y_up_from_camera(recovery)
    nodes, skinned = [], []
    for person in recovery.people:
        skeleton = Skeleton.of(person)
        if skeleton is None or person.rig is None:
            nodes.append(_add_mesh(builder, person))
        else:
            skinned += _add_skinned(builder, person, skeleton, person.rig, scene_from_camera)
    return finish_scene(builder, recovery, nodes, surroundings, skinned=skinned)


def _add_mesh(builder: GltfBuilder, person: Person) -> int:
    # Vertices relative to the pelvis keep micrometres in float32 however far the person stands, and other programs
    # turn and scale the body about a sensible point.
    relative = (person.vertices_m - person.translation_m) @ GLTF_FROM_CAMERA.T
    place = (GLTF_FROM_CAMERA @ np.asarray(person.translation_m, dtype=np.float64)).tolist()
    return builder.add("nodes", {**_body(builder, person, relative, {}), "translation": place})


def _add_skinned(
    builder: GltfBuilder, person: Person, skeleton: Skeleton, rig: Rig, scene_from_camera: Float[np.ndarray, "4 4"]
) -> tuple[int, int]:
    """Indices of the node of the mesh and of the one that its bones hang from."""
    skin, root = add_skin(builder, f"person_{person.id}", skeleton, scene_from_camera)
    body = _body(builder, person, moved(person.vertices_m, scene_from_camera), skin_attributes(rig))
    mesh = builder.add("nodes", {**body, "skin": skin})
    return mesh, builder.add("nodes", {"name": f"person_{person.id}_rig", "children": [root]})


def _body(
    builder: GltfBuilder, person: Person, vertices_m: Float[np.ndarray, "V 3"], attributes: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """A node's name, mesh and extras."""
    name = f"person_{person.id}"
    mesh = builder.mesh(
        name,
        {
            "POSITION": vertices_m.astype(np.float32),
            "NORMAL": vertex_normals(vertices_m, person.faces).astype(np.float32),
            **attributes,
        },
        person.faces,
        material=add_skin_colour(builder, name, person.id),
    )
    extras = {
        "height_m": person.height_m,
        "height_std_m": person.height_std_m,
        "distance_m": person.distance_m,
        "distance_std_m": person.distance_std_m,
        "score": person.score,
    }
    return {"name": name, "mesh": mesh, "extras": known_numbers(extras)}
