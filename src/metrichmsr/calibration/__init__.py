"""Where K comes from: given ► sidecar ► EXIF ► estimated ► assumed. Each camera says which, and how sure it is.

| module | concept |
| --- | --- |
| :mod:`~metrichmsr.calibration.chain` | :func:`calibrate`, the one door: asks one after the other |
| :mod:`~metrichmsr.calibration.options` | what the user may say about the camera |
| :mod:`~metrichmsr.calibration.given` | the user's focal length, field of view or intrinsics file |
| :mod:`~metrichmsr.calibration.intrinsics_file` | intrinsics files: JSON, by file name or one for all |
| :mod:`~metrichmsr.calibration.colmap` | COLMAP's ``cameras.txt`` and ``images.txt`` |
| :mod:`~metrichmsr.calibration.sidecar` | an intrinsics file found beside the photo |
| :mod:`~metrichmsr.calibration.exif` | the focal length the camera wrote into the photo |
| :mod:`~metrichmsr.calibration.film` | 35 mm equivalents to pixels and back |
| :mod:`~metrichmsr.calibration.sensors` | sensor sizes of some cameras |
| :mod:`~metrichmsr.calibration.estimators` | what an estimator is; AnyCalib, GeoCalib and MoGe-2, where installed |
| :mod:`~metrichmsr.calibration.panorama` | the estimator that comes along: field of view, pitch and roll |
| :mod:`~metrichmsr.calibration.view_network` | its network, and how it reads a picture |
| :mod:`~metrichmsr.calibration.assumed` | the paper's rule where nothing is known |
| :mod:`~metrichmsr.calibration.centred` | a camera from a focal length alone |
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metrichmsr.calibration.assumed import assumed_camera
    from metrichmsr.calibration.chain import Calibration, calibrate
    from metrichmsr.calibration.estimators import Estimate, IntrinsicsEstimator, UpEstimate, load_estimator
    from metrichmsr.calibration.exif import exif_camera
    from metrichmsr.calibration.given import given_camera
    from metrichmsr.calibration.intrinsics_file import Intrinsics, IntrinsicsFile, read_intrinsics
    from metrichmsr.calibration.options import CalibrationOptions, check_options
    from metrichmsr.calibration.panorama import PanoramaEstimator, ViewEstimate, estimate_view
    from metrichmsr.calibration.sidecar import sidecar_camera

# Loaded when first used: options are checked before anything needs torch.
_HOMES = {
    "Calibration": "chain",
    "CalibrationOptions": "options",
    "Estimate": "estimators",
    "Intrinsics": "intrinsics_file",
    "IntrinsicsEstimator": "estimators",
    "IntrinsicsFile": "intrinsics_file",
    "PanoramaEstimator": "panorama",
    "UpEstimate": "estimators",
    "ViewEstimate": "panorama",
    "assumed_camera": "assumed",
    "calibrate": "chain",
    "check_options": "options",
    "estimate_view": "panorama",
    "exif_camera": "exif",
    "given_camera": "given",
    "load_estimator": "estimators",
    "read_intrinsics": "intrinsics_file",
    "sidecar_camera": "sidecar",
}

__all__ = [
    "Calibration",
    "CalibrationOptions",
    "Estimate",
    "Intrinsics",
    "IntrinsicsEstimator",
    "IntrinsicsFile",
    "PanoramaEstimator",
    "UpEstimate",
    "ViewEstimate",
    "assumed_camera",
    "calibrate",
    "check_options",
    "estimate_view",
    "exif_camera",
    "given_camera",
    "load_estimator",
    "read_intrinsics",
    "sidecar_camera",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
