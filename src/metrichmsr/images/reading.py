"""A file to a :class:`Photo`: checked before it is decoded, decoded whole or refused, turned upright."""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from metrichmsr.errors import InputError
from metrichmsr.images.exif_tags import ExifTags, read_exif_tags
from metrichmsr.images.media import RAW_SUFFIXES, sniff
from metrichmsr.images.photo import MAX_PIXELS, Photo, check_size
from metrichmsr.images.pixels import PixelError, to_srgb

# Photo formats only: Pillow also opens PostScript (by running Ghostscript), icons, fonts and scientific grids.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "HEIF", "AVIF", "BMP", "DIB", "GIF", "JPEG2000", "PPM")

# EXIF orientation → what brings the stored pixels upright (CIPA DC-008, tag 0112).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Formats that arrive upright: Pillow turns TIFFs while it loads them, libheif obeys the file's own transformations.
_TURNED_BY_DECODER = ("TIFF", "HEIF")

_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")

_header_lock = threading.Lock()


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a photo as upright 8-bit RGB.

    JPEG (MPO too), PNG, WebP, TIFF, HEIC/HEIF, AVIF (with Pillow 11.3 or newer), BMP, GIF, JPEG 2000 and PPM; of files
    with several pictures the first (``remarks`` says so of animations and TIFFs). Grey, palette, alpha (laid over
    white), CMYK, 16-bit and float pixels become 8-bit RGB; an embedded colour profile is applied.

    Args:
        path: the file.
        max_pixels: pictures of more pixels are refused before they are decoded.

    Raises:
        InputError: there is no such file, it cannot be read, is not an image, is damaged or cut off, or its size is
            refused.
    """
    path = Path(path)
    with _open_file(path) as file:
        try:
            with _opened(file) as (image, tags):
                check_size(*image.size, name=path, max_pixels=max_pixels)
                rgb = _decode(image, tags.orientation)
                remarks = _left_out(image)
        except InputError:
            raise
        except UnidentifiedImageError:
            raise InputError(f"{path}: {_why_unidentified(file)}") from None
        except PixelError as error:
            raise InputError(f"{path}: {error}") from None
        except MemoryError:
            raise InputError(f"{path}: not enough memory to decode it") from None
        except Exception as error:
            # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, … for one and the same thing.
            cause = " ".join(str(error).split()).removeprefix("image file is truncated").strip(" ()")
            raise InputError(f"{path}: image is damaged or cut off" + (f" ({cause})" if cause else "")) from error
    return Photo(rgb=rgb, path=path, exif=tags, remarks=remarks)


@contextmanager
def _open_file(path: Path) -> Iterator[BinaryIO]:
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder, not an image")
        if not path.exists():
            raise InputError(f"{path}: no such file")
        if not path.is_file():  # a pipe would wait forever
            raise InputError(f"{path}: not a regular file")
        if path.suffix.lower() in RAW_SUFFIXES:
            # Pillow would take such a file for a TIFF and give its thumbnail.
            raise InputError(f"{path}: camera RAW files cannot be read; export it as JPEG or TIFF")
        file = path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    with file:
        if os.fstat(file.fileno()).st_size == 0:
            raise InputError(f"{path}: the file is empty")
        yield file


@contextmanager
def _opened(file: BinaryIO) -> Iterator[tuple[Image.Image, ExifTags]]:
    """Pillow's image and its tags, with the header read and no pixel decoded.

    Pillow's own pixel limit and the filters of ``warnings`` belong to the whole process, so they are changed under a
    lock and for the time of reading a header only: our limit, checked right after, replaces Pillow's, and remarks about
    broken metadata are no concern of the user.
    """
    formats = _known_formats()
    with _header_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(file, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
        tags = read_exif_tags(image)
    with image:
        yield image, tags


@functools.lru_cache(maxsize=1)
def _known_formats() -> tuple[str, ...]:
    import pillow_heif

    pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _decode(image: Image.Image, orientation: int) -> np.ndarray:
    image.load()
    rgb = to_srgb(image)
    if image.format not in _TURNED_BY_DECODER and orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    return np.array(rgb)


def _left_out(image: Image.Image) -> tuple[str, ...]:
    """A remark where the file has more pictures than the one that was read."""
    # Not MPO and HEIC: what phones put behind the first picture is made for programs.
    if image.format not in (*_ANIMATED, "TIFF"):
        return ()
    try:
        more = bool(getattr(image, "is_animated", False))
    except Exception:  # damage behind the first picture, which is whole
        return ()
    whole = "; saved as a video, it is read whole" if image.format in _ANIMATED else ""
    return (f"only the first of the pictures in this file was read{whole}",) if more else ()


def _why_unidentified(file: BinaryIO) -> str:
    file.seek(0)
    head = file.read(512)
    kind = sniff(head)
    if kind == "video":
        return "is a video, not an image"
    if kind == "image":
        return "an image of a kind that cannot be decoded, or damaged at its beginning"
    return "not an image (JPEG, PNG, WebP, TIFF, HEIC, AVIF, BMP and GIF can be read)"
