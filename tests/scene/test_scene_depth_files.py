"""Depth files: every format keeps what was written, units mean what they say, bad files are refused by name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metrichmsr.errors import InputError, UsageError
from metrichmsr.scene.depth.depth_files import read_depth_file
from metrichmsr.scene.depth.file import DepthUnit, FileDepth
from metrichmsr.scene.depth.registry import load_depth_source
from metrichmsr.structures import Camera

WIDTH, HEIGHT = 48, 36


@pytest.fixture
def picture() -> np.ndarray:
    return np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def camera(make_camera) -> Camera:
    return make_camera(WIDTH, HEIGHT)


@pytest.fixture
def truth() -> np.ndarray:
    """Metres in whole millimetres, so that every format can hold them; the left edge unknown."""
    depth = np.random.default_rng(3).integers(400, 60000, (HEIGHT, WIDTH)) / 1000
    depth[:, 0] = np.nan
    return depth


def write(path: Path, depth: np.ndarray) -> Path:
    if path.suffix == ".npz":
        np.savez(path, depth_m=depth.astype(np.float32))
    elif path.suffix == ".npy":
        np.save(path, depth)
    elif path.suffix == ".png":
        Image.fromarray(np.nan_to_num(np.round(depth * 1000)).astype(np.uint16)).save(path)
    elif path.suffix == ".exr":
        write_exr(path, {"Z": depth.astype(np.float32)})
    else:
        Image.fromarray(depth.astype(np.float32)).save(path)
    return path


def write_exr(path: Path, channels: dict[str, np.ndarray]) -> None:
    exr = pytest.importorskip("OpenEXR")
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    with exr.File(header, channels) as file:
        file.write(str(path))


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".png", ".exr", ".tif", ".tiff"])
def test_every_format_gives_back_the_metres_and_the_holes(tmp_path, suffix, truth, picture, camera) -> None:
    source = load_depth_source(f"file:{write(tmp_path / f'a{suffix}', truth)}")
    estimate = source(picture, camera)
    np.testing.assert_allclose(estimate.depth_m, truth, rtol=1e-6)
    assert estimate.depth_m.dtype == np.float32
    assert estimate.metric
    assert estimate.K is None
    assert source.name == "file"


@pytest.mark.parametrize(
    ("stored", "unit", "metres"),
    [
        (np.uint16(1500), "auto", 1.5),
        (np.uint16(1500), "millimetres", 1.5),
        (np.float32(1.5), "auto", 1.5),
        (np.float32(1500), "millimetres", 1.5),
        (np.uint16(7500), "0.0002", 1.5),
        (np.uint16(2), "metres", 2.0),
        (np.int32(384), "0.00390625", 1.5),
    ],
)
def test_a_unit_says_what_the_numbers_mean(tmp_path, stored, unit, metres, picture, camera) -> None:
    np.save(tmp_path / "a.npy", np.full((HEIGHT, WIDTH), stored))
    estimate = load_depth_source(f"file:{tmp_path / 'a.npy'}", unit=unit)(picture, camera)
    np.testing.assert_allclose(estimate.depth_m, metres, rtol=1e-6)
    assert estimate.metric


def test_the_key_depth_m_is_metres_even_of_whole_numbers(tmp_path, picture, camera) -> None:
    np.savez(tmp_path / "a.npz", depth_m=np.full((HEIGHT, WIDTH), 3), other=np.zeros(2))
    assert load_depth_source(f"file:{tmp_path / 'a.npz'}")(picture, camera).depth_m.max() == 3


def test_relative_depth_stays_as_it_is_and_claims_no_metres(tmp_path, picture, camera, truth) -> None:
    np.save(tmp_path / "a.npy", truth)
    estimate = load_depth_source(f"file:{tmp_path / 'a.npy'}", unit="relative")(picture, camera)
    np.testing.assert_allclose(estimate.depth_m, truth, rtol=1e-6)
    assert not estimate.metric


def test_inverse_depth_comes_out_as_depth_up_to_a_scale(tmp_path, picture, camera, truth) -> None:
    np.save(tmp_path / "a.npy", 7 / truth)
    estimate = load_depth_source(f"file:{tmp_path / 'a.npy'}", unit="inverse")(picture, camera)
    ratio = estimate.depth_m / truth
    np.testing.assert_allclose(ratio[:, 1:], np.nanmedian(ratio), rtol=1e-5)
    assert np.isnan(estimate.depth_m[:, 0]).all()
    assert not estimate.metric
    assert len(estimate.warnings) == 1


def test_what_is_no_depth_becomes_nan(tmp_path, picture, camera) -> None:
    depth = np.full((HEIGHT, WIDTH), 2.0)
    depth[0, :6] = [np.nan, np.inf, -np.inf, 0, -1, 65504]
    np.save(tmp_path / "a.npy", depth)
    found = load_depth_source(f"file:{tmp_path / 'a.npy'}")(picture, camera).depth_m
    assert np.isnan(found[0, :6]).all()
    assert (found[0, 6:] == 2).all()


@pytest.mark.parametrize("factor", [0.25, 0.5, 2, 3])
def test_another_size_is_resized_without_new_values(tmp_path, factor, picture, camera) -> None:
    rows, columns = round(HEIGHT * factor), round(WIDTH * factor)
    depth = np.where(np.arange(columns) < columns // 2, 1.0, 9.0)[None].repeat(rows, axis=0)
    np.savez(tmp_path / "a.npz", depth=depth, confidence=depth / 10)
    estimate = load_depth_source(f"file:{tmp_path / 'a.npz'}")(picture, camera)
    expected = np.where(np.arange(WIDTH) < WIDTH // 2, 1.0, 9.0)[None].repeat(HEIGHT, axis=0)
    np.testing.assert_array_equal(estimate.depth_m, expected)  # the edge stays an edge, and stays where it was
    np.testing.assert_allclose(estimate.confidence, expected / 10, rtol=1e-6)


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH - 3), (HEIGHT + 3, WIDTH), (WIDTH, HEIGHT), (30, 30)])
def test_another_shape_is_refused_with_both_sizes(tmp_path, shape, picture, camera) -> None:
    np.save(tmp_path / "a.npy", np.ones(shape))
    with pytest.raises(InputError, match=rf"a\.npy: .*{shape[1]}×{shape[0]} .*{WIDTH}×{HEIGHT}") as caught:
        load_depth_source(f"file:{tmp_path / 'a.npy'}")(picture, camera)
    assert ("turned" in str(caught.value)) == (shape == (WIDTH, HEIGHT))


def test_a_rounded_shape_is_the_same_shape(tmp_path, make_camera) -> None:
    np.save(tmp_path / "a.npy", np.ones((75, 100)))
    picture = np.zeros((302, 401, 3), dtype=np.uint8)
    estimate = load_depth_source(f"file:{tmp_path / 'a.npy'}")(picture, make_camera(401, 302))
    assert estimate.depth_m.shape == (302, 401)


@pytest.mark.parametrize("value", [0, np.nan, -2, np.inf])
def test_a_file_without_depth_is_refused(tmp_path, value, picture, camera) -> None:
    np.save(tmp_path / "a.npy", np.full((HEIGHT, WIDTH), float(value)))
    with pytest.raises(InputError, match=r"a\.npy: holds no depth"):
        load_depth_source(f"file:{tmp_path / 'a.npy'}")(picture, camera)


def test_metres_beyond_belief_point_at_the_unit(tmp_path, picture, camera) -> None:
    np.save(tmp_path / "a.npy", np.full((HEIGHT, WIDTH), 2500.0))
    with pytest.raises(InputError, match="--depth-unit"):
        load_depth_source(f"file:{tmp_path / 'a.npy'}")(picture, camera)
    np.save(tmp_path / "b.npy", np.full((HEIGHT, WIDTH), 400.0))
    (warning,) = load_depth_source(f"file:{tmp_path / 'b.npy'}")(picture, camera).warnings
    assert "400 m" in warning


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".png", ".exr", ".tif"])
@pytest.mark.parametrize("share", [0, 0.05, 0.6])
def test_a_damaged_file_is_named(tmp_path, suffix, share, truth, picture, camera) -> None:
    path = write(tmp_path / f"a{suffix}", truth)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=rf"a\{suffix}: "):
        load_depth_source(f"file:{path}")(picture, camera)


def test_pictures_that_are_no_depth_are_refused(tmp_path, picture, camera) -> None:
    cases = {
        "colour.png": Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)),
        "palette.png": Image.fromarray(np.full((HEIGHT, WIDTH), 90, dtype=np.uint8)).convert("P"),
        "grey.png": Image.fromarray(np.full((HEIGHT, WIDTH), 90, dtype=np.uint8)),
    }
    causes = {"colour.png": "3 colour channels", "palette.png": "palette", "grey.png": "8 bits"}
    for name, image in cases.items():
        image.save(tmp_path / name)
        with pytest.raises(InputError, match=rf"{name}: .*{causes[name]}"):
            load_depth_source(f"file:{tmp_path / name}")(picture, camera)
    # Eight bits are enough for an order of near and far.
    estimate = load_depth_source(f"file:{tmp_path / 'grey.png'}", unit="inverse")(picture, camera)
    assert not estimate.metric


def test_arrays_that_are_no_map_are_refused(tmp_path, picture, camera) -> None:
    arrays = {
        "a": np.ones((2, HEIGHT, WIDTH)),
        "b": np.ones(5),
        "c": np.ones((4, 4), dtype=complex),
        "d": np.ones((0, 3)),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(InputError, match=rf"{name}\.npy: "):
            load_depth_source(f"file:{tmp_path / f'{name}.npy'}")(picture, camera)
    np.savez(tmp_path / "e.npz", x=np.ones((4, 4)), y=np.ones((4, 4)))
    with pytest.raises(InputError, match=r"e\.npz: has neither depth_m nor depth, but x, y"):
        load_depth_source(f"file:{tmp_path / 'e.npz'}")(picture, camera)


def test_pickles_are_never_loaded(tmp_path, picture, camera) -> None:
    np.save(tmp_path / "a.npy", np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"a\.npy: "):
        load_depth_source(f"file:{tmp_path / 'a.npy'}")(picture, camera)


def test_a_channel_dimension_of_one_is_no_matter(tmp_path, picture, camera) -> None:
    for name, shape in {"a": (1, HEIGHT, WIDTH), "b": (HEIGHT, WIDTH, 1)}.items():
        np.save(tmp_path / f"{name}.npy", np.full(shape, 2.5))
        assert load_depth_source(f"file:{tmp_path / f'{name}.npy'}")(picture, camera).depth_m.shape == (HEIGHT, WIDTH)


def test_a_folder_is_searched_by_stem_and_never_takes_the_photo_itself(tmp_path, picture, camera) -> None:
    for name, metres in {"one": 1.0, "two": 2.0}.items():
        np.save(tmp_path / f"{name}.npy", np.full((HEIGHT, WIDTH), metres))
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    Image.fromarray(picture).save(tmp_path / "three.png")
    source = load_depth_source(f"file:{tmp_path}")
    for name, metres in {"one": 1.0, "two": 2.0}.items():
        assert source(picture, camera, path=tmp_path / f"{name}.png").depth_m.max() == metres
    with pytest.raises(InputError, match=r"three\.png: no depth for it in"):
        source(picture, camera, path=tmp_path / "three.png")
    with pytest.raises(InputError, match="pictures that come from files"):
        source(picture, camera)


def test_an_exr_of_many_channels_gives_its_depth(tmp_path, truth) -> None:
    depth, other = truth.astype(np.float32), np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    write_exr(tmp_path / "a.exr", {"Combined.R": other, "Combined.G": other, "View Layer.Depth.Z": depth})
    np.testing.assert_array_equal(read_depth_file(tmp_path / "a.exr").values, depth)
    write_exr(tmp_path / "b.exr", {"first": other, "second": other})
    with pytest.raises(InputError, match=r"b\.exr: no channel called Z.*first, second"):
        read_depth_file(tmp_path / "b.exr")


def test_exr_without_a_reader_says_what_to_install_and_leaves_the_environment(tmp_path, monkeypatch) -> None:
    import cv2

    seen = []

    def imread(*_):
        seen.append(os.environ["OPENCV_IO_ENABLE_OPENEXR"])

    monkeypatch.delenv("OPENCV_IO_ENABLE_OPENEXR", raising=False)
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    monkeypatch.setattr(cv2, "imread", imread)
    (tmp_path / "a.exr").write_bytes(b"\x76\x2f\x31\x01")
    with pytest.raises(InputError, match=r"a\.exr: .*metrichmsr\[exr\]"):
        read_depth_file(tmp_path / "a.exr")
    assert seen == ["1"]
    assert "OPENCV_IO_ENABLE_OPENEXR" not in os.environ


def test_files_of_other_kinds_and_missing_ones_are_named(tmp_path, picture, camera) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"a\.jpg: not a depth file"):
        load_depth_source(f"file:{tmp_path / 'a.jpg'}")(picture, camera)
    with pytest.raises(InputError, match=r"b\.npz: no such depth file"):
        load_depth_source(f"file:{tmp_path / 'b.npz'}")
    with pytest.raises(InputError, match="no such depth file"):  # taken away in between
        FileDepth(tmp_path / "c.npz")(picture, camera)


@pytest.mark.parametrize("text", ["feet", "0", "-1", "nan", "inf", ""])
def test_units_that_are_none_are_refused(text) -> None:
    with pytest.raises(UsageError, match="--depth-unit"):
        DepthUnit.parse(text)
