"""The scene around the people as a textured mesh (binary glTF) or as points, in the world frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from metrichmsr.export.gltf import GltfBuilder
from metrichmsr.scene.surface import scene_mesh, scene_points
from metrichmsr.viewer.depth_maps import DepthMaps
from metrichmsr.viewer.shapes import transform

Which = Literal["refined", "initial"]
Colours = Literal["photo", "confidence"]

_TEXTURE_PX, _JPEG_QUALITY = 2048, 90
_CONFIDENCE_PX = 1024
_PLAIN = 150


@dataclass(frozen=True, eq=False)
class SurroundingsMesh:
    """The depth map as triangles, with a picture to paint them."""

    vertices: Float[np.ndarray, "V 3"]
    """World frame, metres."""
    faces: Int[np.ndarray, "F 3"]
    uv: Float[np.ndarray, "V 2"]
    """Place in the picture, 0 to 1, v downwards."""

    def glb(self, texture: UInt8[np.ndarray, "h w 3"]) -> bytes:
        """Binary glTF, unlit (the photo holds its light already), seen from both sides."""
        builder = GltfBuilder(generator="metrichmsr viewer")
        image = builder.image(_jpeg(texture), mime_type="image/jpeg")
        # The picture's edge must not come in from the opposite side.
        sampler = builder.add("samplers", {"wrapS": 33071, "wrapT": 33071, "magFilter": 9729, "minFilter": 9987})
        painted = builder.add("textures", {"source": image, "sampler": sampler})
        material = builder.add(
            "materials",
            {
                "name": "photo",
                "doubleSided": True,
                "extensions": {"KHR_materials_unlit": {}},
                "pbrMetallicRoughness": {
                    "baseColorTexture": {"index": painted},
                    "metallicFactor": 0.0,
                    "roughnessFactor": 1.0,
                },
            },
        )
        builder.document["extensionsUsed"] = ["KHR_materials_unlit"]
        attributes = {"POSITION": self.vertices.astype(np.float32), "TEXCOORD_0": self.uv.astype(np.float32)}
        mesh = builder.mesh("surroundings", attributes, self.faces, material=material)
        node = builder.add("nodes", {"name": "surroundings", "mesh": mesh})
        builder.document["scene"] = builder.add("scenes", {"nodes": [node]})
        return builder.to_glb()


@dataclass(frozen=True, eq=False)
class SurroundingsPoints:
    """The depth map as coloured points."""

    points: Float[np.ndarray, "N 3"]
    """World frame, metres."""
    colors: UInt8[np.ndarray, "N 3"]
    size_m: float
    """Width of a point that closes the gaps between neighbours at middle distance."""


def surroundings_mesh(
    maps: DepthMaps, which: Which, world_from_camera: Float[np.ndarray, "4 4"], max_triangles: int
) -> SurroundingsMesh:
    """The refined or the initial depth as a mesh; both leave out the same pixels."""
    surface = scene_mesh(
        depth_of(maps, which),
        maps.camera,
        confidence=maps.confidence,
        exclude=maps.left_out,
        max_triangles=max_triangles,
    )
    # From the thinned picture to the full one, whose edge may lie beyond the last pixel that was taken.
    thinned, full = maps.camera, maps.full
    pixels = surface.uv * (thinned.width, thinned.height) - 0.5
    uv = (maps.first + 0.5 + maps.stride * pixels) / (full.width, full.height)
    return SurroundingsMesh(transform(world_from_camera, surface.vertices_m), surface.faces, uv)


def surroundings_points(
    maps: DepthMaps,
    which: Which,
    world_from_camera: Float[np.ndarray, "4 4"],
    max_points: int,
    texture: UInt8[np.ndarray, "h w 3"],
) -> SurroundingsPoints:
    """The refined or the initial depth as points, coloured by a picture of any size."""
    camera = maps.camera
    picture = cv2.resize(texture, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    cloud = scene_points(
        picture,
        depth_of(maps, which),
        camera,
        confidence=maps.confidence,
        exclude=maps.left_out,
        max_points=max_points,
    )
    step = np.sqrt(camera.width * camera.height / max(1, min(max_points, camera.width * camera.height)))
    middle = float(np.median(cloud.points_m[:, 2])) if len(cloud.points_m) else 1.0
    return SurroundingsPoints(
        transform(world_from_camera, cloud.points_m), cloud.colors, 1.1 * float(step) * middle / camera.focal_px
    )


def anchor_points(
    maps: DepthMaps, world_from_camera: Float[np.ndarray, "4 4"], most: int = 40_000
) -> Float[np.ndarray, "N 3"]:
    """Points of the rendered bodies that the scene was drawn to, world frame."""
    rows, columns = np.nonzero(np.isfinite(maps.anchor_m))
    step = max(1, -(-len(rows) // most))
    rows, columns = rows[::step], columns[::step]
    rays = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1) @ np.linalg.inv(maps.camera.K).T
    return transform(world_from_camera, rays * maps.anchor_m[rows, columns, None])


def depth_of(maps: DepthMaps, which: Which) -> Float[np.ndarray, "h w"]:
    """The refined depth, or the initial one where there is any in metres."""
    initial = maps.initial_depth_m if which == "initial" else None
    return maps.depth_m if initial is None else initial


def texture(maps: DepthMaps, colours: Colours, photo: UInt8[np.ndarray, "h w 3"] | None) -> UInt8[np.ndarray, "h w 3"]:
    """What the surroundings are painted with: the photo (plain grey where it is lost), or confidence in colours."""
    if colours == "confidence":
        return confidence_colors(maps.confidence)
    if photo is None:
        return np.full((8, 8, 3), _PLAIN, np.uint8)
    return photo


def confidence_colors(confidence: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Confidence as viridis colours: 0 dark violet, 1 yellow."""
    scale = min(1.0, _CONFIDENCE_PX / max(confidence.shape))
    if scale < 1:
        confidence = cv2.resize(confidence, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    level = np.round(255 * np.clip(np.nan_to_num(confidence), 0, 1)).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def _jpeg(image: np.ndarray) -> bytes:
    scale = min(1.0, _TEXTURE_PX / max(image.shape[:2]))
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)[1].tobytes()
