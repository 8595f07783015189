"""Lens distortion: inverse of itself, equal to OpenCV, and removed from pictures in our pixel convention."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from metrichmsr.geometry.distortion import (
    distort,
    distort_pixels,
    undistort,
    undistort_image,
    undistort_pixels,
    valid_radius,
)
from metrichmsr.structures import Camera

COEFFICIENTS = [
    (-0.30, 0.10, 0.001, -0.002, 0.0),  # ordinary barrel
    (0.20, -0.05, 0.002, 0.001, 0.01),  # pincushion
    (-0.50, 0.30, 0.001, 0.001, -0.10),  # with a turning point
    (0.0, 0.0, 0.01, -0.02, 0.0),  # tangential alone
]


def camera(distortion, *, width: int = 640, height: int = 480, focal: float = 500.0, cx: float = 0.0, cy: float = 0.0):
    K = np.array([[focal, 0, width / 2 + cx], [0, focal * 1.01, height / 2 + cy], [0, 0, 1.0]])
    return Camera(K=K, width=width, height=height, source="given", distortion=distortion)


def points_within(coefficients, n: int = 2000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    points = 2 * torch.rand(n, 2, generator=generator, dtype=torch.float64) - 1
    return points[points.norm(dim=-1) < 0.97 * valid_radius(coefficients)]


@pytest.mark.parametrize("coefficients", COEFFICIENTS)
def test_undistort_inverts_distort(coefficients):
    points = points_within(coefficients)
    back = undistort(distort(points, coefficients), coefficients)
    assert (back - points).norm(dim=-1).max() < 1e-12


def test_undistort_in_single_precision():
    points = points_within(COEFFICIENTS[0])
    back = undistort(distort(points, COEFFICIENTS[0]).float(), COEFFICIENTS[0])
    assert back.dtype == torch.float32
    assert (back.double() - points).norm(dim=-1).max() < 5e-6


@pytest.mark.parametrize("coefficients", COEFFICIENTS)
def test_distort_equals_opencv(coefficients):
    points = points_within(coefficients)
    in_space = torch.cat([points, torch.ones_like(points[:, :1])], dim=1).numpy()
    theirs, _ = cv2.projectPoints(in_space, np.zeros(3), np.zeros(3), np.eye(3), np.array(coefficients))
    np.testing.assert_allclose(distort(points, coefficients).numpy(), theirs[:, 0], atol=1e-12)


@pytest.mark.parametrize("coefficients", COEFFICIENTS[:2])
def test_undistort_equals_opencv(coefficients):
    distorted = 0.6 * points_within(coefficients)
    until = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 200, 1e-14)
    arguments = (distorted.numpy()[:, None], np.eye(3), np.array(coefficients))
    if hasattr(cv2, "undistortPointsIter"):  # OpenCV 4
        theirs = cv2.undistortPointsIter(*arguments, np.eye(3), np.eye(3), until)
    else:
        theirs = cv2.undistortPoints(*arguments, criteria=until)
    np.testing.assert_allclose(undistort(distorted, coefficients).numpy(), theirs[:, 0], atol=1e-8)


def test_undistort_takes_batches_and_the_origin():
    points = torch.zeros(2, 3, 4, 2, dtype=torch.float64)
    points[..., 0] = 0.1
    points[0, 0, 0] = 0.0
    back = undistort(distort(points, COEFFICIENTS[0]), COEFFICIENTS[0])
    torch.testing.assert_close(back, points)


def test_undistort_is_differentiable():
    points = torch.tensor([[0.3, -0.2]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: undistort(p, COEFFICIENTS[0]), (points,))


def test_valid_radius_is_where_the_radial_curve_turns():
    assert valid_radius((-0.4, 0, 0, 0, 0)) == pytest.approx(math.sqrt(1 / 1.2))
    assert valid_radius((0.2, 0.1, 0.01, 0.01, 0.3)) == math.inf
    assert valid_radius((0, 0, 0, 0, 0)) == math.inf
    reach = valid_radius(COEFFICIENTS[2])
    radii = torch.linspace(0, reach, 1000, dtype=torch.float64)
    curve = distort(torch.stack([radii, 0 * radii], dim=-1), (*COEFFICIENTS[2][:2], 0, 0, COEFFICIENTS[2][4]))[:, 0]
    assert (curve.diff() > 0).all()


def test_points_no_ideal_point_is_mapped_to_are_nan():
    coefficients = (-0.4, 0.0, 0.0, 0.0, 0.0)
    reach = valid_radius(coefficients)
    farthest = float(distort(torch.tensor([reach, 0.0], dtype=torch.float64), coefficients)[0])
    inside, outside = torch.tensor([[0.99 * farthest, 0.0], [1.05 * farthest, 0.0]], dtype=torch.float64)
    assert undistort(inside, coefficients).isfinite().all()
    assert undistort(outside, coefficients).isnan().all()


def test_pixels_there_and_back():
    c = camera(COEFFICIENTS[0], cx=11, cy=-7)
    K = torch.from_numpy(c.K)
    pixels = torch.tensor([[0.0, 0.0], [320.0, 240.0], [639.5, 1.5]], dtype=torch.float64)
    there = distort_pixels(pixels, K, COEFFICIENTS[0])
    torch.testing.assert_close(undistort_pixels(there, K, COEFFICIENTS[0]), pixels, atol=1e-9, rtol=0)
    centre = torch.from_numpy(c.K[:2, 2]).clone()
    torch.testing.assert_close(distort_pixels(centre, K, COEFFICIENTS[0]), centre)


def blob_picture(c: Camera, ideal_pixels: np.ndarray) -> np.ndarray:
    """A distorted photo of small bright discs whose undistorted centres are given, rendered without undistort_image."""
    K = torch.from_numpy(c.K)
    centres = distort_pixels(torch.from_numpy(ideal_pixels), K, c.distortion or (0.0,) * 5).numpy()
    image = np.zeros((c.height, c.width))
    for x, y in centres:
        window = np.s_[int(y) - 12 : int(y) + 13, int(x) - 12 : int(x) + 13]
        v, u = np.mgrid[window] + 0.5  # pixel centres
        image[window] += np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * 2.0**2))
    return np.repeat(np.round(255 * image.clip(0, 1)).astype(np.uint8)[..., None], 3, axis=2)


def blob_centre(image: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Centre of gravity around a place, continuous pixels."""
    column, row = (near - 0.5).round().astype(int)
    window = image[row - 9 : row + 10, column - 9 : column + 10, 0].astype(float)
    v, u = np.mgrid[row - 9 : row + 10, column - 9 : column + 10] + 0.5
    return np.array([(u * window).sum(), (v * window).sum()]) / window.sum()


