"""Reading photos: every format and pixel kind, rotation, limits, and one line for everything that cannot be read."""

from __future__ import annotations

import io
import os
import struct
import zlib

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from metrichmsr.errors import InputError
from metrichmsr.images import from_array, read_image

HEIGHT, WIDTH = 48, 64
Image.init()
HAS_AVIF = "AVIF" in Image.OPEN


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """Smooth, with a different colour in every corner."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([255 * x / (WIDTH - 1), 255 * y / (HEIGHT - 1), 40 + 0 * x], axis=-1).astype(np.uint8)


def close(a: np.ndarray, b: np.ndarray, most: int = 12) -> bool:
    return a.shape == b.shape and int(np.abs(a.astype(int) - b.astype(int)).max()) <= most


# ── formats ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "webp", "tif", "bmp", "heic", "avif", "gif", "ppm", "jp2"])
def test_formats(tmp_path, scene, suffix):
    if suffix == "avif" and not HAS_AVIF:
        pytest.skip("this Pillow has no AVIF")
    path = tmp_path / f"photo.{suffix}"
    if suffix == "heic":
        pillow_heif.from_pillow(Image.fromarray(scene)).save(path, quality=95)
    else:
        Image.fromarray(scene).save(path)
    photo = read_image(path)
    assert photo.rgb.dtype == np.uint8
    assert close(photo.rgb, scene, most=24)
    assert photo.path == path
    assert (photo.width, photo.height) == (WIDTH, HEIGHT)
    assert photo.rgb.flags.writeable
    assert photo.rgb.flags.c_contiguous
    assert photo.is_file


def test_the_first_of_several_pictures(tmp_path, scene):
    for name in ("both.mpo", "both.tif", "both.gif"):
        Image.fromarray(scene).save(tmp_path / name, save_all=True, append_images=[Image.fromarray(255 - scene)])
        assert close(read_image(tmp_path / name).rgb, scene, most=24), name


@pytest.mark.parametrize("name", ["both.gif", "both.png", "both.webp", "both.tif"])
def test_pictures_that_are_left_out_are_told(tmp_path, scene, name):
    one, two = Image.fromarray(scene), Image.fromarray(255 - scene)
    one.save(tmp_path / name, save_all=True, append_images=[two])
    (remark,) = read_image(tmp_path / name).remarks
    assert remark.startswith("only the first of the pictures in this file was read")
    assert ("as a video" in remark) == (name != "both.tif")
    one.save(tmp_path / name)
    assert read_image(tmp_path / name).remarks == ()


def test_an_animation_cut_off_after_its_first_picture_is_read(tmp_path, scene):
    path = tmp_path / "cut.gif"
    Image.fromarray(scene).save(path, save_all=True, append_images=[Image.fromarray(255 - scene)])
    path.write_bytes(path.read_bytes()[:-300])
    assert close(read_image(path).rgb, scene, most=24)


def test_the_name_does_not_matter_the_content_does(tmp_path, scene):
    path = tmp_path / "really a png.jpg"
    Image.fromarray(scene).save(path, format="PNG")
    np.testing.assert_array_equal(read_image(path).rgb, scene)


@pytest.mark.parametrize("name", ["with blanks.png", "Größe 写真 🙂.png", "a.b.c.png", "no_suffix", "-dash.png"])
def test_names(tmp_path, scene, name):
    Image.fromarray(scene).save(tmp_path / name, format="PNG")
    np.testing.assert_array_equal(read_image(str(tmp_path / name)).rgb, scene)


# ── kinds of pixels ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_grey_and_bilevel(tmp_path, scene):
    grey = scene[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png").rgb, np.repeat(grey[..., None], 3, axis=2))
    Image.fromarray(grey > 100).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bits.png").rgb[..., 1], 255 * (grey > 100))


def test_alpha_is_laid_over_white(tmp_path, scene):
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:, :20], alpha[:, 20:40] = 0, 128
    expected = np.round(scene * (alpha / 255) + 255 * (1 - alpha / 255))
    Image.fromarray(np.concatenate([scene, alpha], axis=2)).save(tmp_path / "rgba.png")
    assert close(read_image(tmp_path / "rgba.png").rgb, expected, most=1)
    grey = np.concatenate([scene[..., :1], alpha], axis=2)
    Image.fromarray(grey, mode=None).save(tmp_path / "la.png")
    assert close(read_image(tmp_path / "la.png").rgb, np.repeat(expected[..., :1], 3, axis=2), most=1)


def test_palette_with_and_without_transparency(tmp_path):
    stripes = np.zeros((HEIGHT, WIDTH), np.uint8)
    stripes[:, WIDTH // 2 :] = 1
    image = Image.fromarray(stripes).convert("P")
    image.putpalette([200, 10, 20, 30, 210, 40])
    image.save(tmp_path / "palette.png")
    rgb = read_image(tmp_path / "palette.png").rgb
    assert (rgb[0, 0], rgb[0, -1]) == (pytest.approx([200, 10, 20]), pytest.approx([30, 210, 40]))
    for name, transparency in (("index.png", 0), ("bytes.png", bytes([0, 255])), ("index.gif", 0)):
        image.save(tmp_path / name, transparency=transparency)
        rgb = read_image(tmp_path / name).rgb
        assert (rgb[0, 0], rgb[0, -1]) == (pytest.approx([255, 255, 255]), pytest.approx([30, 210, 40])), name


def test_cmyk_as_adobe_writes_it(tmp_path, scene):
    """Pillow's JPEG writer inverts CMYK and says so with Adobe's marker, like Photoshop."""
    cmyk = Image.fromarray(scene).convert("CMYK")
    cmyk.save(tmp_path / "cmyk.jpg", quality=95)
    assert b"Adobe" in (tmp_path / "cmyk.jpg").read_bytes()
    assert close(read_image(tmp_path / "cmyk.jpg").rgb, scene, most=16)
    cmyk.save(tmp_path / "cmyk.tif")
    assert close(read_image(tmp_path / "cmyk.tif").rgb, scene, most=1)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_use_their_full_range(tmp_path, suffix):
    ramp = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f"grey.{suffix}"), ramp)
    np.testing.assert_array_equal(read_image(tmp_path / f"grey.{suffix}").rgb[..., 0], np.round(ramp / 257))
    colour = np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=-1)
    cv2.imwrite(str(tmp_path / f"colour.{suffix}"), colour[..., ::-1])
    # Pillow keeps the high byte of 16-bit colours: less than one level from rounding.
    assert np.abs(read_image(tmp_path / f"colour.{suffix}").rgb - colour / 257).max() < 1


def test_big_endian_sixteen_bits(tmp_path):
    ramp = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    header = b"P5 %d %d 65535\n" % (WIDTH, HEIGHT)
    (tmp_path / "grey.pgm").write_bytes(header + ramp.astype(">u2").tobytes())
    assert np.abs(read_image(tmp_path / "grey.pgm").rgb[..., 0] - ramp / 257).max() <= 1


def test_float_tiff(tmp_path):
    ramp = np.linspace(0, 1, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    Image.fromarray(ramp).save(tmp_path / "unit.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "unit.tif").rgb[..., 2], np.floor(ramp * 255 + 0.5))
    Image.fromarray(ramp.astype(np.int32)).save(tmp_path / "integers.tif")
    with pytest.raises(InputError, match=r"integers\.tif: 32-bit integer pixels have no known scale"):
        read_image(tmp_path / "integers.tif")
    Image.fromarray(300 * ramp).save(tmp_path / "other.tif")
    with pytest.raises(InputError, match=r"other\.tif: float pixels must lie in \[0, 1\], found 0 to 300"):
        read_image(tmp_path / "other.tif")


def display_p3() -> bytes:
    """A small ICC profile with Display P3's primaries (adapted to D50) and a gamma of 2.2."""

    def s15(values):
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(2.2 * 256), 0)
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 3) + b"P3\0" + bytes(78 + 1),
        b"wtpt": s15((0.9642, 1.0, 0.8249)),
        b"rXYZ": s15((0.5151, 0.2412, -0.0011)),
        b"gXYZ": s15((0.2920, 0.6922, 0.0419)),
        b"bXYZ": s15((0.1571, 0.0666, 0.7841)),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    rest = struct.pack(">I", len(tags)) + table + body
    header = struct.pack(">I4s4s4s4s4s", 128 + len(rest), bytes(4), b"\x02\x10\0\0", b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    return header[:128] + rest


def test_colour_profiles_are_applied(tmp_path):
    patch = np.full((HEIGHT, WIDTH, 3), (180, 100, 90), np.uint8)
    Image.fromarray(patch).save(tmp_path / "p3.png", icc_profile=display_p3())
    red, green, blue = read_image(tmp_path / "p3.png").rgb[0, 0].astype(int)
    assert red > 186, "a Display P3 red is redder than the same numbers in sRGB"
    assert green < 99
    # Within two levels of the definition: P3 primaries to sRGB primaries in linear light.
    linear = (np.array([180, 100, 90]) / 255) ** 2.2
    matrix = [[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]]
    mixed = np.array(matrix) @ linear
    expected = 255 * np.where(mixed <= 0.0031308, 12.92 * mixed, 1.055 * mixed ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose([red, green, blue], expected, atol=2)


def test_srgb_and_useless_profiles_change_nothing(tmp_path, scene):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name, profile in (("srgb.png", srgb), ("noise.png", b"this is no profile"), ("cut.png", display_p3()[:200])):
        Image.fromarray(scene).save(tmp_path / name, icc_profile=profile)
        np.testing.assert_array_equal(read_image(tmp_path / name).rgb, scene, err_msg=name)
    grey = Image.fromarray(scene[..., 0])
    grey.save(tmp_path / "grey.png", icc_profile=srgb)  # a colour profile on a grey picture
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png").rgb[..., 0], scene[..., 0])


# ── rotation ─────────────────────────────────────────────────────────────────────────────────────────────────────────

# What undoes each orientation, by its definition: where row 0 and column 0 of the stored picture lie in the scene.
STORE = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),  # row 0 left, column 0 top
    6: lambda a: np.rot90(a, 1),  # row 0 right, column 0 top
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),  # row 0 right, column 0 bottom
    8: lambda a: np.rot90(a, -1),  # row 0 left, column 0 bottom
}


