"""What both networks of the scene are shown: a small picture, its rays, and what the recovered people say.

Convention: pictures are resized to a long side of about 256 pixels and sides that are multiples of 32, which squeezes
them a little; K is scaled with them, so rays stay true.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from metrichmsr.geometry import mirror_intrinsics, ray_map, scale_intrinsics
from metrichmsr.scene.depth.protocol import SceneAnchors
from metrichmsr.structures import Camera

LONG_SIDE = 256
"""Long side of the picture that the networks see, pixels."""
MULTIPLE = 32
CANONICAL_FOCAL_PX = 200.0
"""Depth is regressed as if every picture had been taken with this focal length, in pixels of the small picture: a thing
that covers so many pixels is as far away as the focal length is long (Yin et al., *Metric3D*, 2023)."""
MAX_RELATIVE_STD = 0.5
MARGIN = 16
"""Pixels of mirrored picture around it when depth is estimated: at a border convolutions see their own zeros, and draw
a frame there."""


@dataclass(frozen=True)
class SceneInput:
    """A batch of small pictures."""

    image: Float[Tensor, "B 3 H W"]
    """sRGB in [0, 1]."""
    K: Float[Tensor, "B 3 3"]
    """Intrinsics of these pictures, continuous pixels."""
    anchor_m: Float[Tensor, "B H W"]
    """z_hmr: depth of the recovered people, metres; 0 outside the mask."""
    anchor_mask: Float[Tensor, "B H W"]
    """M_a: 1 where people are trusted to show themselves."""
    anchor_std: Float[Tensor, "B H W"]
    """One sigma of that depth, relative to it; 0 outside the mask."""

    @property
    def focal_px(self) -> Float[Tensor, "B"]:
        """Geometric mean of the focal lengths, pixels of the small picture."""
        return (self.K[:, 0, 0] * self.K[:, 1, 1]).sqrt()

    def rays(self, stride: int = 1) -> Float[Tensor, "B 2 h w"]:
        """x/z and y/z of the viewing rays through the centres of cells of ``stride`` pixels."""
        height, width = self.image.shape[-2] // stride, self.image.shape[-1] // stride
        return ray_map(scale_intrinsics(self.K, 1 / stride, 1 / stride), height=height, width=width)[:, :2]


def and_mirrored(scene: SceneInput) -> SceneInput:
    """The pictures, and behind them the same with left and right exchanged, intrinsics too."""
    K = mirror_intrinsics(scene.K, scene.image.shape[-1])
    maps = (scene.image, scene.anchor_m, scene.anchor_mask, scene.anchor_std)
    image, *people = (torch.cat([values, values.flip(-1)]) for values in maps)
    return SceneInput(image, torch.cat([scene.K, K]), *people)


def with_margin(scene: SceneInput) -> SceneInput:
    """The same pictures with :data:`MARGIN` mirrored pixels on every side, nobody in them; rays go on outwards."""
    K = scene.K.clone()
    K[:, :2, 2] += MARGIN
    around = (MARGIN,) * 4
    people = (F.pad(values, around) for values in (scene.anchor_m, scene.anchor_mask, scene.anchor_std))
    return SceneInput(F.pad(scene.image, around, mode="reflect"), K, *people)


def without_margin(values: Float[Tensor, "B H W"], stride: int = 1) -> Float[Tensor, "B h w"]:
    """What lies inside the margin, of a map with ``stride`` pixels per cell."""
    rim = MARGIN // stride
    return values[:, rim:-rim, rim:-rim]


def network_size(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the small picture for a picture of this size."""
    scale = LONG_SIDE / max(height, width)
    rows, columns = (max(MULTIPLE, MULTIPLE * round(side * scale / MULTIPLE)) for side in (height, width))
    return rows, columns


def scene_input(
    image: UInt8[np.ndarray, "H W 3"], camera: Camera, anchors: SceneAnchors | None, *, device: torch.device | str
) -> SceneInput:
    """One picture as a batch of one."""
    height, width = image.shape[:2]
    rows, columns = network_size(height, width)
    method = cv2.INTER_AREA if max(height, width) > LONG_SIDE else cv2.INTER_LINEAR
    small = cv2.resize(image, (columns, rows), interpolation=method)
    K = scale_intrinsics(torch.from_numpy(camera.K).float(), columns / width, rows / height)
    anchor, mask, std = (np.zeros((rows, columns), np.float32) for _ in range(3))
    if anchors is not None:
        seen = resize_map(anchors.mask.astype(np.uint8), rows, columns) > 0
        depth = resize_map(anchors.depth_m, rows, columns)
        sigma = resize_map(anchors.relative_std_map, rows, columns)
        seen &= np.isfinite(depth) & np.isfinite(sigma)
        anchor[seen], mask[seen] = depth[seen], 1
        std[seen] = np.minimum(sigma[seen], MAX_RELATIVE_STD)
    tensors = (torch.from_numpy(array)[None].to(device) for array in (anchor, mask, std))
    return SceneInput(
        torch.from_numpy(small).permute(2, 0, 1)[None].float().div(255).to(device), K[None].to(device), *tensors
    )


def resize_map(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Nearest neighbour: depths are not mixed across edges, unknown ones not with known ones."""
    return cv2.resize(values, (columns, rows), interpolation=cv2.INTER_NEAREST)
