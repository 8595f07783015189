"""Anchors (paper §5): the recovered people, rendered into the picture, say how far away they are.

z_hmr is the depth of the nearest body in each pixel, people hiding one another. M_a keeps the pixels that can be
trusted: inside the person's own segmentation (whatever stands in front of them is not), away from the edges of both,
where a small error of pose means a large one of depth.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Bool

from metrichmsr.rendering import rasterize_scene
from metrichmsr.scene.depth.protocol import SceneAnchors
from metrichmsr.structures import Camera, Person

CLOTHES_M = 0.013
"""How far in front of the bare body its clothes and hair are seen, metres: the median over 149 people of SynFocal, half
of them between 4 and 20 mm (``scripts/measure_clothes.py``)."""
_LONGEST_SIDE = 1280
"""Larger pictures are rendered at this size and enlarged: anchors have no fine detail."""
_EDGE_SHARE = 0.025
"""Width of the rim that is left out, over the square root of the body's area in pixels."""


def render_anchors(people: Sequence[Person], camera: Camera) -> SceneAnchors:
    """Rendered depth of the people of a picture, and where to trust it.

    Args:
        people: with vertices in the camera frame, and masks where they were segmented.
        camera: of the picture; anchors have its size.
    """
    height, width = camera.height, camera.width
    scale = min(1.0, _LONGEST_SIDE / max(height, width))
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    K = torch.from_numpy(camera.K * np.array([[columns / width], [rows / height], [1.0]])).float()
    meshes = [(torch.from_numpy(np.asarray(p.vertices_m)).float(), _faces(p)) for p in people]
    drawn = rasterize_scene(meshes, K, height=rows, width=columns, cull_backfaces=True)
    depth, person = drawn.depth_m.numpy() - CLOTHES_M, drawn.mesh_id.numpy().astype(np.int16)
    mask = np.zeros((rows, columns), dtype=bool)
    for row, one in enumerate(people):
        body = person == row
        trusted = body if one.mask is None else body & _resized(one.mask, rows, columns)
        mask |= without_rim(trusted, rim_px(body))
    if (rows, columns) != (height, width):
        depth, person = (cv2.resize(m, (width, height), interpolation=cv2.INTER_NEAREST) for m in (depth, person))
        mask = _resized(mask, height, width)
    stds = [p.distance_std_m / max(p.distance_m, 1e-6) for p in people]
    return SceneAnchors(
        depth_m=depth.astype(np.float32),
        mask=mask & np.isfinite(depth) & (depth > 0),
        person=person,
        relative_std=np.array(stds, dtype=np.float32),
    )


def rim_px(body: Bool[np.ndarray, "H W"]) -> int:
    """Width of the rim of a body that is not trusted, pixels."""
    return max(1, round(_EDGE_SHARE * float(body.sum()) ** 0.5))


def without_rim(mask: Bool[np.ndarray, "H W"], pixels: int) -> Bool[np.ndarray, "H W"]:
    """Without a rim of so many pixels; the picture's border is no edge."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.erode(mask.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1).astype(bool)


def _faces(person: Person) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(person.faces)).long()


def _resized(mask: Bool[np.ndarray, "h w"], rows: int, columns: int) -> Bool[np.ndarray, "H W"]:
    return cv2.resize(mask.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST).astype(bool)
