"""What every reader gives: an upright picture, where it came from, and what its file says about the lens."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from metrichmsr.errors import InputError
from metrichmsr.images.exif_tags import ExifTags

MAX_PIXELS = 100_000_000
"""Pictures of more pixels are refused by default: a small file can unpack to more memory than a machine has."""

MIN_SIDE = 16
"""Pictures narrower or lower than this are refused: nobody can be recognised in so few pixels."""


@dataclass(frozen=True, eq=False)
class Photo:
    """An upright RGB picture.

    Convention
        EXIF rotation and mirroring have been applied: rows run from the top of the scene to its bottom. Boxes, K and
        the tags in ``exif`` speak of this upright picture.
    """

    rgb: UInt8[np.ndarray, "H W 3"] = field(repr=False)
    """Pixels, sRGB, own memory of this record (writable, contiguous)."""
    path: Path
    """The file it came from (for a video frame the video), or the name given to an array."""
    exif: ExifTags = field(default_factory=ExifTags)
    """What the file says about camera and lens; empty for arrays and video frames."""
    is_file: bool = True
    """Whether ``path`` is a file: only beside a file a sidecar is looked for."""
    remarks: tuple[str, ...] = ()
    """What the reader should tell of it, one line each."""

    @property
    def width(self) -> int:
        """Columns, pixels."""
        return self.rgb.shape[1]

    @property
    def height(self) -> int:
        """Rows, pixels."""
        return self.rgb.shape[0]


def check_size(width: int, height: int, *, name: str | Path, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse pictures too big to unpack or too small to hold a person.

    Raises:
        InputError: more than ``max_pixels`` pixels, or a side under :data:`MIN_SIDE`.
    """
    if width * height > max_pixels:
        size, limit = (f"{pixels / 1e6:,.1f}".removesuffix(".0") for pixels in (width * height, max_pixels))
        raise InputError(f"{name}: {width}×{height} are {size} megapixels, above the limit of {limit}")
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{name}: {width}×{height} pixels are too few to hold a person ({MIN_SIDE} a side at least)")
