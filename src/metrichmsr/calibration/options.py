"""What the user may say about the camera, and whether it makes sense."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from metrichmsr.errors import UsageError

EstimatorName = Literal["panorama", "none", "anycalib", "geocalib", "moge", "mapanything"]
"""Who is asked where nothing is known: the network that comes along, nobody (the rule of the paper), or one that is
installed."""


class CalibrationOptionsLike(Protocol):
    """Anything with these attributes: :class:`CalibrationOptions`, or the options of the whole recovery."""

    @property
    def focal_px(self) -> float | None: ...  # noqa: D102
    @property
    def focal_35mm(self) -> float | None: ...  # noqa: D102
    @property
    def fov(self) -> float | None: ...  # noqa: D102
    @property
    def intrinsics(self) -> Path | None: ...  # noqa: D102
    @property
    def calibrate(self) -> EstimatorName: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """What is known about the camera of all pictures; at most one of the first four."""

    focal_px: float | None = None
    """Focal length in pixels of the upright picture."""
    focal_35mm: float | None = None
    """Focal length as 35 mm equivalent, millimetres, as data sheets and EXIF state it: by the diagonal, of the whole
    4:3 or 3:2 frame where the picture is a part of one (16:9, square)."""
    fov: float | None = None
    """Field of view across the width of the upright picture, degrees."""
    intrinsics: Path | None = None
    """Intrinsics file, JSON or COLMAP's cameras.txt."""
    calibrate: EstimatorName = "panorama"
    """The estimator to ask where neither these options nor the photo tell; ``none`` assumes the longer side."""


def check_options(options: CalibrationOptionsLike) -> None:
    """Refuse what makes no sense for any picture.

    Raises:
        UsageError: more than one way to give the focal length, or a number no camera has.
        InputError: the intrinsics file cannot be read.
    """
    named = {
        "--focal-px": options.focal_px,
        "--focal-35mm": options.focal_35mm,
        "--fov": options.fov,
        "--intrinsics": options.intrinsics,
    }
    used = [name for name, value in named.items() if value is not None]
    if len(used) > 1:
        raise UsageError(f"{' and '.join(used)} contradict each other: give one of them")
    for name in ("--focal-px", "--focal-35mm"):
        value = named[name]
        if isinstance(value, (int, float)) and not (math.isfinite(value) and value > 0):
            raise UsageError(f"{name} must be a positive number, not {value:g}")
    if options.fov is not None and not 0 < options.fov < 180:  # false for NaN too
        raise UsageError(f"--fov must lie between 0 and 180 degrees, not {options.fov:g}")
    if options.intrinsics is not None:
        from metrichmsr.calibration.intrinsics_file import read_intrinsics

        read_intrinsics(options.intrinsics)
