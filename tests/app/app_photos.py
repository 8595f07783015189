"""Made-up people and photos that the app's tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

STATURES = (1.83, 1.21)


def save_photo(path: Path, width: int = 160, height: int = 120) -> Path:
    pixels = np.random.default_rng(0).integers(60, 120, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path
