"""``scene.glb``: everybody of a picture and the surroundings, with the camera, for Blender, engines and web viewers.

Convention:
    glTF's axes: x right, **y up**, z towards the viewer; metres. Where the scene tells which way is up, all hangs from
    one node ``upright`` that turns it so: y against gravity, the ground at y = 0, the origin below the camera. Below
    that node, and everywhere where nothing is known of gravity, axes are the camera frame (x right, y down, z forward)
    turned by 180° about x: the camera stands at the origin and looks along −z, as glTF's cameras do.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from metrichmsr.export.atomic import atomic_file
from metrichmsr.export.frames import GLTF_FROM_CAMERA
from metrichmsr.export.gltf import GltfBuilder
from metrichmsr.export.gltf_skin import add_skin, skin_attributes
from metrichmsr.export.normals import vertex_normals
from metrichmsr.export.palette import linear_color
from metrichmsr.export.photo_texture import photo_jpeg
from metrichmsr.export.skeleton import Skeleton
from metrichmsr.scene.outlines import Surroundings
from metrichmsr.structures import Camera, Person, Recovery


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
    from metrichmsr import __version__

    scene = recovery.scene
    known_up = scene is not None and scene.world_from_camera is not None
    up = "+y against gravity" if known_up else "+y of the camera"
    builder = GltfBuilder(generator=f"metrichmsr {__version__}", extras={"unit": "metre", "up": up})
    nodes = [_add_person(builder, person) for person in recovery.people]
    surroundings = surroundings or Surroundings.of(recovery)
    if surroundings is not None:
        nodes += _add_surroundings(builder, surroundings)
    nodes.append(_add_camera(builder, recovery.camera))
    if scene is not None and scene.world_from_camera is not None:
        turn = np.eye(4)
        turn[:3, :3] = GLTF_FROM_CAMERA
        matrix = np.asarray(scene.world_from_camera, dtype=np.float64) @ turn
        # Column by column, as glTF wants matrices.
        nodes = [builder.add("nodes", {"name": "upright", "matrix": matrix.T.ravel().tolist(), "children": nodes})]
    builder.document["scene"] = builder.add("scenes", {"name": recovery.image_path.name, "nodes": nodes})
    return builder.to_glb()


def _add_person(builder: GltfBuilder, person: Person) -> int:
    name = f"person_{person.id}"
    # Vertices relative to the pelvis keep micrometres in float32 however far the person stands, and other programs
    # turn and scale the body about a sensible point.
    relative = (person.vertices_m - person.translation_m) @ GLTF_FROM_CAMERA.T
    material = builder.add(
        "materials",
        {
            "name": name,
            "pbrMetallicRoughness": {
                "baseColorFactor": [*linear_color(person.id), 1.0],
                "metallicFactor": 0.0,
                "roughnessFactor": 0.8,
            },
        },
    )
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
        "extras": {key: round(float(value), 6) for key, value in extras.items() if math.isfinite(value)},
    }
    if skin is None:
        return builder.add("nodes", {**body, **place})
    # Beside its bones, not above them: Babylon.js forgets where a skinned mesh stands that is the parent of its bones.
    node = builder.add("nodes", {**body, "skin": skin})
    return builder.add("nodes", {"name": f"{name}_rig", **place, "children": [node, root]})


def _add_surroundings(builder: GltfBuilder, surroundings: Surroundings) -> list[int]:
    """The depth map as a textured mesh without the people, who are there as bodies; nothing where nothing is known."""
    surface = surroundings.mesh()
    if not len(surface.faces):
        return []
    texture = builder.add(
        "textures", {"source": builder.image(photo_jpeg(surroundings.recovery.image), mime_type="image/jpeg")}
    )
    material = builder.add(
        "materials",
        {
            "name": "photo",
            # The photo holds its light already.
            "extensions": {"KHR_materials_unlit": {}},
            "pbrMetallicRoughness": {
                "baseColorTexture": {"index": texture},
                "metallicFactor": 0.0,
                "roughnessFactor": 1.0,
            },
        },
    )
    builder.document["extensionsUsed"] = ["KHR_materials_unlit"]
    attributes = {
        "POSITION": (surface.vertices_m @ GLTF_FROM_CAMERA.T).astype(np.float32),
        "TEXCOORD_0": surface.uv.astype(np.float32),
    }
    mesh = builder.mesh("surroundings", attributes, surface.faces, material=material)
    extras = {"depth_source": surroundings.scene.source, "refinement": surroundings.scene.refinement}
    return [builder.add("nodes", {"name": "surroundings", "mesh": mesh, "extras": extras})]


def _add_camera(builder: GltfBuilder, camera: Camera) -> int:
    # A glTF camera looks through the middle of the picture: the principal point survives in the extras only.
    fx, fy = camera.K[0, 0], camera.K[1, 1]
    index = builder.add(
        "cameras",
        {
            "type": "perspective",
            "perspective": {
                "yfov": float(2 * np.arctan(camera.height / (2 * fy))),
                "aspectRatio": float(camera.width / fx * fy / camera.height),
                "znear": 0.01,
            },
        },
    )
    extras = {"K": camera.K.tolist(), "width": camera.width, "height": camera.height, "source": camera.source}
    return builder.add("nodes", {"name": "camera", "camera": index, "extras": extras})
