"""A photo with lens distortion: removed before recovering, and again by whatever reads the photo of the result."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from metrichmsr import cli
from metrichmsr.export import read_result
from metrichmsr.export.read import read_recovery
from metrichmsr.export.report_folder import report_on_folder
from metrichmsr.export.result_folder import read_back
from metrichmsr.export.write import write_recovery
from metrichmsr.geometry.distortion import undistort_pixels
from metrichmsr.recover import Recoverer, RecoverOptions
from metrichmsr.structures import Scene
from metrichmsr.viewer.photo import find_photo
from metrichmsr.viewer.result_folder import open_result

DISTORTION = (-0.35, 0.1, 0.002, -0.001, 0.0)
WIDTH, HEIGHT = 240, 180


def pattern(pixels: torch.Tensor) -> np.ndarray:
    """RGB of a smooth wall at continuous pixels of the picture without distortion."""
    u, v = pixels.numpy()[..., 0], pixels.numpy()[..., 1]
    waves = [np.sin(u / 5), np.sin(v / 6), np.sin((u + v) / 7)]
    return np.round(128 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


@pytest.fixture
def wall(make_camera, tmp_path):
    """A wall as a lens draws it (a file), and without the lens; both from the formula, not by resampling."""
    K = make_camera(WIDTH, HEIGHT).K
    v, u = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    centres = torch.from_numpy(np.stack([u, v], axis=-1))
    path = tmp_path / "photos" / "wall.png"
    path.parent.mkdir()
    Image.fromarray(pattern(undistort_pixels(centres, torch.from_numpy(K), DISTORTION))).save(path)
    intrinsics = {"K": K.tolist(), "width": WIDTH, "height": HEIGHT, "distortion": DISTORTION}
    path.with_suffix(".json").write_text(json.dumps(intrinsics))
    return path, pattern(centres)


@pytest.fixture
def result(wall, make_anny, tmp_path):
    """The wall recovered, with a depth and a body put before it, and the folder of the result."""
    path, _ = wall
    recover = Recoverer(RecoverOptions(depth="none"), find=lambda image, path: SimpleNamespace(landmarks=()))
    recovery = dataclasses.replace(
        recover(path),
        people=(make_anny(0, (0.2, 0.0, 4.0)),),
        scene=Scene(np.full((HEIGHT, WIDTH), 6.0, np.float32), "embedded", refined=False),
    )
    (tmp_path / "out").mkdir()
    return recovery, write_recovery(recovery, tmp_path / "out", "wall", formats=("ply", "depth", "overlay"))


def off(picture: np.ndarray, truth: np.ndarray) -> float:
    """Median difference, of 255."""
    assert picture.shape == truth.shape
    return float(np.median(np.abs(picture.astype(int) - truth.astype(int))))


def test_the_photo_is_another_picture(wall):
    path, truth = wall
    assert off(np.asarray(Image.open(path)), truth) > 20, "else the tests below prove nothing"


def test_the_result_keeps_what_was_removed(result, wall):
    recovery, folder = result
    assert off(recovery.image, wall[1]) <= 2
    assert recovery.removed_distortion == DISTORTION
    assert recovery.camera.distortion is None, "a pinhole"
    assert read_result(folder / "result.json")["camera"]["distortion"] == list(DISTORTION)


def test_read_back_it_is_the_picture_that_was_recovered_from(result):
    recovery, folder = result
    again = read_recovery(folder)
    np.testing.assert_array_equal(again.image, recovery.image)
    assert again.removed_distortion == DISTORTION
    assert again.camera.distortion is None


def test_converted_surroundings_wear_the_photo_without_distortion(result, wall, tmp_path):
    _, folder = result
    assert cli.main(["convert", str(folder), "--to", "obj", "--out", str(tmp_path / "more")]) == 0
    assert off(np.asarray(Image.open(tmp_path / "more" / "scene_photo.jpg")), wall[1]) <= 6


def test_the_report_has_the_photo_itself(result):
    recovery, folder = result
    back = read_back(folder, read_result(folder / "result.json"))
    assert back.drawn_over is None, "found again, and the same as in the overlay"
    np.testing.assert_array_equal(back.recovery.image, recovery.image)
    assert "known, and removed" in report_on_folder(folder).read_text(encoding="utf-8")


def test_the_viewer_shows_it_without_distortion(result):
    recovery, folder = result
    photo = find_photo(open_result(folder))
    assert photo is not None
    np.testing.assert_array_equal(photo, recovery.image)


def test_a_result_without_distortion_keeps_its_photo(result, wall):
    _, folder = result
    document = json.loads((folder / "result.json").read_text())
    document["camera"]["distortion"] = None
    (folder / "result.json").write_text(json.dumps(document))
    np.testing.assert_array_equal(read_recovery(folder).image, np.asarray(Image.open(wall[0])))
