"""Bounding camera ray map (paper §3.1): every crop pixel's viewing ray, aligned with the crop pixel by pixel.

It carries intrinsics, box position and box scale at once, so the network sees *where* in the camera the crop lies.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.geometry.cameras import pixel_centers
from metrichmsr.geometry.crops import crop_intrinsics


def ray_map(K: Float[Tensor, "*B 3 3"], *, height: int, width: int) -> Float[Tensor, "*B 3 H W"]:
    """Rays d = K⁻¹[u, v, 1]ᵀ at all pixel centres, camera frame, scaled to z = 1 (not unit length)."""
    centers = pixel_centers(height, width, dtype=K.dtype, device=K.device)
    homogeneous = torch.cat([centers, torch.ones_like(centers[..., :1])], dim=-1)
    return torch.einsum("...ij,hwj->...ihw", torch.linalg.inv(K), homogeneous)


def bounding_ray_map(
    K: Float[Tensor, "*B 3 3"], boxes_xyxy: Float[Tensor, "*B 4"], *, crop_height: int, crop_width: int
) -> Float[Tensor, "*B 3 H W"]:
    """Ray map of a crop: K'⁻¹[u, v, 1]ᵀ over the crop's pixel centres (paper §3.1).

    Args:
        K: intrinsics of the whole image, continuous pixels.
        boxes_xyxy: the region of the image that became the crop, continuous pixels.
        crop_height: rows of the crop.
        crop_width: columns of the crop.
    """
    K_crop = crop_intrinsics(K, boxes_xyxy, crop_height=crop_height, crop_width=crop_width)
    return ray_map(K_crop, height=crop_height, width=crop_width)
