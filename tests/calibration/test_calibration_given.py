"""Intrinsics the user gives, on the command line and in files; and those that lie beside the photo."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from metrichmsr.calibration import CalibrationOptions, calibrate, check_options, given_camera, read_intrinsics
from metrichmsr.errors import InputError, MetricHMSRError, UsageError
from metrichmsr.images import ExifTags, Photo

K = [[1000.0, 0.0, 330.0], [0.0, 1010.0, 235.0], [0.0, 0.0, 1.0]]


def photo(path: Path | str = "photo.jpg", *, width: int = 640, height: int = 480, **exif) -> Photo:
    return Photo(rgb=np.zeros((height, width, 3), np.uint8), path=Path(path), exif=ExifTags(**exif))


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def given(the_photo: Photo, **options):
    camera = given_camera(the_photo, CalibrationOptions(**options))
    assert camera is not None
    assert camera.source == "given"
    assert (camera.width, camera.height) == (the_photo.width, the_photo.height)
    return camera


# ── options ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_focal_length_in_pixels():
    np.testing.assert_allclose(given(photo(), focal_px=800).K, [[800, 0, 320], [0, 800, 240], [0, 0, 1]])


def test_focal_length_of_35mm_film_goes_by_the_diagonal():
    camera = given(photo(width=3600, height=2400), focal_35mm=50)
    assert camera.focal_px == pytest.approx(5000)
    assert camera.focal_std_px == pytest.approx(100)
    assert given(photo(width=2400, height=3600), focal_35mm=50).focal_px == pytest.approx(5000)
    # 4:3: the diagonal of 800 px on one of 43.27 mm.
    assert given(photo(), focal_35mm=26).focal_px == pytest.approx(26 * 800 / math.hypot(36, 24))


def test_field_of_view_goes_across_the_width():
    for width, height in ((640, 480), (480, 640)):
        camera = given(photo(width=width, height=height), fov=60)
        assert camera.fov_x_deg == pytest.approx(60)
        assert camera.K[0, 0] == camera.K[1, 1]


def test_nothing_given():
    assert given_camera(photo(), CalibrationOptions()) is None
    assert given_camera(photo(), CalibrationOptions(calibrate="anycalib")) is None


@pytest.mark.parametrize("name", ["focal_px", "focal_35mm", "fov"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0, -35.0])
def test_numbers_no_camera_has(name, value):
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} must"):
        given_camera(photo(), CalibrationOptions(**{name: value}))


@pytest.mark.parametrize(
    "options", [{"fov": 180.0}, {"fov": 500.0}, {"fov": 179.0}, {"focal_px": 4.2}, {"focal_35mm": 0.5}]
)
def test_no_photo_sees_that_much(options):
    with pytest.raises(UsageError, match="--"):
        given_camera(photo(), CalibrationOptions(**options))


def test_contradictory_options():
    with pytest.raises(UsageError, match="--focal-px and --fov contradict each other"):
        check_options(CalibrationOptions(focal_px=800, fov=60))
    with pytest.raises(UsageError, match="--focal-35mm and --intrinsics"):
        check_options(CalibrationOptions(focal_35mm=26, intrinsics=Path("missing.json")))


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_json_for_all_pictures(tmp_path):
    file = write(tmp_path / "k.json", {"K": K})
    camera = given(photo(), intrinsics=file)
    np.testing.assert_array_equal(camera.K, K)
    assert camera.distortion is None
    assert camera.focal_std_px is None
    full = {"K": K, "width": 640, "height": 480.0, "distortion": [-0.1, 0.02, 0.001, 0.002, 0.3], "focal_std_px": 7}
    camera = given(photo(), intrinsics=write(tmp_path / "full.json", full))
    assert camera.distortion == (-0.1, 0.02, 0.001, 0.002, 0.3)
    assert camera.focal_std_px == 7
    assert given(photo(), intrinsics=write(tmp_path / "one.json", [{"K": K}])).K[0, 0] == 1000


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ([-0.1, 0.02, 0.001, 0.002], (-0.1, 0.02, 0.001, 0.002, 0.0)),
        ([[-0.1, 0.02, 0, 0, 0.5, 0, 0, 0]], (-0.1, 0.02, 0.0, 0.0, 0.5)),
        ([0, 0, 0, 0, 0], None),
        (None, None),
    ],
)
def test_forms_of_distortion(tmp_path, written, read):
    file = write(tmp_path / "k.json", {"K": K, "distortion": written})
    assert given(photo(), intrinsics=file).distortion == read


def other(focal: float, **more) -> dict:
    return {"K": [[focal, 0, 320], [0, focal, 240], [0, 0, 1]], **more}


def test_json_by_file_name(tmp_path):
    by_name = {"a.jpg": other(500), "sub/b.jpg": other(600), "b.jpg": other(650), "c": other(700)}
    as_list = [{"file": name, **entry} for name, entry in by_name.items()]
    for content in (by_name, as_list):
        file = write(tmp_path / "k.json", content)
        assert given(photo("somewhere/a.jpg"), intrinsics=file).focal_px == 500
        assert given(photo("x/sub/b.jpg"), intrinsics=file).focal_px == 600, "the longer agreement"
        assert given(photo("x/other/b.jpg"), intrinsics=file).focal_px == 650
        assert given(photo("c.png"), intrinsics=file).focal_px == 700, "a name without suffix"
        with pytest.raises(
            InputError, match=r"k\.json: no intrinsics for d\.jpg \(it has a\.jpg, sub/b\.jpg, b\.jpg and 1"
        ):
            given(photo("d.jpg"), intrinsics=file)
        file.unlink()


def test_folders_in_names_must_agree(tmp_path):
    file = write(tmp_path / "k.json", {"train/001.png": other(500)})
    assert given(photo("data/train/001.png"), intrinsics=file).focal_px == 500
    with pytest.raises(InputError, match=r"no intrinsics for 001\.png"):
        given(photo("data/test/001.png"), intrinsics=file)


def test_names_are_the_same_in_both_forms_of_unicode(tmp_path):
    file = write(tmp_path / "k.json", {"Zo\u00eb.jpg": other(500)})
    assert given(photo("Zoe\u0308.jpg"), intrinsics=file).focal_px == 500


def test_a_bad_entry_costs_its_own_picture_only(tmp_path):
    file = write(tmp_path / "k.json", {"a.jpg": other(-5), "b.jpg": other(600)})
    assert given(photo("b.jpg"), intrinsics=file).focal_px == 600
    with pytest.raises(InputError, match=r"k\.json, a\.jpg: focal lengths must be positive"):
        given(photo("a.jpg"), intrinsics=file)


def test_k_of_another_size(tmp_path):
    file = write(tmp_path / "k.json", {"K": K, "width": 1280, "height": 960})
    with pytest.raises(InputError) as caught:
        given(photo("small.jpg"), intrinsics=file)
    assert str(caught.value) == f"{file}: K is for 1280×960, but small.jpg is 640×480"
    turned = write(tmp_path / "turned.json", {"K": K, "width": 480, "height": 640})
    with pytest.raises(InputError, match="after its EXIF rotation"):
        given(photo(orientation=6), intrinsics=turned)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("true", "no intrinsics"),
        ("{}", "no intrinsics"),
        ("[]", "it is empty"),
        ('{"fx": 5}', "no intrinsics"),
        ('{"a.jpg": {"fx": 5}}', "no intrinsics"),
        ('[{"file": "a.jpg"}]', "no K"),
        ("[3]", "no K"),
        ({"K": [[1000, 0], [0, 1000]]}, "3×3, not 2×2"),
        ({"K": 1000}, "a single number"),
        ({"K": [1000, 0, 320, 0, 1000, 240, 0, 0, 1]}, "3×3, not 9"),
        ({"K": [["a", 0, 0], [0, 1, 0], [0, 0, 1]]}, "not made of numbers"),
        ({"K": [[1000, 0, 320], [0, 1000], [0, 0, 1]]}, "not made of numbers"),
        ({"K": [[{}, 0, 320], [0, 1000, 240], [0, 0, 1]]}, "not made of numbers"),
        ({"K": [[math.nan, 0, 320], [0, 1000, 240], [0, 0, 1]]}, "finite"),
        ({"K": [[None, 0, 320], [0, 1000, 240], [0, 0, 1]]}, "finite"),
        ({"K": [[-1000, 0, 320], [0, 1000, 240], [0, 0, 1]]}, "positive"),
        ({"K": [[1000, 0, 320], [0, 0, 240], [0, 0, 1]]}, "positive"),
        ({"K": [[1000, 0, 320], [0, 1000, 240], [0, 0, 2]]}, "of the form"),
        ({"K": [[1000, 0, 0], [0, 1000, 0], [320, 240, 1]]}, "of the form"),
        ({"K": [[0.9, 0, 0.5], [0, 1.2, 0.5], [0, 0, 1]]}, "not normalised"),
        ({"K": K, "width": "640"}, "width must be"),
        ({"K": K, "width": 640.5}, "width must be"),
        ({"K": K, "height": -480}, "height must be"),
        ({"K": K, "width": math.nan}, "width must be"),
        ({"K": K, "width": math.inf}, "width must be"),
        ({"K": [[10**400, 0, 320], [0, 1000, 240], [0, 0, 1]]}, "not made of numbers"),
        ({"K": K, "distortion": [0.1]}, "distortion must be"),
        ({"K": K, "distortion": [0.1, 0, 0, 0, 0, 0.4]}, "distortion must be"),
        ({"K": K, "distortion": [math.inf, 0, 0, 0, 0]}, "distortion must be"),
        ({"K": K, "distortion": "strong"}, "not made of numbers"),
        ({"K": K, "focal_std_px": -1}, "focal_std_px"),
    ],
)
def test_json_that_is_no_intrinsics(tmp_path, content, cause):
    file = write(tmp_path / "k.json", content)
    with pytest.raises(InputError) as caught:
        given(photo(), intrinsics=file)
    message = str(caught.value)
    assert message.startswith(str(file))
    assert cause in message
    assert "\n" not in message


def test_a_list_without_names(tmp_path):
    file = write(tmp_path / "k.json", [{"K": K}, {"K": K}])
    with pytest.raises(InputError, match="needs a file name in every entry"):
        given(photo(), intrinsics=file)


def test_files_that_cannot_be_read(tmp_path):
    for path, cause in ((tmp_path / "missing.json", "No such file"), (tmp_path, "is a folder")):
        with pytest.raises(InputError, match=cause):
            given(photo(), intrinsics=path)
    (tmp_path / "k.json").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(InputError, match="neither JSON nor COLMAP"):
        given(photo(), intrinsics=tmp_path / "k.json")


def test_a_changed_file_is_read_again(tmp_path):
    file = write(tmp_path / "k.json", other(500))
    assert given(photo(), intrinsics=file).focal_px == 500
    assert read_intrinsics(file) is read_intrinsics(file)
    write(file, other(12345))
    assert given(photo(), intrinsics=file).focal_px == 12345


# ── COLMAP ───────────────────────────────────────────────────────────────────────────────────────────────────────────

HEADER = "# Camera list with one line of data per camera:\n#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]\n"


@pytest.mark.parametrize(
    ("line", "fx", "fy", "distortion"),
    [
        ("1 SIMPLE_PINHOLE 640 480 700 320 240", 700, 700, None),
        ("1 PINHOLE 640 480 700 710 320 240", 700, 710, None),
        ("1 SIMPLE_RADIAL 640 480 700 320 240 -0.1", 700, 700, (-0.1, 0, 0, 0, 0)),
        ("1 RADIAL 640 480 700 320 240 -0.1 0.02", 700, 700, (-0.1, 0.02, 0, 0, 0)),
        ("1 OPENCV 640 480 700 710 320 240 -0.1 0.02 0.001 0.002", 700, 710, (-0.1, 0.02, 0.001, 0.002, 0)),
    ],
)
def test_colmap_models(tmp_path, line, fx, fy, distortion):
    camera = given(photo(), intrinsics=write(tmp_path / "cameras.txt", HEADER + line + "\n"))
    np.testing.assert_array_equal(camera.K, [[fx, 0, 320], [0, fy, 240], [0, 0, 1]])
    assert camera.distortion == distortion


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "no camera in it"),
        ("hello world\n", "line 1: not CAMERA_ID"),
        ("1 OPENCV_FISHEYE 640 480 1 2 3 4 5 6 7 8", "camera model OPENCV_FISHEYE cannot be used"),
        ("1 PINHOLE 640 480 700 320 240", "PINHOLE wants 4 numbers"),
        ("1 PINHOLE 640 480 700 x 320 240", "PINHOLE wants 4 numbers"),
        ("1 PINHOLE 640 480 -700 700 320 240", "positive"),
        ("1 PINHOLE 640 480 nan 700 320 240", "finite"),
        ("1 PINHOLE 1280 960 700 700 320 240", "K is for 1280×960, but photo.jpg is 640×480"),
        ("1 PINHOLE 640 480 7 7 3 2\n2 PINHOLE 640 480 7 7 3 2", "2 cameras, and no images.txt"),
    ],
)
def test_colmap_files_that_cannot_be_used(tmp_path, text, cause):
    file = write(tmp_path / "cameras.txt", text)
    with pytest.raises(InputError) as caught:
        given(photo(), intrinsics=file)
    assert str(caught.value).startswith(str(file))
    assert cause in str(caught.value)


def test_colmap_images_say_whose_camera_it_is(tmp_path):
    file = write(
        tmp_path / "cameras.txt", HEADER + "1 PINHOLE 640 480 700 700 320 240\n7 PINHOLE 640 480 800 800 320 240\n"
    )
    pose = "0.9 0.1 0.1 0.1 1 2 3"
    images = ["# Image list", f"1 {pose} 7 sub/first photo.jpg", "1.5 2.5 -1 3 4 5", f"2 {pose} 1 second.jpg", ""]
    write(tmp_path / "images.txt", "\n".join([*images, f"3 {pose} 7 third.jpg\n"]))
    assert given(photo("sub/first photo.jpg"), intrinsics=file).focal_px == 800
    assert given(photo("second.jpg"), intrinsics=file).focal_px == 700
    assert given(photo("third.jpg"), intrinsics=file).focal_px == 800
    with pytest.raises(InputError, match=r"no intrinsics for fourth\.jpg"):
        given(photo("fourth.jpg"), intrinsics=file)
    write(tmp_path / "images.txt", f"1 {pose} 99 a.jpg\n\n")
    write(file, "1 PINHOLE 640 480 700 700 320 240")
    with pytest.raises(InputError, match=r"a\.jpg has camera 99"):
        given(photo("a.jpg"), intrinsics=file)


# ── sidecars ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["p.jpg.json", "p.camera.json", "p.json", "intrinsics.json", "cameras.txt"])
def test_sidecars_are_found(tmp_path, name):
    content = "1 SIMPLE_PINHOLE 640 480 777 320 240" if name.endswith("txt") else other(777, width=640, height=480)
    write(tmp_path / name, content)
    camera, warnings = (result := calibrate(photo(tmp_path / "p.jpg"))).camera, result.warnings
    assert (camera.source, camera.focal_px, warnings) == ("sidecar", 777, ())
    assert calibrate(photo(tmp_path / "p.jpg"), sidecar=False).camera.source == "estimated:panorama"


def test_the_closest_sidecar_wins(tmp_path):
    write(tmp_path / "intrinsics.json", other(500))
    write(tmp_path / "p.json", other(600))
    assert calibrate(photo(tmp_path / "p.jpg")).camera.focal_px == 600
    assert calibrate(photo(tmp_path / "q.jpg")).camera.focal_px == 500


def test_a_sidecar_without_the_photo_is_passed_over_in_silence(tmp_path):
    write(tmp_path / "intrinsics.json", {"other.jpg": other(500)})
    result = calibrate(photo(tmp_path / "p.jpg"))
    assert (result.camera.source, result.warnings) == ("estimated:panorama", ())


@pytest.mark.parametrize(
    "content",
    ["", "{", '{"shapes": [], "imagePath": "p.jpg", "imageHeight": 480}', "[1, 2, 3]", "\x00\x01", '"text"', "{}"],
)
def test_foreign_files_beside_a_photo_break_nothing(tmp_path, content):
    for name in ("p.json", "p.jpg.json", "intrinsics.json", "cameras.txt"):
        write(tmp_path / name, content)
    result = calibrate(photo(tmp_path / "p.jpg"))
    assert (result.camera.source, result.warnings) == ("estimated:panorama", ())


def test_foreign_bytes_and_folders_beside_a_photo_break_nothing(tmp_path):
    (tmp_path / "p.json").write_bytes(b"\xff\xd8\xff\xe0")
    (tmp_path / "intrinsics.json").mkdir()
    result = calibrate(photo(tmp_path / "p.jpg"))
    assert (result.camera.source, result.warnings) == ("estimated:panorama", ())


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("p.json", other(500, width=1280, height=960), "K is for 1280×960"),
        ("intrinsics.json", other(-500), "positive"),
        ("cameras.txt", "1 FOV 640 480 1 2 3 4 5", "camera model FOV"),
    ],
)
def test_intrinsics_that_do_not_fit_are_passed_over_with_a_warning(tmp_path, name, content, cause):
    file = write(tmp_path / name, content)
    result = calibrate(photo(tmp_path / "p.jpg"))
    assert result.camera.source == "estimated:panorama"
    (warning,) = result.warnings
    assert warning.startswith(f"sidecar not used: {file}")
    assert cause in warning


def test_nothing_is_looked_for_beside_an_array(tmp_path, monkeypatch):
    from metrichmsr.images import from_array

    monkeypatch.chdir(tmp_path)
    write(tmp_path / "intrinsics.json", other(500))
    write(tmp_path / "array.json", other(500))
    assert calibrate(from_array(np.zeros((480, 640, 3), np.uint8))).camera.source == "estimated:panorama"


def test_every_error_is_the_users_to_mend():
    assert issubclass(InputError, MetricHMSRError)
    assert issubclass(UsageError, MetricHMSRError)
