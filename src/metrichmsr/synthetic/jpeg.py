"""What JPEG does to a picture, without writing one: on any device, a quality for each picture of a batch.

Colour transform, 4:2:0 subsampling, 8×8 cosine transform, quantisation with the standard's tables scaled as libjpeg
does (ITU T.81, annex K); the lossless entropy coding is left out, it changes nothing.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *(((99,) * 8,) * 4),
)  # fmt: skip


def jpeg(pictures: Float[Tensor, "S H W 3"], quality: Float[Tensor, "S"]) -> Float[Tensor, "S H W 3"]:
    """Compress and decompress sRGB pictures in [0, 1].

    Args:
        pictures: any size; edges are repeated to whole blocks.
        quality: 1 to 100, as libjpeg counts.
    """
    height, width = pictures.shape[1:3]
    planes = pictures.permute(0, 3, 1, 2) * 255
    pad = (0, -width % 16, 0, -height % 16)
    planes = torch.nn.functional.pad(planes, pad, mode="replicate")
    red, green, blue = planes.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = torch.stack([0.564334 * (blue - luma), 0.713267 * (red - luma)], dim=1)
    small = torch.nn.functional.avg_pool2d(chroma, 2)
    luma = _quantise((luma - 128)[:, None], _LUMA, quality) + 128
    small = _quantise(small, _CHROMA, quality)
    cb, cr = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear").unbind(1)
    luma = luma[:, 0]
    rgb = torch.stack([luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb], dim=-1)
    return (rgb[:, :height, :width] / 255).clamp(0, 1)


def _quantise(
    planes: Float[Tensor, "S C H W"], table: tuple[tuple[int, ...], ...], quality: Float[Tensor, "S"]
) -> Float[Tensor, "S C H W"]:
    """Round the coefficients of all 8×8 blocks to their steps."""
    count, channels, height, width = planes.shape
    blocks = planes.view(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    cosine = _cosine(planes)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    steps = ((planes.new_tensor(table) * scale[:, None, None] + 50) / 100).floor().clamp(1, 255)
    steps = steps[:, None, None, None]
    coefficients = cosine @ blocks @ cosine.T
    blocks = cosine.T @ (coefficients.div_(steps).round_().mul_(steps)) @ cosine
    return blocks.transpose(3, 4).reshape(planes.shape)


def _cosine(like: Tensor) -> Float[Tensor, "8 8"]:
    """Orthonormal cosine transform."""
    k = torch.arange(8, dtype=like.dtype, device=like.device)
    matrix = torch.cos(math.pi / 8 * (k[None] + 0.5) * k[:, None]) * 0.5
    matrix[0] *= math.sqrt(0.5)
    return matrix
