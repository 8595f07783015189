"""35 mm equivalents: one meaning for the option, the tag and the report."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from metrichmsr.calibration import CalibrationOptions, exif_camera, given_camera
from metrichmsr.calibration.film import equivalent_of_focal, focal_of_equivalent
from metrichmsr.images import ExifTags, Photo

SIZES = [(4000, 3000), (3000, 2000), (1920, 1080), (1080, 1920), (3024, 3024), (2000, 900)]


def photo(width: int, height: int, **tags) -> Photo:
    # One row in memory stands for all: calibration asks for the size only.
    rgb = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (height, width, 3))
    return Photo(rgb=rgb, path=Path("photo.jpg"), exif=ExifTags(**tags), is_file=False)


@pytest.mark.parametrize("size", SIZES)
def test_the_option_means_what_the_tag_means(size):
    given = given_camera(photo(*size), CalibrationOptions(focal_35mm=26))
    tag, _ = exif_camera(photo(*size, focal_length_35mm=26.0))
    assert given is not None
    assert tag is not None
    assert given.focal_px == pytest.approx(tag.focal_px, rel=1e-12)


@pytest.mark.parametrize("whole", [(4032, 3024), (4032, 2688)])
@pytest.mark.parametrize("crop", ["16:9", "square"])
def test_a_part_of_the_frame_has_the_focal_length_of_the_whole(whole, crop):
    """By construction: cutting rows or columns off changes no focal length, and the data sheet stays as it is."""
    true, sigma = focal_of_equivalent(26, *whole)
    assert (true, sigma) == (pytest.approx(26 * math.hypot(*whole) / math.hypot(36, 24)), 0.0)
    part = (whole[0], round(whole[0] * 9 / 16)) if crop == "16:9" else (whole[1], whole[1])
    camera = given_camera(photo(*part), CalibrationOptions(focal_35mm=26))
    assert camera is not None
    assert camera.focal_std_px == pytest.approx(camera.focal_px * math.hypot(0.02, 0.05))
    assert abs(camera.focal_px - true) < camera.focal_std_px


@pytest.mark.parametrize("size", SIZES)
def test_there_and_back(size):
    focal, _ = focal_of_equivalent(35.5, *size)
    assert equivalent_of_focal(focal, *size) == pytest.approx(35.5)
    turned, _ = focal_of_equivalent(35.5, *size[::-1])
    assert turned == pytest.approx(focal), "a picture on its side has the same lens"
