"""The one door: asks one source of intrinsics after the other, and looks at the answer before it is used."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from metrichmsr.calibration.assumed import assumed_camera
from metrichmsr.calibration.estimators import IntrinsicsEstimator, UpEstimate, load_estimator
from metrichmsr.calibration.exif import exif_camera
from metrichmsr.calibration.given import given_camera
from metrichmsr.calibration.options import CalibrationOptionsLike, EstimatorName
from metrichmsr.calibration.sidecar import sidecar_camera
from metrichmsr.images.photo import Photo
from metrichmsr.structures import Camera

_PLAUSIBLE_FOV_DEG = (8.0, 130.0)
_OFF_CENTRE = 0.2  # of the side; uncropped photos stay within 0.05
_DISAGREE = 1.3  # factor between two focal lengths of one photo


@dataclass(frozen=True)
class Calibration:
    """A photo's camera, and what the user should know about it."""

    camera: Camera
    """With ``source`` and ``focal_std_px``; with ``distortion`` where the source knows it."""
    warnings: tuple[str, ...] = ()
    """One line each."""
    up: UpEstimate | None = None
    """Which way is up, where the camera was estimated and its estimator tells. Of a camera known otherwise ask
    :func:`~metrichmsr.calibration.panorama.estimate_view`."""


def calibrate(
    photo: Photo,
    options: CalibrationOptionsLike | None = None,
    *,
    estimator: IntrinsicsEstimator | None = None,
    sidecar: bool = True,
) -> Calibration:
    """The camera of a photo, from the first source that knows it.

    1. given: focal length, field of view or intrinsics file in ``options``
    2. sidecar: an intrinsics file beside the photo
    3. exif: what the camera wrote into the photo
    4. estimated: ``estimator``, or the network named in ``options.calibrate``
    5. estimated:panorama: the small network that comes along, unless ``options.calibrate`` is ``none``
    6. assumed: focal length = longer side (paper §3.1)

    Args:
        photo: the upright photo; K belongs to it.
        options: what the user knows.
        estimator: goes before ``options.calibrate``.
        sidecar: whether to look beside the photo.

    Raises:
        UsageError: the options contradict each other.
        MissingPackageError: the estimator is not installed.
        InputError: the intrinsics file cannot be used for this photo.
        ModelFileError: the estimator's weights are missing or damaged.
    """
    warnings: list[str] = []
    camera = None if options is None else given_camera(photo, options)
    if camera is None and sidecar:
        camera, remarks = sidecar_camera(photo)
        warnings += remarks
    by_exif, remarks = exif_camera(photo)
    if camera is None:
        camera = by_exif
        warnings += remarks
    up = None
    if camera is None:
        for asked in _estimators(estimator, "panorama" if options is None else options.calibrate):
            camera, up = _estimated(photo, asked, warnings)
            if camera is not None:
                break
    if camera is None:
        camera = assumed_camera(photo.width, photo.height)
    return Calibration(camera, (*warnings, *_doubts(camera, by_exif)), up)


def _estimators(first: IntrinsicsEstimator | None, name: EstimatorName) -> Iterator[IntrinsicsEstimator]:
    """Whom to ask, one after the other, each loaded when its turn comes."""
    if first is not None:
        yield first
    elif name not in ("panorama", "none"):
        yield load_estimator(name)
    if name != "none":
        yield load_estimator("panorama")


def _estimated(
    photo: Photo, estimator: IntrinsicsEstimator, warnings: list[str]
) -> tuple[Camera | None, UpEstimate | None]:
    try:
        estimate = estimator(photo.rgb)
        camera = Camera(
            K=estimate.K,
            width=photo.width,
            height=photo.height,
            source=f"estimated:{estimator.name}",
            focal_std_px=estimate.focal_std_px,
        )
        return camera, estimate.up
    except Exception as error:  # foreign code on an unforeseen picture: the picture can be done without it
        cause = " ".join(str(error).split()) or type(error).__name__
        warnings.append(f"{estimator.name} failed on this picture ({cause}); its focal length is not used")
        return None, None


def _doubts(camera: Camera, by_exif: Camera | None) -> list[str]:
    """What looks odd about intrinsics that are used all the same."""
    doubts = []
    focal, origin = camera.focal_px, camera.source
    low, high = _PLAUSIBLE_FOV_DEG
    fov = max(camera.fov_x_deg, camera.fov_y_deg)
    if not low <= fov <= high:
        doubts.append(
            f"implausible field of view: {fov:.1f}° across the longer side ({origin} focal length {focal:.0f} px)"
        )
    fx, fy = camera.K[0, 0], camera.K[1, 1]
    if abs(math.log(fx / fy)) > 0.1:
        doubts.append(f"unusual pixels: fx = {fx:.0f} and fy = {fy:.0f} differ by more than a tenth ({origin})")
    cx, cy = camera.K[0, 2], camera.K[1, 2]
    off = max(abs(cx / camera.width - 0.5), abs(cy / camera.height - 0.5))
    if off > _OFF_CENTRE:
        doubts.append(
            f"principal point ({cx:.0f}, {cy:.0f}) is far from the middle of the {camera.width}×{camera.height} "
            "picture: is K that of another size, or the picture a crop?"
        )
    if by_exif is not None and origin != "exif" and abs(math.log(focal / by_exif.focal_px)) > math.log(_DISAGREE):
        doubts.append(f"{origin} focal length {focal:.0f} px, but the photo's EXIF data tell {by_exif.focal_px:.0f} px")
    return doubts
