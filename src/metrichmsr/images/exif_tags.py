"""The EXIF tags that tell a focal length, read once and turned upright with the picture.

Tag numbers and meanings: CIPA DC-008 (Exif 2.32).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

_MAKE, _MODEL, _ORIENTATION = 0x010F, 0x0110, 0x0112
_EXIF_IFD = 0x8769
_FOCAL_LENGTH, _FOCAL_LENGTH_35MM = 0x920A, 0xA405
_PIXEL_X, _PIXEL_Y = 0xA002, 0xA003
_PLANE_X, _PLANE_Y, _PLANE_UNIT = 0xA20E, 0xA20F, 0xA210
_DIGITAL_ZOOM, _LENS_MODEL = 0xA404, 0xA434

# FocalPlaneResolutionUnit → millimetres. 4 and 5 are outside the standard, but cameras write them.
_UNIT_MM = {1: 25.4, 2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}


@dataclass(frozen=True)
class ExifTags:
    """What calibration needs to know of a photo's EXIF data. A tag that is absent, zero or broken is None or empty.

    Convention
        x and y are those of the *upright* picture. The file states them for the pixels as stored; where the photo was
        turned by a quarter they were exchanged at reading.
    """

    orientation: int = 1
    """Orientation tag of the file (1 to 8), already applied to the pixels."""
    make: str = ""
    """Maker of the camera."""
    model: str = ""
    """Model of the camera."""
    lens_model: str = ""
    """Model of the lens."""
    focal_length_mm: float | None = None
    """Focal length of the lens, millimetres."""
    focal_length_35mm: float | None = None
    """Focal length that gives the same diagonal field of view on 36×24 mm film, millimetres (whole in most files)."""
    digital_zoom: float | None = None
    """Digital zoom ratio; None where none was used."""
    plane_x_px_per_mm: float | None = None
    """Pixels per millimetre of sensor along x, of the picture as it was taken."""
    plane_y_px_per_mm: float | None = None
    """Pixels per millimetre of sensor along y, of the picture as it was taken."""
    pixel_x_dimension: int | None = None
    """Width of the picture when the camera (or an editor that keeps books) wrote it."""
    pixel_y_dimension: int | None = None
    """Height of the picture when the camera (or an editor that keeps books) wrote it."""


def read_exif_tags(image: Image.Image) -> ExifTags:
    """Tags of an opened, not yet decoded image; damaged EXIF data are as good as none."""
    try:
        main = image.getexif()
        sub = main.get_ifd(_EXIF_IFD)
    except Exception:  # parsers of damaged EXIF raise whatever they stumble over
        return ExifTags()
    orientation = main.get(_ORIENTATION)
    # HEIF: the decoder has turned the picture and put this aside.
    orientation = image.info.get("original_orientation") or orientation
    if not isinstance(orientation, int) or not 1 <= orientation <= 8:
        orientation = 1
    unit_mm = _UNIT_MM.get(sub.get(_PLANE_UNIT, 2), 25.4)
    x_res, y_res = _positive(sub, _PLANE_X), _positive(sub, _PLANE_Y)
    pixel_x, pixel_y = _positive(sub, _PIXEL_X), _positive(sub, _PIXEL_Y)
    if orientation >= 5:  # turned by a quarter
        x_res, y_res, pixel_x, pixel_y = y_res, x_res, pixel_y, pixel_x
    zoom = _positive(sub, _DIGITAL_ZOOM)
    return ExifTags(
        orientation=orientation,
        make=_text(main, _MAKE),
        model=_text(main, _MODEL),
        lens_model=_text(sub, _LENS_MODEL),
        focal_length_mm=_positive(sub, _FOCAL_LENGTH),
        focal_length_35mm=_positive(sub, _FOCAL_LENGTH_35MM),
        digital_zoom=zoom if zoom is not None and zoom > 1 else None,
        plane_x_px_per_mm=None if x_res is None else x_res / unit_mm,
        plane_y_px_per_mm=None if y_res is None else y_res / unit_mm,
        pixel_x_dimension=None if pixel_x is None else round(pixel_x),
        pixel_y_dimension=None if pixel_y is None else round(pixel_y),
    )


def _positive(tags: Mapping[int, Any], tag: int) -> float | None:
    value = tags.get(tag)
    if isinstance(value, tuple) and value:
        value = value[0]
    try:
        number = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _text(tags: Mapping[int, Any], tag: int) -> str:
    value = tags.get(tag, "")
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    return value.split("\0")[0].strip() if isinstance(value, str) else ""
