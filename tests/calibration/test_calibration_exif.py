"""The focal length in EXIF data: its three forms, what happened to the photo since, and lies."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metrichmsr.calibration import calibrate, exif_camera
from metrichmsr.calibration.sensors import sensor_size_mm
from metrichmsr.images import ExifTags, Photo, read_image

FILM = math.hypot(36, 24)


def photo(width: int = 4000, height: int = 3000, **tags) -> Photo:
    # One row in memory stands for all: calibration asks for the size only.
    rgb = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (height, width, 3))
    return Photo(rgb=rgb, path=Path("photo.jpg"), exif=ExifTags(**tags), is_file=False)


def camera_of(the_photo: Photo):
    camera, warnings = exif_camera(the_photo)
    assert camera is not None, warnings
    assert camera.source == "exif"
    np.testing.assert_array_equal(camera.K[:2, 2], [the_photo.width / 2, the_photo.height / 2])
    return camera, warnings


def test_no_tags_no_answer():
    assert exif_camera(photo()) == (None, [])
    assert exif_camera(photo(make="Kodak", model="DC210", focal_length_mm=4.4)) == (None, []), "a sensor nobody knows"


def test_equivalent_of_a_phone():
    """iPhone 11: 4.25 mm, pixels of 1.4 µm, 4032×3024, states 26 mm."""
    camera, warnings = camera_of(photo(4032, 3024, focal_length_35mm=26.0, focal_length_mm=4.25))
    assert warnings == []
    assert camera.focal_px == pytest.approx(26 * 5040 / FILM)
    assert camera.focal_px == pytest.approx(4.25 / 0.0014, rel=0.01), "the truth by construction of the camera"
    assert camera.focal_std_px == pytest.approx(camera.focal_px * math.hypot(0.29 / 26, 0.025))


def test_equivalent_on_the_whole_film():
    assert camera_of(photo(6000, 4000, focal_length_35mm=36.0))[0].focal_px == pytest.approx(6000)
    assert camera_of(photo(4000, 6000, focal_length_35mm=36.0))[0].focal_px == pytest.approx(6000)


@pytest.mark.parametrize("size", [(4032, 2268), (3024, 3024), (2268, 4032)])
def test_equivalent_of_a_part_of_the_frame_speaks_of_the_whole(size):
    """16:9 and square modes of a phone cut the 4:3 frame: same focal length in pixels, same tag."""
    camera, _ = camera_of(photo(*size, focal_length_35mm=26.0))
    true = 26 * 5040 / FILM
    assert camera.focal_std_px is not None
    assert abs(camera.focal_px - true) < camera.focal_std_px
    assert 0.05 < camera.focal_std_px / camera.focal_px < 0.07


def test_a_resized_photo_keeps_its_field_of_view():
    tags = {"pixel_x_dimension": 4032, "pixel_y_dimension": 3024, "focal_length_35mm": 26.0}
    big, _ = camera_of(photo(4032, 3024, **tags))
    small, _ = camera_of(photo(640, 480, **tags))
    assert small.focal_px / 640 == pytest.approx(big.focal_px / 4032)
    odd, warnings = camera_of(photo(333, 250, **tags))  # the aspect rounded to whole pixels
    assert odd.focal_px / 333 == pytest.approx(big.focal_px / 4032, rel=0.01)
    assert warnings == []


def test_resolution_of_the_sensor():
    """Canon EOS 5D Mark II: 36 mm across 5616 px; 50 mm lens."""
    tags = {"focal_length_mm": 50.0, "plane_x_px_per_mm": 5616 / 36, "plane_y_px_per_mm": 3744 / 24}
    camera, _ = camera_of(photo(5616, 3744, **tags))
    assert camera.focal_px == pytest.approx(50 * 156)
    assert camera.focal_std_px == pytest.approx(0.02 * camera.focal_px, rel=0.01)
    # The tags speak of the photo as it was taken, not of its copy in the mail.
    small, _ = camera_of(photo(1404, 936, pixel_x_dimension=5616, pixel_y_dimension=3744, **tags))
    assert small.focal_px == pytest.approx(50 * 156 / 4)
    one = {"focal_length_mm": 50.0, "plane_y_px_per_mm": 156.0}
    assert camera_of(photo(5616, 3744, **one))[0].focal_px == pytest.approx(50 * 156)


@pytest.mark.parametrize(
    ("x", "y"), [(156.0, 78.0), (1e6, 1e6), (0.5, 0.5)], ids=["not square", "sensor too small", "sensor too big"]
)
def test_resolutions_no_sensor_has(x, y):
    assert exif_camera(photo(5616, 3744, focal_length_mm=50.0, plane_x_px_per_mm=x, plane_y_px_per_mm=y))[0] is None


@pytest.mark.parametrize(
    ("make", "model", "size"),
    [
        ("Canon", "Canon EOS 5D Mark II", (36.0, 24.0)),
        ("Canon", "Canon EOS DIGITAL REBEL XT", (22.2, 14.8)),
        ("NIKON CORPORATION", "NIKON D90", (23.6, 15.8)),
        ("SONY", "ILCE-7M3", (35.6, 23.8)),
        ("OLYMPUS CORPORATION", "E-M10", (17.3, 13.0)),
        ("RICOH IMAGING COMPANY, LTD.", "PENTAX K-3", (23.5, 15.6)),
        ("Apple", "iPhone 4S", (4.54, 3.42)),
        ("Canon", "Canon EOS 5D Mark IX", None),
        ("Nobody", "D90", None),
        ("", "D90", None),
    ],
)
def test_table_of_sensors(make, model, size):
    assert sensor_size_mm(ExifTags(make=make, model=model)) == size


def test_focal_length_and_table():
    tags = {"make": "Canon", "model": "Canon EOS 40D", "focal_length_mm": 35.0}
    assert camera_of(photo(3888, 2592, **tags))[0].focal_px == pytest.approx(35 / 22.2 * 3888, rel=0.001)
    # 16:9 from a 3:2 sensor: as wide as the whole. Square: as high as the whole.
    assert camera_of(photo(3888, 2187, **tags))[0].focal_px == pytest.approx(35 / 22.2 * 3888, rel=0.001)
    assert camera_of(photo(2592, 2592, **tags))[0].focal_px == pytest.approx(35 / 14.8 * 2592, rel=0.001)


def test_table_against_a_resolution_of_the_wrong_unit():
    """Centimetres written as inches put a sensor at 56 mm: the table knows better."""
    tags = {"make": "Canon", "model": "Canon EOS 40D", "focal_length_mm": 35.0}
    camera, _ = camera_of(photo(3888, 2592, plane_x_px_per_mm=3888 / 22.2 / 2.54, **tags))
    assert camera.focal_px == pytest.approx(35 / 22.2 * 3888, rel=0.001)


def test_two_forms_that_contradict_each_other():
    tags = {"focal_length_35mm": 28.0, "focal_length_mm": 10.0, "plane_x_px_per_mm": 400.0}
    camera, warnings = camera_of(photo(**tags))
    by_film = 28 * 5000 / FILM
    assert camera.focal_px == pytest.approx(by_film)
    assert camera.focal_std_px == pytest.approx(0.5 * math.log(4000 / by_film) * by_film, rel=1e-6)
    assert "EXIF contradicts itself" in warnings[0]


def test_digital_zoom_of_a_phone_is_in_its_equivalent():
    tags = {"make": "Apple", "focal_length_35mm": 52.0, "digital_zoom": 2.0}
    camera, warnings = camera_of(photo(4032, 3024, **tags))
    assert camera.focal_px == pytest.approx(52 * 5040 / FILM)
    assert warnings == []


def test_digital_zoom_of_others_is_uncertain_unless_the_lens_decides():
    camera, warnings = camera_of(photo(make="Other", focal_length_35mm=28.0, digital_zoom=1.5))
    without = 28 * 5000 / FILM
    assert camera.focal_px == pytest.approx(without * math.sqrt(1.5))
    assert camera.focal_std_px is not None
    assert camera.focal_px - camera.focal_std_px < without
    assert camera.focal_px + camera.focal_std_px > without * 1.5
    assert "digital zoom" in warnings[0]
    lens = {"focal_length_mm": 6.0, "plane_x_px_per_mm": 28 / 6 * 5000 / FILM}  # agrees with 28 mm
    for stated in (28.0, 42.0):
        zoomed, warnings = camera_of(photo(make="Other", focal_length_35mm=stated, digital_zoom=1.5, **lens))
        assert zoomed.focal_px == pytest.approx(without * 1.5), (
            "the equivalent with or without the zoom, as the lens says"
        )
        assert warnings == []


def test_a_photo_cropped_but_not_resized():
    tags = {"pixel_x_dimension": 4000, "pixel_y_dimension": 3000, "focal_length_35mm": 28.0}
    whole, _ = camera_of(photo(**tags))
    for size in ((4000, 1900), (2000, 3000)):
        part, warnings = camera_of(photo(*size, **tags))
        assert part.focal_px == pytest.approx(whole.focal_px)
        assert "cropped" in warnings[0]


def test_a_photo_cropped_and_perhaps_resized_has_no_answer():
    camera, warnings = exif_camera(
        photo(1000, 1000, pixel_x_dimension=4000, pixel_y_dimension=3000, focal_length_35mm=28.0)
    )
    assert camera is None
    assert "taken as 4000×3000, is 1000×1000 now" in warnings[0]


def test_tags_that_were_not_turned_with_the_pixels():
    tags = {"pixel_x_dimension": 4000, "pixel_y_dimension": 3000, "focal_length_35mm": 28.0}
    upright, warnings = camera_of(photo(3000, 4000, **tags))
    assert upright.focal_px == pytest.approx(28 * 5000 / FILM)
    assert warnings == []


def test_a_panorama_has_no_answer():
    camera, warnings = exif_camera(photo(9000, 3000, focal_length_35mm=28.0))
    assert camera is None
    assert "panorama" in warnings[0]


@pytest.mark.parametrize("f35", [1.0, 4000.0])
def test_implausible_focal_lengths_are_refused_with_a_warning(f35):
    camera, warnings = exif_camera(photo(focal_length_35mm=f35))
    assert camera is None
    assert "EXIF focal length not used" in warnings[0]


def test_a_fisheye_is_doubted():
    camera, warnings = camera_of(photo(focal_length_35mm=15.0, lens_model="EF15mm f/2.8 Fish-Eye"))
    assert camera.focal_std_px == pytest.approx(0.25 * camera.focal_px)
    assert "fisheye" in warnings[0]


def test_from_a_file_that_lies_on_its_side(tmp_path):
    data = Image.Exif()
    data[0x0112] = 6
    # 100 pixels per centimetre: a sensor of 36 mm.
    data[0x8769] = {0x920A: 50.0, 0xA002: 360, 0xA003: 240, 0xA20E: 100.0, 0xA20F: 100.0, 0xA210: 3}
    Image.new("RGB", (360, 240)).save(tmp_path / "photo.jpg", exif=data.tobytes())
    camera = calibrate(read_image(tmp_path / "photo.jpg")).camera
    assert (camera.width, camera.height, camera.source) == (240, 360, "exif")
    assert camera.focal_px == pytest.approx(500)
    np.testing.assert_array_equal(camera.K[:2, 2], [120, 180])


def test_open_photos_with_exif(shared_dir):
    """38 mm equivalent, and 8.1 mm on a 1/1.7″ sensor: both ways within three per cent."""
    path = shared_dir / "data" / "real" / "photos" / "exif__DSCN0025.jpg"
    if not path.is_file():
        pytest.skip("no such photo")
    result = calibrate(read_image(path))
    assert result.camera.source == "exif"
    assert result.camera.focal_px == pytest.approx(38 * 800 / FILM, rel=0.03)
    assert result.warnings == ()
