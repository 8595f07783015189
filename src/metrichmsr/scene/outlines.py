"""The surroundings of a recovery's people: its depth map without the people and the ramps around them.

A network's depth does not jump at a person's outline: over tens of pixels it runs from the body back to the wall. Seen
from another side that is a skirt of smeared photo, hung between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float

from metrichmsr.scene.surface import MAX_POINTS, ScenePoints, SceneSurface, people_pixels, scene_mesh, scene_points
from metrichmsr.structures import Camera, Recovery, Scene

_REACH = 0.045
"""How far ramps reach from a person, over the picture's long side."""
_STEP = 1.25
"""Background that is nearer than this (ratio) to the body makes no ramp worth cutting."""
_ON_GROUND_M = 0.2
_LONG_SIDE = 640


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The scene of a recovery as something to look at; what is left out is found once for mesh and points."""

    recovery: Recovery
    scene: Scene
    left_out: Bool[np.ndarray, "H W"]
    """Pixels of the people and the ramps around them."""

    @classmethod
    def of(cls, recovery: Recovery) -> Surroundings | None:
        """None where no depth stage ran."""
        if recovery.scene is None:
            return None
        return cls(recovery, recovery.scene, surroundings_without(recovery))

    def mesh(self) -> SceneSurface:
        """Textured triangles, see :func:`~metrichmsr.scene.surface.scene_mesh`."""
        scene = self.scene
        return scene_mesh(scene.depth_m, self.recovery.camera, confidence=scene.confidence, exclude=self.left_out)

    def points(self, max_points: int = MAX_POINTS) -> ScenePoints:
        """Coloured points, see :func:`~metrichmsr.scene.surface.scene_points`."""
        scene = self.scene
        return scene_points(
            self.recovery.image,
            scene.depth_m,
            self.recovery.camera,
            confidence=scene.confidence,
            exclude=self.left_out,
            max_points=max_points,
        )


def surroundings_without(recovery: Recovery) -> Bool[np.ndarray, "H W"]:
    """Pixels to leave out of mesh and points of a recovery's scene; its bodies stand there instead."""
    scene = recovery.scene
    assert scene is not None
    people = people_pixels(recovery.people, scene.depth_m, scene.anchor_m)
    return people | ramps(scene, people, recovery.camera)


def ramps(scene: Scene, people: Bool[np.ndarray, "H W"], camera: Camera) -> Bool[np.ndarray, "H W"]:
    """Pixels near people over which depth runs steeply from the body to what is behind; the ground is none.

    Args:
        scene: its depth, anchors and ground.
        people: pixels of the people.
        camera: the picture's camera.
    """
    if scene.anchor_m is None or not people.any():
        return np.zeros_like(people)
    height, width = people.shape
    scale = min(1.0, _LONG_SIDE / max(height, width))
    size = max(2, round(width * scale)), max(2, round(height * scale))

    def small(values: np.ndarray) -> np.ndarray:
        return cv2.resize(values, size, interpolation=cv2.INTER_NEAREST)

    depth = small(scene.depth_m.astype(np.float32))
    known = np.isfinite(depth) & (depth > 0)
    log = np.log(np.where(known, depth, 1.0)).astype(np.float32)
    inside = small(people.astype(np.uint8)) > 0
    reach = max(2, round(_REACH * max(size)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    body = small(scene.anchor_m.astype(np.float32))
    nearby = cv2.dilate(np.where(np.isfinite(body), np.log(np.fmax(body, 1e-3)), -99).astype(np.float32), kernel)
    behind = cv2.dilate(np.where(known & ~inside, log, -99).astype(np.float32), kernel)
    step = behind - nearby
    across, down = cv2.Sobel(log, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(log, cv2.CV_32F, 0, 1, scale=1 / 8)
    steep = np.hypot(across, down) > step / (4 * reach)
    ring = (cv2.dilate(inside.astype(np.uint8), kernel) > 0) & ~inside
    ramp = ring & known & (nearby > -50) & (step > np.log(_STEP)) & steep & ~_on_ground(depth, scene, camera)
    return cv2.resize(ramp.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0


def _on_ground(depth: Float[np.ndarray, "h w"], scene: Scene, camera: Camera) -> Bool[np.ndarray, "h w"]:
    if scene.ground_normal is None or scene.ground_offset_m is None:
        return np.zeros(depth.shape, dtype=bool)
    rows, columns = depth.shape
    # Pixel centres of the small map in pixels of the picture. NumPy does: the viewer starts without waiting for torch.
    u, v = (np.arange(columns) + 0.5) * camera.width / columns, (np.arange(rows) + 0.5) * camera.height / rows
    along = np.linalg.inv(camera.K).T @ scene.ground_normal  # n·K⁻¹, per (u, v, 1)
    above = depth * (along[0] * u + along[1] * v[:, None] + along[2]) + scene.ground_offset_m
    return np.abs(np.nan_to_num(above, nan=99.0)) < _ON_GROUND_M
