"""What the glTF files of a recovery share: axes, surroundings, camera, materials.

Convention:
    glTF's axes: x right, **y up**, z towards the viewer; metres. Where the scene tells which way is up, all hangs from
    one node ``upright`` that turns it so: y against gravity, the ground at y = 0, the origin below the camera. Below
    that node, and everywhere where nothing is known of gravity, axes are the camera frame (x right, y down, z forward)
    turned by 180° about x: the camera stands at the origin and looks along −z, as glTF's cameras do.

    Skinned people are no part of that tree. glTF places a skinned mesh by its bones alone (§3.7.3), so mesh and bones
    are roots of the scene, without a place of their own: vertices and root bone are stored where they stand in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from metrichmsr.export.frames import GLTF_FROM_CAMERA
from metrichmsr.export.gltf import GltfBuilder
from metrichmsr.export.palette import linear_color
from metrichmsr.export.photo_texture import photo_jpeg
from metrichmsr.scene.outlines import Surroundings
from metrichmsr.structures import Camera, Recovery


def start_scene(recovery: Recovery, **extras: object) -> GltfBuilder:
    """An empty file that says which way is up; ``extras`` stand beside that."""
    from metrichmsr import __version__

    up = "+y of the camera" if _world(recovery) is None else "+y against gravity"
    return GltfBuilder(generator=f"metrichmsr {__version__}", extras={"unit": "metre", "up": up, **extras})


def finish_scene(
    builder: GltfBuilder,
    recovery: Recovery,
    nodes: Sequence[int],
    surroundings: Surroundings | None = None,
    *,
    skinned: Sequence[int] = (),
) -> bytes:
    """The file with surroundings, where there are any, and camera beside ``nodes``, all turned upright.

    ``surroundings`` of the recovery are found where they are not given. ``skinned`` are nodes that stand upright.
    """
    nodes = list(nodes)
    surroundings = surroundings or Surroundings.of(recovery)
    if surroundings is not None:
        nodes += _add_surroundings(builder, surroundings)
    nodes.append(_add_camera(builder, recovery.camera))
    world = _world(recovery)
    if world is not None:
        turn = np.eye(4)
        turn[:3, :3] = GLTF_FROM_CAMERA
        # Column by column, as glTF wants matrices.
        matrix = (world @ turn).T.ravel().tolist()
        nodes = [builder.add("nodes", {"name": "upright", "matrix": matrix, "children": nodes})]
    builder.document["scene"] = builder.add("scenes", {"name": recovery.image_path.name, "nodes": [*skinned, *nodes]})
    return builder.to_glb()


def add_skin_colour(builder: GltfBuilder, name: str, person_id: int) -> int:
    """A matt material of the person's colour; returns its index."""
    return builder.add(
        "materials",
        {
            "name": name,
            "pbrMetallicRoughness": {
                "baseColorFactor": [*linear_color(person_id), 1.0],
                "metallicFactor": 0.0,
                "roughnessFactor": 0.8,
            },
        },
    )


def known_numbers(extras: Mapping[str, float]) -> dict[str, float]:
    """Those that are known, rounded to a millionth: JSON has no NaN."""
    return {key: round(float(value), 6) for key, value in extras.items() if math.isfinite(value)}


def _world(recovery: Recovery) -> np.ndarray | None:
    scene = recovery.scene
    if scene is None or scene.world_from_camera is None:
        return None
    return np.asarray(scene.world_from_camera, dtype=np.float64)


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
