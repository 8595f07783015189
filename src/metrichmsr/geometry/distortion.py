"""Radial-tangential lens distortion (Brown–Conrady), and its removal at the door.

    r² = x² + y²
    x' = x·(1 + k1·r² + k2·r⁴ + k3·r⁶) + 2·p1·x·y + p2·(r² + 2·x²)
    y' = y·(1 + k1·r² + k2·r⁴ + k3·r⁶) + p1·(r² + 2·y²) + 2·p2·x·y

Convention
    (x, y) are ideal and (x', y') distorted points on the plane z = 1 of the camera frame. Coefficients are OpenCV's, in
    OpenCV's order (k1, k2, p1, p2, k3). Pixels are continuous (centre of the first one at 0.5); OpenCV counts from
    pixel centres, so half a pixel is taken off wherever its functions are called.

OpenCV's documentation of ``projectPoints`` states the model. The inversion is Newton's method instead of the
fixed-point iteration of ``undistortPoints``, which stops converging under strong distortion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from metrichmsr.geometry.cameras import pixel_centers
from metrichmsr.structures import Camera

Coefficients = Sequence[float] | Float[Tensor, "5"]
"""(k1, k2, p1, p2, k3), OpenCV's order."""

_NEWTON_STEPS = 30
_STRIP_ROWS = 128  # rows whose maps are in memory at a time
_REMAP_SIDE_LIMIT = 32766  # cv2.remap indexes with 16-bit integers


def distort(points: Float[Tensor, "*B 2"], coefficients: Coefficients) -> Float[Tensor, "*B 2"]:
    """Ideal points on the plane z = 1 to where the lens puts them, on the same plane."""
    k1, k2, p1, p2, k3 = coefficients
    x, y = points.unbind(-1)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return torch.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ],
        dim=-1,
    )


def undistort(points: Float[Tensor, "*B 2"], coefficients: Coefficients) -> Float[Tensor, "*B 2"]:
    """Distorted points on the plane z = 1 to ideal ones: the inverse of :func:`distort`.

    Newton's method, to the precision of the points' dtype (better than 1e-8 in float64 for points up to 3).

    Returns:
        Ideal points within :func:`valid_radius`; NaN for distorted points that no ideal point there is mapped to.
    """
    k1, k2, p1, p2, k3 = coefficients
    reach = valid_radius(coefficients)
    target, guess = points, points
    # A start beyond the turning point of the radial curve would run away from the solution.
    radius = guess.norm(dim=-1, keepdim=True)
    if math.isfinite(reach):
        guess = guess * (0.99 * reach / radius).clamp(max=1.0)
    for _ in range(_NEWTON_STEPS):
        residual = distort(guess, coefficients) - target
        x, y = guess.unbind(-1)
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        slope = 2 * (k1 + r2 * (2 * k2 + r2 * 3 * k3))  # d radial / d r² · 2
        xx = radial + slope * x * x + 2 * p1 * y + 6 * p2 * x
        yy = radial + slope * y * y + 6 * p1 * y + 2 * p2 * x
        xy = slope * x * y + 2 * p1 * x + 2 * p2 * y
        determinant = xx * yy - xy * xy
        u, v = residual.unbind(-1)
        step = torch.stack([yy * u - xy * v, xx * v - xy * u], dim=-1) / determinant[..., None]
        # Never leave the valid disc by more than a hair: outside it another branch of the curve waits.
        guess = guess - step
        if math.isfinite(reach):
            guess = guess * (reach / guess.norm(dim=-1, keepdim=True).clamp(min=1e-12)).clamp(max=1.0)
    residual = (distort(guess, coefficients) - target).norm(dim=-1, keepdim=True)
    tolerance = 1e4 * torch.finfo(points.dtype).eps * target.norm(dim=-1, keepdim=True).clamp(min=1.0)
    return torch.where(residual <= tolerance, guess, torch.full_like(guess, torch.nan))


