"""Square crops around people, and what a crop does to the intrinsics.

``K_crop = S·T·K``: T moves the origin to the box corner, S scales source pixels to crop pixels. This is the only place
where it is written (METHOD §1 of the paper: the closed form of K').
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def square_box(boxes_xyxy: Float[Tensor, "*B 4"], *, margin: float = 1.0) -> Float[Tensor, "*B 4"]:
    """The smallest square around each box, same centre, side multiplied by ``margin``. May leave the image."""
    center = 0.5 * (boxes_xyxy[..., :2] + boxes_xyxy[..., 2:])
    side = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).amax(-1, keepdim=True) * margin
    return torch.cat([center - side / 2, center + side / 2], dim=-1)


def crop_from_image_matrix(
    boxes_xyxy: Float[Tensor, "*B 4"], *, crop_height: int, crop_width: int
) -> Float[Tensor, "*B 3 3"]:
    """``S·T``: the 3×3 matrix from continuous image pixels to continuous crop pixels.

    Args:
        boxes_xyxy: regions of the image that become the whole crop, continuous pixels; may leave the image.
        crop_height: rows of the crop.
        crop_width: columns of the crop.
    """
    x0, y0, x1, y1 = boxes_xyxy.unbind(-1)
    scale_x, scale_y = crop_width / (x1 - x0), crop_height / (y1 - y0)
    zero, one = torch.zeros_like(x0), torch.ones_like(x0)
    rows = [scale_x, zero, -x0 * scale_x, zero, scale_y, -y0 * scale_y, zero, zero, one]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def crop_intrinsics(
    K: Float[Tensor, "*B 3 3"], boxes_xyxy: Float[Tensor, "*B 4"], *, crop_height: int, crop_width: int
) -> Float[Tensor, "*B 3 3"]:
    """K' of the crop (paper §3.1: K' = [[fx/s, 0, (cx−u_b)/s], [0, fy/s, (cy−v_b)/s], [0, 0, 1]])."""
    return crop_from_image_matrix(boxes_xyxy, crop_height=crop_height, crop_width=crop_width) @ K