def exif(orientation: int, **tags: object) -> bytes:
    data = Image.Exif()
    data[0x0112] = orientation
    data[0x8769] = {int(tag.removeprefix("t"), 16): value for tag, value in tags.items()}
    return data.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "heic", "avif"])
def test_exif_rotation_is_applied(tmp_path, scene, orientation, suffix):
    if suffix == "avif" and not HAS_AVIF:
        pytest.skip("this Pillow has no AVIF")
    path = tmp_path / f"photo.{suffix}"
    image = Image.fromarray(np.ascontiguousarray(STORE[orientation](scene)))
    pillow_heif.register_heif_opener()
    image.save(path, exif=exif(orientation))
    photo = read_image(path)
    assert close(photo.rgb, scene, most=24)
    assert (photo.width, photo.height) == (WIDTH, HEIGHT)
    assert photo.exif.orientation == orientation


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_impossible_orientations_mean_none(tmp_path, scene, orientation):
    Image.fromarray(scene).save(tmp_path / "photo.png", exif=exif(orientation))
    photo = read_image(tmp_path / "photo.png")
    np.testing.assert_array_equal(photo.rgb, scene)
    assert photo.exif.orientation == 1


def test_sixteen_bit_and_float_pictures_are_turned_too(tmp_path):
    ramp = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    Image.fromarray(np.ascontiguousarray(np.rot90(ramp, 1))).save(tmp_path / "grey.tif", exif=exif(6))
    np.testing.assert_array_equal(read_image(tmp_path / "grey.tif").rgb[..., 0], np.round(ramp / 257))


