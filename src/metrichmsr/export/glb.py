"""``scene.glb``: everybody of a picture, with the camera, for Blender, game engines and web viewers.

Convention:
    glTF's axes: x right, **y up**, z towards the viewer; metres. They are the camera frame (x right, y down,
    z forward) turned by 180° about x, so the camera stands at the origin and looks along −z, as glTF's cameras do. As
    long as no ground was found, "up" is the camera's up, not gravity's.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from metrichmsr.export.atomic import atomic_file
from metrichmsr.export.gltf import GltfBuilder
from metrichmsr.export.normals import vertex_normals
from metrichmsr.export.palette import person_color
from metrichmsr.structures import Camera, Person, Recovery

GLTF_FROM_CAMERA = np.diag([1.0, -1.0, -1.0])
"""Rotation from the camera frame (y down, z forward) to glTF's axes (y up, z backwards)."""


def write_glb(recovery: Recovery, path: Path) -> None:
    """Write ``scene.glb`` atomically; see :func:`scene_glb`."""
    data = scene_glb(recovery)
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def scene_glb(recovery: Recovery) -> bytes:
    """The people of a picture and its camera as binary glTF.

    The scene has one node ``person_<id>`` each, standing at the pelvis, and a node ``camera``. Height, distance
    (metres) and score of each person travel in its node's ``extras``, K in the camera's.
    """
    from metrichmsr import __version__

    builder = GltfBuilder(generator=f"metrichmsr {__version__}", extras={"unit": "metre", "up": "+y of the camera"})
    nodes = [_add_person(builder, person) for person in recovery.people]
    nodes.append(_add_camera(builder, recovery.camera))
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
                "baseColorFactor": [*map(_linear_from_srgb, person_color(person.id)), 1.0],
                "metallicFactor": 0.0,
                "roughnessFactor": 0.8,
            },
        },
    )
    mesh = builder.mesh(
        name,
        {
            "POSITION": relative.astype(np.float32),
            "NORMAL": vertex_normals(relative, person.faces).astype(np.float32),
        },
        person.faces,
        material=material,
    )
    extras = {
        "height_m": person.height_m,
        "height_std_m": person.height_std_m,
        "distance_m": person.distance_m,
        "distance_std_m": person.distance_std_m,
        "score": person.score,
    }
    return builder.add(
        "nodes",
        {
            "name": name,
            "mesh": mesh,
            "translation": (GLTF_FROM_CAMERA @ np.asarray(person.translation_m, dtype=np.float64)).tolist(),
            "extras": {key: round(float(value), 6) for key, value in extras.items() if math.isfinite(value)},
        },
    )


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


def _linear_from_srgb(value: int) -> float:
    # IEC 61966-2-1: colour factors of glTF are linear light.
    s = value / 255
    return s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4
