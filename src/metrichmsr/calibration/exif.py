"""The focal length a camera wrote into its photo.

Three ways, by what the file has:

1. **35 mm equivalent** (:mod:`~metrichmsr.calibration.film`), in whole millimetres.
2. **Focal length and the sensor's resolution** on the focal plane: f_px = f_mm · pixels per millimetre.
3. **Focal length and a table** of sensor sizes by model.

Tags describe the photo as it was taken. A photo that was only resized is told by the size it states of itself; one that
was cropped can be used where it was not resized too; otherwise EXIF has no answer and says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from metrichmsr.calibration.centred import centred_camera, long_fov_deg
from metrichmsr.calibration.film import SAME_ASPECT, focal_of_equivalent
from metrichmsr.calibration.sensors import sensor_size_mm
from metrichmsr.images.exif_tags import ExifTags
from metrichmsr.images.photo import Photo
from metrichmsr.structures import Camera

_NOMINAL_SIGMA = 0.025  # rounding by the maker, lens tolerance, focus breathing, distortion correction
_ROUNDING_35MM = 0.29  # mm, standard deviation of rounding to whole millimetres
_ROUNDING_MM = 0.03  # mm, of rounding to tenths
_AGREE = 0.10  # two ways that differ by more than this contradict each other
_PANORAMA_ASPECT = 2.4
_SENSOR_SIDE_MM = (2.4, 60.0)  # longer side, from the smallest phone to medium format


@dataclass(frozen=True)
class _Guess:
    focal_px: float
    sigma: float  # relative
    way: str


@dataclass(frozen=True)
class _AsTaken:
    """Size of the photo when it was taken, and what its pixels were multiplied by since."""

    width: int
    height: int
    scale: float
    cropped: bool


def exif_camera(photo: Photo) -> tuple[Camera | None, list[str]]:
    """The camera the photo's EXIF data tell of, source ``exif``, or None; and warnings about what they tell wrong."""
    tags, warnings = photo.exif, []
    if tags.focal_length_mm is None and tags.focal_length_35mm is None:
        return None, warnings
    if max(photo.width, photo.height) > _PANORAMA_ASPECT * min(photo.width, photo.height):
        return None, ["EXIF focal length not used: by its shape this is a panorama or a strip of a photo"]
    taken = _as_taken(photo, tags)
    if taken is None:
        stated = f"{tags.pixel_x_dimension}×{tags.pixel_y_dimension}"
        now = f"{photo.width}×{photo.height}"
        return None, [f"EXIF focal length not used: the photo was taken as {stated}, is {now} now, and so was cropped"]
    guess = _choose(tags, taken, warnings)
    if guess is None:
        return None, warnings
    focal, sigma = guess.focal_px * taken.scale, guess.sigma
    fov = long_fov_deg(photo.width, photo.height, focal)
    if not 1 <= fov <= 150:
        return None, [*warnings, f"EXIF focal length not used: {guess.way} would mean a field of view of {fov:.1f}°"]
    if taken.cropped:
        warnings.append("the photo was cropped after it was taken: its principal point may be off the middle")
    if "fisheye" in tags.lens_model.casefold().replace("-", "").replace(" ", ""):
        warnings.append("a fisheye lens: the picture is no pinhole picture, positions away from its middle are off")
        sigma = max(sigma, 0.25)
    camera = centred_camera(photo.width, photo.height, focal, source="exif", focal_std_px=sigma * focal)
    return camera, warnings


def _as_taken(photo: Photo, tags: ExifTags) -> _AsTaken | None:
    width, height = photo.width, photo.height
    stated_x, stated_y = tags.pixel_x_dimension, tags.pixel_y_dimension
    if not stated_x or not stated_y:
        return _AsTaken(width, height, 1.0, cropped=False)
    # Some editors turn the pixels and not these tags, or these tags and not the orientation: both orders are tried.
    orders = ((stated_x, stated_y), (stated_y, stated_x))
    for x, y in orders:
        if abs(math.log((x / y) / (width / height))) < SAME_ASPECT + 1 / min(width, height):
            return _AsTaken(x, y, math.sqrt(width * height / (x * y)), cropped=False)
    for x, y in orders:
        if (width == x and height < y) or (height == y and width < x):
            return _AsTaken(x, y, 1.0, cropped=True)
    return None


