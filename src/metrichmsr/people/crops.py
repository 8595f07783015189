"""Square, rotated regions around people and the 256×256 crops the landmark network reads.

Convention: a region is ``(center_x, center_y, size, rotation)``: continuous image pixels and radians. ``rotation`` is
how far the person is turned from upright, clockwise as seen in the image, so that the person's up direction is
``(sin r, −cos r)``; the crop turns it back to point up.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from jaxtyping import Float, UInt8


def crop_from_image_matrices(regions: Float[np.ndarray, "N 4"], *, crop_size: int) -> Float[np.ndarray, "N 3 3"]:
    """3×3 matrices from continuous image pixels to continuous crop pixels."""
    regions = np.asarray(regions, dtype=np.float64)
    center, size, rotation = regions[:, :2], regions[:, 2], regions[:, 3]
    cos, sin = np.cos(rotation) * crop_size / size, np.sin(rotation) * crop_size / size
    matrices = np.zeros((len(regions), 3, 3))
    matrices[:, 0, 0], matrices[:, 0, 1] = cos, sin
    matrices[:, 1, 0], matrices[:, 1, 1] = -sin, cos
    matrices[:, :2, 2] = crop_size / 2 - np.einsum("nij,nj->ni", matrices[:, :2, :2], center)
    matrices[:, 2, 2] = 1
    return matrices


def regions_of_crops(crop_from_image: Float[np.ndarray, "N 3 3"], *, crop_size: int) -> Float[np.ndarray, "N 4"]:
    """The regions that :func:`crop_from_image_matrices` makes these matrices of."""
    middle = np.linalg.inv(crop_from_image) @ (crop_size / 2, crop_size / 2, 1.0)
    cos, sin = crop_from_image[:, 0, 0], crop_from_image[:, 0, 1]
    return np.stack([middle[:, 0], middle[:, 1], crop_size / np.hypot(cos, sin), np.arctan2(sin, cos)], axis=-1)


def transform_points(
    matrices: Float[np.ndarray, "N 3 3"], points: Float[np.ndarray, "N P 2"]
) -> Float[np.ndarray, "N P 2"]:
    """Affine 3×3 matrices applied to points, a matrix per row."""
    return np.einsum("nij,npj->npi", matrices[:, :2, :2], points) + matrices[:, None, :2, 2]


def extract_crops(
    image: UInt8[np.ndarray, "H W 3"], regions: Float[np.ndarray, "N 4"], *, crop_size: int
) -> UInt8[np.ndarray, "N S S 3"]:
    """Sample each region; black outside the image.

    Regions larger than the crop are averaged over blocks of whole pixels before they are sampled, so that large photos
    do not alias. Only the region's own surroundings are touched: the cost does not grow with the image.
    """
    crops = np.zeros((len(regions), crop_size, crop_size, 3), np.uint8)
    matrices = crop_from_image_matrices(regions, crop_size=crop_size)
    for crop, region, matrix in zip(crops, regions, matrices, strict=True):
        _sample(image, region, matrix, crop)
    return crops


def _sample(
    image: UInt8[np.ndarray, "H W 3"],
    region: Float[np.ndarray, "4"],
    crop_from_image: Float[np.ndarray, "3 3"],
    crop: UInt8[np.ndarray, "S S 3"],
) -> None:
    """Fill ``crop``."""
    center_x, center_y, size, rotation = (float(v) for v in region)
    block = max(1, round(size / len(crop)))
    reach = size / 2 * (abs(math.cos(rotation)) + abs(math.sin(rotation))) + 2 * block
    # Blocks start at the region's own corner, so that moving image and region together changes nothing.
    x0, y0 = math.floor(center_x - reach), math.floor(center_y - reach)
    x1, y1 = math.ceil(center_x + reach), math.ceil(center_y + reach)
    height, width = image.shape[:2]
    left, top = _blocks_before(x0, block), _blocks_before(y0, block)
    x0, y0, x1, y1 = x0 + left * block, y0 + top * block, min(x1, width), min(y1, height)
    if x0 >= x1 or y0 >= y1:
        return
    inside_x, inside_y = max(x0, 0), max(y0, 0)
    patch = image[inside_y:y1, inside_x:x1]
    if block > 1:
        columns, rows = -(-(x1 - x0) // block), -(-(y1 - y0) // block)
        patch = cv2.copyMakeBorder(
            patch,
            inside_y - y0,
            rows * block - (y1 - y0),
            inside_x - x0,
            columns * block - (x1 - x0),
            cv2.BORDER_CONSTANT,
        )
        patch = cv2.resize(patch, (columns, rows), interpolation=cv2.INTER_AREA)
    else:
        x0, y0 = inside_x, inside_y
    # OpenCV puts pixel centres at integers: half a pixel in the patch before, half a pixel in the crop behind.
    image_from_patch = np.array([[block, 0, x0 + block / 2], [0, block, y0 + block / 2], [0, 0, 1.0]])
    crop_from_patch = crop_from_image @ image_from_patch
    crop_from_patch[:2, 2] -= 0.5
    cv2.warpAffine(np.ascontiguousarray(patch), crop_from_patch[:2], crop.shape[:2], dst=crop, flags=cv2.INTER_LINEAR)


def _blocks_before(start: int, block: int) -> int:
    """Whole blocks that lie before the image's first pixel."""
    return max(0, -start) // block
