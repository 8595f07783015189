"""The photo as the texture of the surroundings, small enough for any program."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8

_TEXTURE_PX, _JPEG_QUALITY = 2048, 90


def photo_jpeg(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """An RGB picture as JPEG, its long side at most 2048 pixels."""
    scale = min(1.0, _TEXTURE_PX / max(image.shape[:2]))
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)[1].tobytes()
