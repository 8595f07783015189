"""``scene.glb``: everybody of a picture and the surroundings, with the camera, for Blender, engines and web viewers.

Axes and units: :mod:`metrichmsr.export.gltf_scene`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metrichmsr.export.atomic import atomic_file
from metrichmsr.export.frames import GLTF_FROM_CAMERA
from metrichmsr.export.gltf import GltfBuilder
from metrichmsr.export.gltf_scene import add_skin_colour, finish_scene, known_numbers, start_scene
from metrichmsr.export.gltf_skin import add_skin, skin_attributes
from metrichmsr.export.normals import vertex_normals
from metrichmsr.export.skeleton import Skeleton
from metrichmsr.scene.outlines import Surroundings
from metrichmsr.structures import Person, Recovery


def write_glb(recovery: Recovery, path: Path, surroundings: Surroundings | None = None) -> None:
    """Write ``scene.glb`` atomically; see :func:`scene_glb`."""
    data = scene_glb(recovery, surroundings)
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def scene_glb(recovery: Recovery, surroundings: Surroundings | None = None) -> bytes:
    """The people of a picture, its surroundings and its camera as binary glTF.

    The scene has one node ``person_<id>`` each, standing at the pelvis, a node ``surroundings`` with the photo as its
    texture where there is depth, and a node ``camera``. Height, distance (metres) and score of each person travel in
    its node's ``extras``, K in the camera's. ``surroundings`` of the recovery are found where they are not given.

    A person with a rig is skinned: node and bones hang from a node ``person_<id>_rig`` then, and the bind pose is the
    recovered pose (:mod:`metrichmsr.export.gltf_skin`).
    """
    builder = start_scene(recovery)
    nodes = [_add_person(builder, person) for person in recovery.people]
    return finish_scene(builder, recovery, nodes, surroundings)


def _add_person(builder: GltfBuilder, person: Person) -> int:
    name = f"person_{person.id}"
    # Vertices relative to the pelvis keep micrometres in float32 however far the person stands, and other programs
    # turn and scale the body about a sensible point.
    relative = (person.vertices_m - person.translation_m) @ GLTF_FROM_CAMERA.T
    material = add_skin_colour(builder, name, person.id)
    attributes = {
        "POSITION": relative.astype(np.float32),
        "NORMAL": vertex_normals(relative, person.faces).astype(np.float32),
    }
    skin = root = None
    skeleton = Skeleton.of(person)
    if skeleton is not None and person.rig is not None:
        attributes.update(skin_attributes(person.rig))
        skin, root = add_skin(builder, name, skeleton, GLTF_FROM_CAMERA)
    mesh = builder.mesh(name, attributes, person.faces, material=material)
    extras = {
        "height_m": person.height_m,
        "height_std_m": person.height_std_m,
        "distance_m": person.distance_m,
        "distance_std_m": person.distance_std_m,
        "score": person.score,
    }
    place = {"translation": (GLTF_FROM_CAMERA @ np.asarray(person.translation_m, dtype=np.float64)).tolist()}
    body = {
        "name": name,
        "mesh": mesh,
        "extras": known_numbers(extras),
    }
    if skin is None:
        return builder.add("nodes", {**body, **place})
    # Beside its bones, not above them: Babylon.js forgets where a skinned mesh stands that is the parent of its bones.
    node = builder.add("nodes", {**body, "skin": skin})
    return builder.add("nodes", {"name": f"{name}_rig", **place, "children": [node, root]})