@pytest.mark.parametrize("distortion", [(-0.25, 0.08, 0.002, -0.001, 0.0), (0.15, 0.02, 0.0, 0.001, 0.0)])
def test_undistorted_picture_keeps_the_pixel_convention(distortion):
    c = camera(distortion, cx=13.3, cy=-8.7)
    ideal = np.array([[100.3, 90.7], [320.0, 240.0], [511.6, 133.2], [222.2, 377.7], [560.1, 401.9], [60.4, 240.6]])
    picture, without = undistort_image(blob_picture(c, ideal), c)
    found = np.array([blob_centre(picture, place) for place in ideal])
    assert np.abs(found - ideal).max() < 0.05, "half a pixel of OpenCV's convention would show"
    assert without.distortion is None
    np.testing.assert_array_equal(without.K, c.K)
    assert (without.width, without.height) == (c.width, c.height)


def test_a_straight_line_becomes_straight_again():
    c = camera((-0.3, 0.1, 0.001, 0.0, 0.0))
    ends = np.array([[90.0, 80.0], [560.0, 140.0]])
    on_line = ends[0] + np.linspace(0, 1, 9)[:, None] * (ends[1] - ends[0])
    bent = blob_picture(c, on_line)
    bent_line = distort_pixels(torch.from_numpy(on_line), torch.from_numpy(c.K), (-0.3, 0.1, 0.001, 0.0, 0.0)).numpy()
    straightened, _ = undistort_image(bent, c)
    before = np.array([blob_centre(bent, place) for place in bent_line])
    after = np.array([blob_centre(straightened, place) for place in on_line])

    def bend(points):
        return np.abs((points - points.mean(0)) @ np.linalg.svd(points - points.mean(0))[2][1]).max()

    assert bend(before) > 1.0
    assert bend(after) < 0.05


def test_undistorted_picture_equals_opencv_in_its_own_convention():
    c = camera((-0.2, 0.05, 0.001, 0.002, 0.01), cx=5, cy=3)
    rng = np.random.default_rng(3)
    image = cv2.resize(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
    K = c.K.copy()
    K[:2, 2] -= 0.5
    maps = cv2.initUndistortRectifyMap(K, np.array(c.distortion), np.eye(3), K, (640, 480), cv2.CV_32FC1)
    theirs = cv2.remap(image, *maps, cv2.INTER_CUBIC)
    ours, _ = undistort_image(image, c)
    inside = np.s_[3:-3, 3:-3]
    assert np.abs(ours[inside].astype(int) - theirs[inside]).max() <= 2


def test_what_the_lens_did_not_see_is_black():
    white = np.full((480, 640, 3), 255, dtype=np.uint8)
    pincushion, _ = undistort_image(white, camera((0.3, 0.0, 0.0, 0.0, 0.0)))
    assert (pincushion[0, 0] == 0).all()
    assert (pincushion[240, 320] == 255).all()
    assert set(np.unique(pincushion)) == {0, 255}, "no grey fringe"
    barrel, _ = undistort_image(white, camera((-0.2, 0.0, 0.0, 0.0, 0.0)))
    assert (barrel == 255).all()
    # Wide angle and a polynomial that turns inside the picture: no second, mirrored scene beyond the turn.
    turned, _ = undistort_image(white, camera((-0.4, 0.0, 0.0, 0.0, 0.0), focal=250))
    assert (turned[0, 0] == 0).all()


def test_a_camera_without_distortion_changes_nothing():
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    for distortion in (None, (0.0, 0.0, 0.0, 0.0, 0.0)):
        result, without = undistort_image(image, camera(distortion))
        assert result is image
        assert without.distortion is None


def test_a_camera_of_another_size_is_refused():
    with pytest.raises(ValueError, match="640×480, image is 320×480"):
        undistort_image(np.zeros((480, 320, 3), dtype=np.uint8), camera(COEFFICIENTS[0]))
