"""What every real set shares: where it lies, a photo on disk with its camera, and the frame of its numbers.

Convention
    Pixels are continuous (centre of the top-left pixel at 0.5, 0.5). Sources count otherwise, and are converted here,
    once: OpenCV-style calibrations and 0-based labels put that centre at 0 (:data:`ZERO_BASED`), MATLAB's at 1
    (:data:`ONE_BASED`). Labels speak of the stored pixels, so a rotation tag is *not* applied; no labelled photo of
    these sets carries one.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, UnidentifiedImageError

from metrichmsr.errors import InputError, UsageError
from metrichmsr.structures import Camera

DATA_VARIABLE = "METRICHMSR_REAL_DATA"
"""Environment variable that names the folder of real sets where no option does."""

ZERO_BASED = 0.5
"""Added to 0-based pixel indices (and to principal points stated in them) to get continuous pixels."""
ONE_BASED = -0.5
"""Added to 1-based (MATLAB) pixel indices to get continuous pixels."""


def real_data_folder(option: Path | str | None = None) -> Path:
    """The folder that holds the real sets: the option, else the environment variable ``METRICHMSR_REAL_DATA``.

    Raises:
        UsageError: neither names a folder.
        InputError: what they name is no folder.
    """
    named = option if option is not None else os.environ.get(DATA_VARIABLE)
    if not named:
        raise UsageError(f"no folder of real sets: give --data DIR or set {DATA_VARIABLE}")
    folder = Path(named)
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder of real sets")
    return folder


@dataclass(frozen=True)
class PhotoFile:
    """A photo on disk, not yet read, and the camera that took it where that is known."""

    path: Path
    """The image file."""
    camera: Camera | None = None
    """Given intrinsics in continuous pixels; None where the set has none."""

    def read(self) -> UInt8[np.ndarray, "H W 3"]:
        """The stored pixels as RGB, rotation tags not applied (see the module's convention)."""
        try:
            with Image.open(self.path) as image:
                return np.asarray(image.convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            raise InputError(f"{self.path}: cannot be read as an image ({error})") from error


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels from the file's header, without decoding it."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{path}: cannot be read as an image ({error})") from error


def given_camera(K: object, path: Path, *, pixel_offset: float, focal_std_px: float = 0.0) -> Camera:
    """The camera of one photo from a set's K.

    Args:
        K: 3×3, as the set states it.
        path: the photo, for its size.
        pixel_offset: added to the principal point to reach continuous pixels: :data:`ZERO_BASED` or 0.
        focal_std_px: what the set's own calibration may be off by; 0 takes it as exact.
    """
    matrix = np.array(K, dtype=np.float64)
    if matrix.shape != (3, 3):
        raise InputError(f"{path}: its K has shape {matrix.shape}, not 3×3")
    matrix[:2, 2] += pixel_offset
    width, height = image_size(path)
    return Camera(K=matrix, width=width, height=height, source="given", focal_std_px=focal_std_px)


def read_json(path: Path) -> Any:
    """A JSON file, with an error that names it.

    Raises:
        InputError: it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from error


def entry(record: Any, key: str, path: Path) -> Any:
    """``record[key]``, with an error that names the file where it is missing."""
    if not isinstance(record, dict) or key not in record:
        raise InputError(f"{path}: no {key!r} where one is expected")
    return record[key]


def numbers(values: object, shape: tuple[int, ...], path: Path, what: str) -> Float[np.ndarray, "*S"]:
    """``values`` as a float64 array of the given shape (-1: any length), with an error that names the file."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {what} is not numeric") from error
    if array.ndim != len(shape) or any(want not in (-1, got) for want, got in zip(shape, array.shape, strict=True)):
        raise InputError(f"{path}: {what} has shape {array.shape}, expected {shape}")
    return array


def list_photos(folder: Path) -> list[Path]:
    """The photos without ground truth (set ``photos``), by name."""
    photos = folder / "photos"
    if not photos.is_dir():
        raise InputError(f"{photos}: not a folder")
    known = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".heic", ".bmp"}
    return sorted(path for path in photos.iterdir() if path.suffix.lower() in known)
