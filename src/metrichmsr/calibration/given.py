"""Intrinsics the user gives: a focal length, a field of view, or a file."""

from __future__ import annotations

import math

from metrichmsr.calibration.centred import centred_camera, long_fov_deg
from metrichmsr.calibration.film import focal_of_equivalent
from metrichmsr.calibration.intrinsics_file import read_intrinsics
from metrichmsr.calibration.options import CalibrationOptionsLike, check_options
from metrichmsr.errors import InputError, UsageError
from metrichmsr.geometry.cameras import fov_to_focal
from metrichmsr.images.photo import Photo
from metrichmsr.structures import Camera

NOMINAL_SIGMA = 0.02
"""Relative sigma of a focal length as it is engraved or advertised: rounding, tolerance, focus breathing."""

_MAX_FOV_DEG = 170.0  # no pinhole picture; a focal length in millimetres or of a normalised K ends up here


def given_camera(photo: Photo, options: CalibrationOptionsLike) -> Camera | None:
    """The camera the options state for this photo, source ``given``; None where they state none.

    Raises:
        UsageError: the options contradict each other or make no sense.
        InputError: the intrinsics file cannot be read, has nothing for this photo, or is for another size.
    """
    check_options(options)
    width, height = photo.width, photo.height
    if options.intrinsics is not None:
        file = read_intrinsics(options.intrinsics)
        intrinsics = file.find(photo.path)
        if intrinsics is None:
            raise InputError(f"{file.path}: no intrinsics for {photo.path.name} ({file.summary()})")
        camera = intrinsics.camera(photo, source="given")
        if long_fov_deg(width, height, camera.focal_px) > _MAX_FOV_DEG:
            raise InputError(
                f"{file.path}: a focal length of {camera.focal_px:.3g} px for {photo.path.name} ({width}×{height}): "
                "K must be in pixels, not normalised"
            )
        return camera
    if options.focal_px is not None:
        focal, std, said = float(options.focal_px), None, f"--focal-px {options.focal_px:g}"
    elif options.focal_35mm is not None:
        focal, open_sigma = focal_of_equivalent(options.focal_35mm, width, height)
        std, said = math.hypot(NOMINAL_SIGMA, open_sigma) * focal, f"--focal-35mm {options.focal_35mm:g}"
    elif options.fov is not None:
        focal, std, said = fov_to_focal(options.fov, width), None, f"--fov {options.fov:g}"
    else:
        return None
    fov = long_fov_deg(width, height, focal)
    if fov > _MAX_FOV_DEG:
        raise UsageError(f"{said} would let {photo.path.name} ({width}×{height}) see {fov:.1f}°: no photo does")
    return centred_camera(width, height, focal, source="given", focal_std_px=std)