def test_exif_tags(tmp_path, scene):
    data = Image.Exif()
    data[0x010F], data[0x0110], data[0x0112] = "Maker\0", " Model 1 ", 6
    lens = {0x920A: 4.25, 0xA405: 26, 0xA404: 2.0, 0xA434: "Lens 26mm"}
    plane = {0xA002: 4032, 0xA003: 3024, 0xA20E: 2540.0, 0xA20F: 5080.0, 0xA210: 2}  # per inch
    data[0x8769] = {**lens, **plane}
    Image.fromarray(scene).save(tmp_path / "photo.jpg", exif=data.tobytes())
    tags = read_image(tmp_path / "photo.jpg").exif
    assert (tags.make, tags.model, tags.lens_model) == ("Maker", "Model 1", "Lens 26mm")
    assert (tags.focal_length_mm, tags.focal_length_35mm, tags.digital_zoom) == (4.25, 26, 2)
    # Turned by a quarter: x and y have changed places.
    assert (tags.pixel_x_dimension, tags.pixel_y_dimension) == (3024, 4032)
    assert (tags.plane_x_px_per_mm, tags.plane_y_px_per_mm) == (200, 100)


def test_absent_and_broken_exif_tags_are_none(tmp_path, scene):
    Image.fromarray(scene).save(tmp_path / "none.jpg")
    bare = read_image(tmp_path / "none.jpg").exif
    assert bare.focal_length_mm is bare.focal_length_35mm is bare.plane_x_px_per_mm is None
    data = Image.Exif()
    data[0x8769] = {0x920A: (0, 0), 0xA405: 0, 0xA404: 0.0}  # 0/0, "unknown", "not used"
    Image.fromarray(scene).save(tmp_path / "zero.jpg", exif=data.tobytes())
    zero = read_image(tmp_path / "zero.jpg").exif
    assert zero.focal_length_mm is zero.focal_length_35mm is zero.digital_zoom is None


