from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrichmsr.people.crops import crop_from_image_matrices, extract_crops, transform_points
from metrichmsr.people.regions import region_from_alignment, region_from_box, region_from_keypoints

angles = st.floats(-np.pi, np.pi)


def texture(height: int = 240, width: int = 320, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3)).astype(np.uint8)
    return cv2.GaussianBlur(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), (0, 0), 2)


@given(x=st.floats(-50, 500), y=st.floats(-50, 500), size=st.floats(20, 900), rotation=angles)
@settings(max_examples=50, deadline=None)
def test_region_corners_become_crop_corners(x: float, y: float, size: float, rotation: float) -> None:
    matrix = crop_from_image_matrices(np.array([[x, y, size, rotation]]), crop_size=256)
    up, right = np.array([np.sin(rotation), -np.cos(rotation)]), np.array([np.cos(rotation), np.sin(rotation)])
    corners = np.array([x, y]) + size / 2 * np.array([up - right, up + right, right - up, -right - up])
    expected = np.array([[0, 0], [256, 0], [256, 256], [0, 256]])
    np.testing.assert_allclose(transform_points(matrix, corners[None])[0], expected, atol=1e-6)


@pytest.mark.parametrize("rotation", [0.0, 0.4, -2.0])
@pytest.mark.parametrize("size", [90.0, 256.0, 700.0])
def test_moving_image_and_region_by_whole_pixels_changes_nothing(size: float, rotation: float) -> None:
    image = np.pad(texture(), ((400, 400), (400, 400), (0, 0)), mode="reflect")
    region = np.array([[555.3, 520.8, size, rotation]])
    crop = extract_crops(image, region, crop_size=256)
    for dx, dy in ((1, 0), (0, 1), (7, 13)):
        moved = extract_crops(np.ascontiguousarray(image[dy:, dx:]), region - [[dx, dy, 0, 0]], crop_size=256)
        difference = np.abs(moved.astype(int) - crop.astype(int))
        assert difference.max() <= 1


def test_crop_equals_naive_sampling_at_pixel_centers() -> None:
    """Bilinear interpolation, written out, at the continuous positions of the crop's pixel centres."""
    image = texture()
    region = np.array([[150.2, 110.7, 200.0, 0.3]])
    crop = extract_crops(image, region, crop_size=64 * 4)[0].astype(float)
    image_from_crop = np.linalg.inv(crop_from_image_matrices(region, crop_size=256))[0]
    rng = np.random.default_rng(1)
    for row, column in rng.integers(40, 216, (60, 2)):
        x, y = (image_from_crop @ [column + 0.5, row + 0.5, 1])[:2] - 0.5
        x0, y0 = int(np.floor(x)), int(np.floor(y))
        patch = image[y0 : y0 + 2, x0 : x0 + 2].astype(float)
        weights = np.outer([1 - (y - y0), y - y0], [1 - (x - x0), x - x0])
        np.testing.assert_allclose(crop[row, column], (patch * weights[..., None]).sum((0, 1)), atol=4)


def test_large_regions_are_averaged_not_aliased() -> None:
    """A fine checkerboard becomes grey, not stripes."""
    board = np.indices((1200, 1200)).sum(0) % 2 * 255
    image = np.repeat(board[..., None], 3, axis=-1).astype(np.uint8)
    crop = extract_crops(image, np.array([[600.0, 600.0, 1000.0, 0.2]]), crop_size=256)[0]
    assert crop.astype(float).std() < 6
    assert abs(crop.mean() - 127.5) < 3


def test_scaled_image_gives_the_same_crop() -> None:
    image = texture(480, 640)
    half = cv2.resize(image, (320, 240), interpolation=cv2.INTER_AREA)
    region = np.array([[300.0, 240.0, 400.0, 0.5]])
    large = extract_crops(image, region, crop_size=256)[0].astype(float)
    small = extract_crops(half, region * [[0.5, 0.5, 0.5, 1]], crop_size=256)[0].astype(float)
    assert np.abs(large - small).mean() < 2


@pytest.mark.parametrize("region", [[-5000.0, 50, 100, 0], [160, 120, 0.5, 0], [160, 120, 9000, 1.0]])
def test_extreme_regions(region: list[float]) -> None:
    crop = extract_crops(texture(), np.array([region]), crop_size=256)
    assert crop.shape == (1, 256, 256, 3)
    if region[0] < 0:
        assert not crop.any()


def test_no_regions() -> None:
    assert extract_crops(texture(), np.zeros((0, 4)), crop_size=256).shape == (0, 256, 256, 3)


@given(rotation=angles)
@settings(max_examples=30, deadline=None)
def test_region_turns_with_the_person(rotation: float) -> None:
    keypoints = np.full((17, 3), 0.9)
    keypoints[:, :2] = (
        [[0, -60]] * 5
        + [[12, -45], [-12, -45], [20, -20], [-20, -20], [22, 0], [-22, 0]]
        + [
            [8, 0],
            [-8, 0],
            [9, 35],
            [-9, 35],
            [9, 70],
            [-9, 70],
        ]
    )
    upright = region_from_keypoints(keypoints, np.array([-30.0, -70, 30, 80]))
    cos, sin = np.cos(rotation), np.sin(rotation)
    turned = keypoints.copy()
    turned[:, :2] = keypoints[:, :2] @ np.array([[cos, sin], [-sin, cos]]) + [300, 200]
    region = region_from_keypoints(turned, np.array([0.0, 0, 1, 1]))
    np.testing.assert_allclose(region[:3], upright[:3] + [300, 200, 0], atol=1e-9)
    assert abs(np.angle(np.exp(1j * (region[3] - rotation)))) < 1e-9


def test_region_falls_back_to_the_box() -> None:
    box = np.array([10.0, 20, 50, 120])
    keypoints = np.zeros((17, 3))
    np.testing.assert_array_equal(region_from_keypoints(keypoints, box), region_from_box(box))
    np.testing.assert_allclose(region_from_box(box), [30, 70, 125, 0])


def test_region_from_alignment_points_up() -> None:
    region = region_from_alignment(np.array([100.0, 100.0]), np.array([140.0, 100.0]))
    np.testing.assert_allclose(region, [100, 100, 100, np.pi / 2])