def valid_radius(coefficients: Coefficients) -> float:
    """Largest radius on the plane z = 1 up to which distortion is one-to-one; infinite where it always is.

    Beyond the first turning point of r·(1 + k1·r² + k2·r⁴ + k3·r⁶) the polynomial maps outward points inward again,
    which no lens does: coefficients mean nothing there.
    """
    k1, k2, _, _, k3 = (float(c) for c in coefficients)
    # d/dr of the radial curve, as a polynomial in r²: 1 + 3·k1·r² + 5·k2·r⁴ + 7·k3·r⁶.
    roots = np.roots(np.trim_zeros([7 * k3, 5 * k2, 3 * k1, 1.0], "f"))
    turning = roots[(np.abs(roots.imag) < 1e-9 * np.abs(roots)) & (roots.real > 0)].real
    return math.sqrt(turning.min()) if len(turning) else math.inf


def undistort_pixels(
    pixels: Float[Tensor, "*B 2"], K: Float[Tensor, "3 3"], coefficients: Coefficients
) -> Float[Tensor, "*B 2"]:
    """Continuous pixels of the photo as it came to continuous pixels of :func:`undistort_image`'s picture (same K)."""
    plane = (_homogeneous(pixels) @ torch.linalg.inv(K).transpose(-1, -2))[..., :2]
    return (_homogeneous(undistort(plane, coefficients)) @ K.transpose(-1, -2))[..., :2]


def distort_pixels(
    pixels: Float[Tensor, "*B 2"], K: Float[Tensor, "3 3"], coefficients: Coefficients
) -> Float[Tensor, "*B 2"]:
    """The inverse of :func:`undistort_pixels`: pixels of the undistorted picture to pixels of the photo as it came."""
    plane = (_homogeneous(pixels) @ torch.linalg.inv(K).transpose(-1, -2))[..., :2]
    return (_homogeneous(distort(plane, coefficients)) @ K.transpose(-1, -2))[..., :2]


def undistort_image(image: UInt8[np.ndarray, "H W 3"], camera: Camera) -> tuple[UInt8[np.ndarray, "H W 3"], Camera]:
    """Remove lens distortion from a picture.

    Size and K stay as they are, so a pixel near the principal point stays where it is, and the result needs no second
    set of intrinsics. The price is paid at the borders: where the lens drew the scene together (barrel, k1 < 0) the
    outermost scene content falls outside the picture; where it pulled it apart (pincushion, k1 > 0), or where the
    coefficients mean nothing (:func:`valid_radius`), black appears.

    Args:
        image: upright RGB.
        camera: its intrinsics with distortion; without, image and camera are returned as they are.

    Raises:
        ValueError: the camera is for another size, or a side is longer than 32766 pixels.
    """
    height, width = image.shape[:2]
    if (camera.width, camera.height) != (width, height):
        raise ValueError(f"camera is for {camera.width}×{camera.height}, image is {width}×{height}")
    if camera.distortion is None or not any(camera.distortion):
        return image, camera.replace(distortion=None)
    if max(width, height) > _REMAP_SIDE_LIMIT:
        raise ValueError(
            f"an image with a side over {_REMAP_SIDE_LIMIT} pixels cannot be undistorted: {width}×{height}"
        )
    import cv2

    K = torch.from_numpy(camera.K).float()
    K_inverse = torch.from_numpy(np.linalg.inv(camera.K)).float()
    reach = valid_radius(camera.distortion)
    result = np.empty_like(image)
    for top in range(0, height, _STRIP_ROWS):
        rows = min(_STRIP_ROWS, height - top)
        pixels = pixel_centers(rows, width)
        pixels[..., 1] += top
        plane = (_homogeneous(pixels) @ K_inverse.T)[..., :2]
        source = (_homogeneous(distort(plane, camera.distortion)) @ K.T)[..., :2]
        x, y = source.unbind(-1)
        seen = (x >= 0) & (x <= width) & (y >= 0) & (y <= height) & (plane.norm(dim=-1) <= reach)
        maps = (source - 0.5).numpy()  # cv2 counts from pixel centres
        strip = cv2.remap(image, maps[..., 0], maps[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        strip[~seen.numpy()] = 0
        result[top : top + rows] = strip
    return result, camera.replace(distortion=None)


def _homogeneous(points: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 3"]:
    return torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)