def test_damaged_exif_does_not_cost_the_photo(tmp_path, scene):
    whole = exif(6, t920A=4.25)
    for length in range(8, len(whole), 5):
        Image.fromarray(scene).save(tmp_path / "photo.jpg", exif=whole[:length], quality=95)
        assert read_image(tmp_path / "photo.jpg").rgb.shape in ((HEIGHT, WIDTH, 3), (WIDTH, HEIGHT, 3))


# ── what cannot be read ──────────────────────────────────────────────────────────────────────────────────────────────


def refused(path, **options) -> str:
    with pytest.raises(InputError) as caught:
        read_image(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: "), "file first, then cause"
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_no_file_a_folder_nothing_in_it(tmp_path):
    assert refused(tmp_path / "missing.jpg") == "no such file"
    assert refused(tmp_path) == "is a folder, not an image"
    (tmp_path / "empty.jpg").touch()
    assert refused(tmp_path / "empty.jpg") == "the file is empty"
    with pytest.raises(InputError, match=r"no such file|cannot be read"):
        read_image("nul\0character.jpg")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert refused(tmp_path / "pipe.jpg") == "not a regular file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_one_may_not_read(tmp_path, scene):
    path = tmp_path / "secret.png"
    Image.fromarray(scene).save(path)
    path.chmod(0)
    assert refused(path) == "cannot be read (Permission denied)"


def test_a_file_that_fails_to_open(tmp_path, scene, monkeypatch):
    path = tmp_path / "secret.png"
    Image.fromarray(scene).save(path)

    def deny(self, *_args):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(path), "open", deny)
    assert refused(path) == "cannot be read (Permission denied)"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"To be or not to be", "not an image"),
        (b"\0" * 4096, "not an image"),
        (b"%PDF-1.7 and so on", "not an image"),
        (b"\0\0\0\x20ftypisom\0\0\0\0", "is a video"),
        (b"\xff\xd8\xff", "damaged at its beginning"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "not an image"),
    ],
)
def test_not_an_image(tmp_path, content, cause):
    (tmp_path / "photo.jpg").write_bytes(content)
    assert cause in refused(tmp_path / "photo.jpg")


def test_camera_raw_is_not_taken_for_its_thumbnail(tmp_path, scene):
    Image.fromarray(scene).save(tmp_path / "raw.dng", format="TIFF")
    assert "RAW" in refused(tmp_path / "raw.dng")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp", "heic", "avif"])
