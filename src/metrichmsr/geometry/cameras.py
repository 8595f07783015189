"""The pinhole camera.

Convention
    Camera frame OpenCV: x right, y down, z forward, metres. Pixels are continuous with the origin at the outer corner
    of the top-left pixel, so the centre of pixel (column i, row j) is (i + 0.5, j + 0.5). K is stated in these
    pixels. Depth is z-depth, never ray length.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def intrinsics(
    fx: float, fy: float, cx: float, cy: float, *, dtype: torch.dtype = torch.float64
) -> Float[Tensor, "3 3"]:
    """K from focal lengths and principal point, all in pixels."""
    return torch.tensor([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]], dtype=dtype)


def invert_intrinsics(K: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 3 3"]:
    """K⁻¹ in closed form, where the last row of K is (0, 0, 1), as that of every camera and crop is.

    Unlike a general inverse it can be traced into graphs of other runtimes.
    """
    (a, b, u), (c, d, v), (zero, _, one) = (row.unbind(-1) for row in K.unbind(-2))
    size = a * d - b * c
    rows = [d, -b, b * v - d * u, -c, a, c * u - a * v, zero, zero, one * size]
    return (torch.stack(rows, dim=-1) / size[..., None]).unflatten(-1, (3, 3))


def fov_to_focal(fov_deg: float, length_px: float) -> float:
    """Focal length in pixels of a centred camera that sees ``fov_deg`` degrees across ``length_px`` pixels."""
    return 0.5 * length_px / math.tan(math.radians(fov_deg) / 2)


def scale_intrinsics(K: Float[Tensor, "*B 3 3"], scale_x: float, scale_y: float) -> Float[Tensor, "*B 3 3"]:
    """K of the image resized by the given factors.

    In continuous pixels resizing is a plain multiplication: no half-pixel terms appear.
    """
    factors = torch.tensor([scale_x, scale_y, 1.0], dtype=K.dtype, device=K.device)
    return K * factors[:, None]


def mirror_intrinsics(K: Float[Tensor, "*B 3 3"], width: float) -> Float[Tensor, "*B 3 3"]:
    """K of the mirrored image: u → width − u, and the camera frame's x → −x, so that K stays one."""
    mirrored = K.clone()
    mirrored[..., 0, 1] = -K[..., 0, 1]
    mirrored[..., 0, 2] = width - K[..., 0, 2]
    return mirrored


def project(points: Float[Tensor, "*B N 3"], K: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B N 2"]:
    """Camera-frame points (metres) to continuous pixels.

    Points with z ≤ 0 lie behind the camera: there the result means nothing; check ``points[..., 2]``.
    """
    homogeneous = points @ K.transpose(-1, -2)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def unproject(
    pixels: Float[Tensor, "*B N 2"], depth_m: Float[Tensor, "*B N"], K: Float[Tensor, "*B 3 3"]
) -> Float[Tensor, "*B N 3"]:
    """Continuous pixels and z-depths (metres) to camera-frame points (metres): the inverse of :func:`project`."""
    ones = torch.ones_like(pixels[..., :1])
    rays = torch.cat([pixels, ones], dim=-1) @ torch.linalg.inv(K).transpose(-1, -2)
    return rays * depth_m[..., None]


def pixel_centers(
    height: int, width: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
) -> Float[Tensor, "H W 2"]:
    """Continuous coordinates (u, v) of all pixel centres: (i + 0.5, j + 0.5)."""
    v, u = torch.meshgrid(
        torch.arange(height, dtype=dtype, device=device) + 0.5,
        torch.arange(width, dtype=dtype, device=device) + 0.5,
        indexing="ij",
    )
    return torch.stack([u, v], dim=-1)
