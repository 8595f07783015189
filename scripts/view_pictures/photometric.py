"""What cameras and the web do to a picture: exposure, colour, sharpness, noise, compression, mirroring."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from jaxtyping import UInt8

from view_pictures.views import View

SOFT = (50.0, 140.0)
"""Details across the longer side of a view of a panorama. Drawn whatever the field of view is: were it not, the network
would read the field of view off the sharpness, as panoramas have three pixels a degree."""
SHARP = (90.0, 512.0)


def augment(view: View, rng: np.random.Generator, *, soft: bool) -> View:
    """The view after all that; mirrored half of the time.

    Args:
        view: as it was drawn.
        rng: the randomness.
        soft: leave as little detail as all views of a panorama have.
    """
    image = _detail(view.image, rng, SOFT if soft else SHARP)
    pixels = image.astype(np.float32) / 255
    pixels = pixels ** math.exp(rng.normal(0, 0.25)) * math.exp(rng.normal(0, 0.2))
    pixels *= np.exp(rng.normal(0, 0.07, 3)).astype(np.float32)
    gray = pixels.mean(-1, keepdims=True)
    pixels = gray + (pixels - gray) * (0.0 if rng.random() < 0.05 else rng.uniform(0.5, 1.4))
    middle = pixels.mean()
    pixels = middle + (pixels - middle) * rng.uniform(0.7, 1.25)
    if rng.random() < 0.5:
        pixels += rng.normal(0, 1, pixels.shape).astype(np.float32) * rng.uniform(0, 0.04)
    if rng.random() < 0.02:
        pixels *= rng.uniform(0, 0.1)  # nearly black: there is nothing to go by
    image = (pixels.clip(0, 1) * 255).round().astype(np.uint8)
    if rng.random() < 0.8:
        quality = int(rng.uniform(30, 96))
        _, packed = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = cv2.imdecode(packed, cv2.IMREAD_COLOR)
        image = image if decoded is None else decoded[..., ::-1]
    if rng.random() < 0.5:
        return dataclasses.replace(view, image=np.ascontiguousarray(image[:, ::-1]), roll=-view.roll)
    return dataclasses.replace(view, image=image)


def soften(image: UInt8[np.ndarray, "H W 3"], details: float) -> UInt8[np.ndarray, "H W 3"]:
    """The picture with so many details across its longer side, at its size."""
    height, width = image.shape[:2]
    scale = details / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(
        cv2.resize(image, size, interpolation=cv2.INTER_AREA), (width, height), interpolation=cv2.INTER_CUBIC
    )


def _detail(
    image: UInt8[np.ndarray, "H W 3"], rng: np.random.Generator, limits: tuple[float, float]
) -> UInt8[np.ndarray, "H W 3"]:
    image = soften(image, math.exp(rng.uniform(*np.log(limits))))
    if rng.random() < 0.15:
        length = int(rng.integers(3, 10))
        kernel = np.zeros((length, length), np.float32)
        angle = rng.uniform(0, math.pi)
        reach = (length - 1) / 2 * np.array([math.cos(angle), math.sin(angle)])
        middle = (length - 1) / 2
        ends = [tuple(np.round(middle + sign * reach).astype(int).tolist()) for sign in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0)
        image = cv2.filter2D(image, -1, kernel / kernel.sum())
    if rng.random() < 0.3:  # sharpened, as phones do
        blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(1, 3))
        amount = rng.uniform(0.3, 1.5)
        image = cv2.addWeighted(image, 1 + amount, blurred, -amount, 0)
    return image