@pytest.mark.parametrize("kept", [0.97, 0.6, 0.3])
def test_cut_off_files_are_refused_not_half_read(tmp_path, suffix, kept):
    if suffix == "avif" and not HAS_AVIF:
        pytest.skip("this Pillow has no AVIF")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8))
    pillow_heif.register_heif_opener()
    file = io.BytesIO()
    noise.save(file, format={"jpg": "JPEG", "tif": "TIFF", "heic": "HEIF"}.get(suffix, suffix.upper()))
    whole = file.getvalue()
    (tmp_path / f"cut.{suffix}").write_bytes(whole[: int(kept * len(whole))])
    assert "damaged" in refused(tmp_path / f"cut.{suffix}")


def test_a_jpeg_cut_anywhere(tmp_path, scene):
    file = io.BytesIO()
    Image.fromarray(scene).save(file, format="JPEG", progressive=True)
    whole = file.getvalue()
    for length in range(1, len(whole), 97):
        (tmp_path / "cut.jpg").write_bytes(whole[:length])
        refused(tmp_path / "cut.jpg")


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a huge black picture in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = zlib.compress(bytes(1000))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", row) + chunk(b"IEND", b"")


def test_bombs_are_refused_before_they_are_unpacked(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(30_000, 30_000))
    assert refused(path) == "30000×30000 are 900 megapixels, above the limit of 100"
    path.write_bytes(png_header(2**31 - 1, 2**31 - 1))
    assert "above the limit" in refused(path)


def test_the_limit_can_be_set_either_way(tmp_path, scene):
    path = tmp_path / "photo.png"
    Image.fromarray(scene).save(path)
    assert "above the limit" in refused(path, max_pixels=HEIGHT * WIDTH - 1)
    assert read_image(path, max_pixels=HEIGHT * WIDTH).width == WIDTH


def test_pillows_own_limit_is_left_as_it_was_and_does_not_bind(tmp_path, scene, monkeypatch):
    path = tmp_path / "photo.png"
    Image.fromarray(scene).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read_image(path).width == WIDTH
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("size", [(1, 1), (15, 300), (300, 15)])
def test_too_small_to_hold_a_person(tmp_path, size):
    path = tmp_path / "tiny.png"
    Image.new("RGB", size).save(path)
    assert refused(path) == f"{size[0]}×{size[1]} pixels are too few to hold a person (16 a side at least)"


# ── arrays ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_arrays(scene):
    photo = from_array(scene)
    np.testing.assert_array_equal(photo.rgb, scene)
    assert not np.shares_memory(photo.rgb, scene)
    assert not photo.is_file
    assert str(photo.path) == "array"
    assert str(from_array(scene, name="frame_7.png").path) == "frame_7.png"
    grey = scene[..., 0]
    for array in (grey, grey[..., None]):
        np.testing.assert_array_equal(from_array(array).rgb, np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_array_equal(from_array(scene.astype(np.uint16) * 257).rgb, scene)
    np.testing.assert_array_equal(from_array(scene / 255).rgb, scene)
    np.testing.assert_array_equal(from_array((scene / 255).astype(np.float32)[:, ::-1]).rgb, scene[:, ::-1])
    half = np.full((HEIGHT, WIDTH, 1), 128, np.uint8)
    over = np.round(scene * (128 / 255) + 127)
    assert close(from_array(np.concatenate([scene, half], axis=2)).rgb, over, most=1)


@pytest.mark.parametrize(
    ("array", "cause"),
    [
        (np.zeros((3, 48, 64), np.uint8), r"not 3×48×64; it looks like C×H×W"),
        (np.zeros((2, 48, 64, 3), np.uint8), "one by one"),
        (np.zeros((48, 64, 5), np.uint8), "not 48×64×5"),
        (np.zeros(48, np.uint8), "not 48"),
        (np.uint8(3), "a single number"),
        (np.zeros((48, 64, 3), np.int64), "not int64"),
        (np.zeros((48, 64, 3), bool), "not bool"),
        (np.full((48, 64, 3), 200.0), r"\[0, 1\], found 200 to 200"),
        (np.full((48, 64, 3), np.nan), "NaN"),
        (np.zeros((48, 1, 3), np.uint8), "too few"),
        ([["a"]], "not <U1|too few"),
    ],
)
def test_arrays_that_are_no_pictures(array, cause):
    with pytest.raises(InputError, match=cause):
        from_array(array)
