"""Any pixel format to 8-bit sRGB: depth, palettes, alpha, CMYK and colour profiles.

Alpha is laid over white, as viewers show it. Depths above 8 bits are scaled by their full range. Colours are brought to
sRGB where the file carries a profile; without one they are taken to be sRGB.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8, UInt16
from PIL import Image

_OVERSHOOT = 1e-3  # of interpolation and rounding; more means another scale


class PixelError(ValueError):
    """Pixels whose numbers have no known scale; the message says which, for the caller to say where."""


def to_srgb(image: Image.Image) -> Image.Image:
    """A decoded Pillow image of any mode as mode RGB, sRGB.

    Raises:
        PixelError: its numbers have no known scale: 32-bit integers, floats outside [0, 1].
    """
    mode = image.mode
    if mode.startswith("I;16"):
        return _grey(reduce_uint16(np.asarray(image).astype(np.uint16, copy=False)))
    if mode == "I":
        # Pillow opens 16-bit grey PGMs so (and PNGs before 11.3). Elsewhere these are real 32-bit numbers.
        if image.format not in ("PNG", "PPM"):
            raise PixelError("32-bit integer pixels have no known scale: save it with 8 or 16 bits")
        return _grey(reduce_uint16(np.asarray(image).astype(np.uint16)))
    if mode == "F":
        return _grey(reduce_float(np.asarray(image)))
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        opaque = _apply_profile(rgba.convert("RGB"), image)
        return Image.composite(opaque, Image.new("RGB", image.size, "white"), rgba.getchannel("A"))
    if mode == "CMYK":
        # Adobe's JPEGs store CMYK inverted; Pillow has turned them back by the time they arrive here.
        return _apply_profile(image, image).convert("RGB")
    return _apply_profile(image.convert("RGB"), image)


def reduce_uint16(values: UInt16[np.ndarray, "*S"]) -> UInt8[np.ndarray, "*S"]:
    """0…65535 to 0…255, rounded."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def reduce_float(values: Float[np.ndarray, "*S"]) -> UInt8[np.ndarray, "*S"]:
    """Display values in [0, 1] to 0…255, rounded.

    Raises:
        PixelError: some value is not finite or lies outside [0, 1].
    """
    if not np.isfinite(values).all():
        raise PixelError("float pixels must be finite, found NaN or infinity")
    low, high = float(values.min()), float(values.max())
    if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
        raise PixelError(f"float pixels must lie in [0, 1], found {low:g} to {high:g}")
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def over_white(rgb: UInt8[np.ndarray, "H W C"], alpha: UInt8[np.ndarray, "H W 1"]) -> UInt8[np.ndarray, "H W C"]:
    """Lay a picture with (not premultiplied) alpha over white, rounded."""
    a = alpha.astype(np.uint16)
    return ((rgb * a + 255 * (255 - a) + 127) // 255).astype(np.uint8)


def _grey(values: UInt8[np.ndarray, "H W"]) -> Image.Image:
    return Image.fromarray(values).convert("RGB")


def _apply_profile(image: Image.Image, source: Image.Image) -> Image.Image:
    """Convert from the source's embedded ICC profile to sRGB, RGB and CMYK only; unusable profiles are left aside."""
    data = source.info.get("icc_profile")
    if not data:
        return image
    try:
        from PIL import ImageCms
    except ImportError:  # Pillow built without LittleCMS
        return image
    try:
        profile: Any = ImageCms.ImageCmsProfile(io.BytesIO(data))
        space = profile.profile.xcolor_space.strip()
        if space != image.mode or "srgb" in ImageCms.getProfileDescription(profile).lower():
            return image
        converted = ImageCms.profileToProfile(
            image,
            profile,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return image if converted is None else converted