def _choose(tags: ExifTags, taken: _AsTaken, warnings: list[str]) -> _Guess | None:
    """The most precise of the guesses, if they agree; the 35 mm equivalent, if they do not."""
    measured, by_table = _from_plane(tags, taken), _from_table(tags, taken)
    if measured is None or (by_table is not None and _gap(measured, by_table) > _AGREE):
        measured = by_table  # some cameras state their sensor's resolution, not the photo's, or a wrong unit
    equivalent = _from_35mm(tags, taken, measured, warnings)
    if measured is None or equivalent is None:
        return measured or equivalent
    gap = _gap(measured, equivalent)
    if gap < _AGREE:
        return min(measured, equivalent, key=lambda guess: guess.sigma)
    warnings.append(
        f"EXIF contradicts itself: {equivalent.way} means {equivalent.focal_px * taken.scale:.0f} px, "
        f"{measured.way} means {measured.focal_px * taken.scale:.0f} px; the first was used"
    )
    return _Guess(equivalent.focal_px, max(equivalent.sigma, min(gap / 2, 0.3)), equivalent.way)


def _gap(one: _Guess, other: _Guess) -> float:
    return abs(math.log(one.focal_px / other.focal_px))


def _from_35mm(tags: ExifTags, taken: _AsTaken, measured: _Guess | None, warnings: list[str]) -> _Guess | None:
    f35 = tags.focal_length_35mm
    if f35 is None:
        return None
    way = f"a 35 mm equivalent of {f35:g} mm"
    focal, uncertainty = focal_of_equivalent(f35, taken.width, taken.height)
    sigma = math.hypot(_ROUNDING_35MM / f35, _NOMINAL_SIGMA, uncertainty)
    zoom = tags.digital_zoom
    if zoom is not None and zoom > 1.02 and "apple" not in tags.make.casefold():
        # Apple multiplies the equivalent by the digital zoom. Of the others some do and some do not.
        if measured is not None:
            with_zoom = abs(math.log(measured.focal_px / (focal * zoom)))
            focal *= zoom if with_zoom < abs(math.log(measured.focal_px / focal)) else 1.0
        else:
            sigma = math.hypot(sigma, math.sqrt(zoom) - 1)
            focal *= math.sqrt(zoom)
            warnings.append(
                f"a digital zoom of {zoom:g}: the focal length may be off by a factor {math.sqrt(zoom):.2f}"
            )
    return _Guess(focal, sigma, way)


def _from_plane(tags: ExifTags, taken: _AsTaken) -> _Guess | None:
    f_mm = tags.focal_length_mm
    x = tags.plane_x_px_per_mm or tags.plane_y_px_per_mm  # one stands for both
    y = tags.plane_y_px_per_mm or x
    if f_mm is None or x is None or y is None:
        return None
    if abs(math.log(x / y)) > 0.05:
        return None  # no camera has such pixels: the tags were not kept when the picture was changed
    density = math.sqrt(x * y)
    sensor = max(taken.width, taken.height) / density
    if not _SENSOR_SIDE_MM[0] <= sensor <= _SENSOR_SIDE_MM[1]:
        return None
    focal = f_mm * density * (tags.digital_zoom or 1.0)
    return _Guess(focal, math.hypot(_ROUNDING_MM / f_mm, 0.02), f"{f_mm:g} mm on a sensor {sensor:.1f} mm wide")


def _from_table(tags: ExifTags, taken: _AsTaken) -> _Guess | None:
    f_mm, sensor = tags.focal_length_mm, sensor_size_mm(tags)
    if f_mm is None or sensor is None:
        return None
    long, short = max(taken.width, taken.height), min(taken.width, taken.height)
    # A picture of another shape than the sensor is a part of it that spans one of its sides.
    pitch_mm = min(sensor[0] / long, sensor[1] / short)
    focal = f_mm / pitch_mm * (tags.digital_zoom or 1.0)
    return _Guess(focal, math.hypot(_ROUNDING_MM / f_mm, _NOMINAL_SIGMA), f"{f_mm:g} mm on a {tags.model}")
