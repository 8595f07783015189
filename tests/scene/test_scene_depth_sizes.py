"""Depth between sizes, and disparity to depth: laws."""

from __future__ import annotations

import numpy as np
import pytest

from metrichmsr.scene.depth.disparity import depth_from_disparity
from metrichmsr.scene.depth.protocol import SceneAnchors
from metrichmsr.scene.depth.resampling import (
    fitted_size,
    known_depth,
    plausible_intrinsics,
    resize_depth,
    resize_nearest,
    scale_intrinsics,
)

HEIGHT, WIDTH = 60, 80


def plane(height: int, width: int) -> np.ndarray:
    """Linear in the picture's place, so that resizing has a true answer."""
    v, u = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    return 2 + 3 * u[None] + 4 * v[:, None]


@pytest.mark.parametrize("size", [(120, 160), (45, 60), (30, 40), (61, 83)])
def test_a_plane_stays_where_it_is(size) -> None:
    found = resize_depth(plane(HEIGHT, WIDTH), size[1], size[0])
    np.testing.assert_allclose(found[2:-2, 2:-2], plane(*size)[2:-2, 2:-2], rtol=5e-3)


@pytest.mark.parametrize("size", [(120, 160), (30, 40)])
def test_holes_mix_with_nothing(size) -> None:
    depth = np.full((HEIGHT, WIDTH), 5.0)
    depth[:30] = np.nan
    found = resize_depth(depth, size[1], size[0])
    assert np.isnan(found[: size[0] // 2]).all()
    np.testing.assert_allclose(found[size[0] // 2 :], 5.0, rtol=1e-6)


def test_nearest_takes_the_value_under_the_centre() -> None:
    values = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(resize_nearest(values, 4, 3), values)
    np.testing.assert_array_equal(resize_nearest(resize_nearest(values, 12, 9), 4, 3), values)


def test_scaled_intrinsics_see_the_same_rays() -> None:
    K = np.array([[500.0, 0, 310], [0, 510, 250], [0, 0, 1]])
    small = scale_intrinsics(K, (640, 480), (518, 392))
    point = np.array([0.3, -0.2, 2.0])
    u, v, w = K @ point
    x, y, z = small @ point
    np.testing.assert_allclose([x / z / 518, y / z / 392], [u / w / 640, v / w / 480])


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (1000, 100), (100, 1000), (500, 500)])
def test_fitted_sizes(size) -> None:
    width, height = fitted_size(*size, 518, multiple=14)
    assert max(width, height) == 518
    assert width % 14 == height % 14 == 0
    assert abs(width - size[0] * 518 / max(size)) <= 14
    assert abs(height - size[1] * 518 / max(size)) <= 14


def test_known_depth_drops_what_is_none() -> None:
    depth = np.array([[np.nan, np.inf, 0, -3, 1e10, 7]])
    np.testing.assert_array_equal(known_depth(depth, metric=True), [[np.nan] * 5 + [7]])
    np.testing.assert_array_equal(known_depth(depth, metric=False), [[np.nan] * 4 + [1e10, 7]])


def test_intrinsics_that_no_camera_has() -> None:
    K = np.array([[500.0, 0, 310], [0, 510, 250], [0, 0, 1]])
    assert plausible_intrinsics(K, 640, 480) is K
    for wrong in (
        -K,
        K * [[1e6], [1], [1]],
        K * [[0.01], [0.01], [1]],
        K + [[0, 0, 400], [0] * 3, [0] * 3],
        K * np.nan,
    ):
        assert plausible_intrinsics(wrong, 640, 480) is None


def scene(distances: list[float], spread: float = 0.05) -> tuple[np.ndarray, SceneAnchors]:
    """A room from 2 to 12 m and people in it, some columns each."""
    depth = np.linspace(12, 2, HEIGHT)[:, None].repeat(WIDTH, axis=1)
    person = np.full((HEIGHT, WIDTH), -1, dtype=np.int16)
    for index, distance in enumerate(distances):
        columns = slice(5 + 15 * index, 15 + 15 * index)
        depth[10:50, columns] = distance
        person[10:50, columns] = index
    anchors = SceneAnchors(
        depth_m=np.where(person >= 0, depth, np.nan).astype(np.float32),
        mask=person >= 0,
        person=person,
        relative_std=np.full(len(distances), spread, dtype=np.float32),
    )
    return depth, anchors


@pytest.mark.parametrize(("scale", "shift"), [(3.0, 0.0), (5.0, -0.05), (0.7, 0.1)])
def test_people_at_different_distances_settle_scale_and_shift(scale, shift) -> None:
    depth, anchors = scene([2.0, 8.0, 4.0], spread=0.02)
    disparity = scale / depth + shift * scale
    found, warnings = depth_from_disparity(disparity, anchors)
    known = disparity > 0
    # The prior of no shift is not quite silenced.
    np.testing.assert_allclose(found[known], depth[known], rtol=0.02)
    assert np.isnan(found[~known]).all()
    assert warnings == ()
    # Without the people the shift bends the room: no scale and shift of depth mends it.
    if shift:
        bent, _ = depth_from_disparity(disparity)
        usable = np.isfinite(bent)
        line = np.polyfit(bent[usable], depth[usable], 1)
        assert np.abs(np.polyval(line, bent[usable]) / depth[usable] - 1).max() > 0.05


def test_one_person_settles_the_scale_only() -> None:
    depth, anchors = scene([4.0])
    found, warnings = depth_from_disparity(2 / depth, anchors)
    np.testing.assert_allclose(found, depth, rtol=1e-4)
    assert len(warnings) == 1


def test_without_people_the_median_is_one() -> None:
    depth, anchors = scene([4.0])
    nobody = SceneAnchors(
        depth_m=np.full_like(anchors.depth_m, np.nan),
        mask=np.zeros_like(anchors.mask),
        person=np.full_like(anchors.person, -1),
        relative_std=np.zeros(0, dtype=np.float32),
    )
    for who in (None, nobody):
        found, _ = depth_from_disparity(9 / depth, who)
        assert np.median(found) == pytest.approx(1)
        np.testing.assert_allclose(found / depth, (found / depth)[0, 0], rtol=1e-5)


def test_people_who_contradict_each_other_do_not_bend_the_room() -> None:
    depth, anchors = scene([3.0, 6.0])
    # The heights say the other way round.
    swapped = np.where(anchors.person == 0, 6.0, 3.0)
    lying = SceneAnchors(
        depth_m=np.where(anchors.mask, swapped, np.nan).astype(np.float32),
        mask=anchors.mask,
        person=anchors.person,
        relative_std=anchors.relative_std,
    )
    found, _ = depth_from_disparity(2 / depth, lying)
    np.testing.assert_allclose(found / depth, (found / depth)[0, 0], rtol=1e-4)


def test_a_doubtful_person_pulls_less() -> None:
    depth, anchors = scene([3.0, 3.2])
    wrong = anchors.depth_m.copy()
    wrong[anchors.person == 1] *= 1.2
    scales = []
    for spread in (0.05, 0.5):
        told = SceneAnchors(wrong, anchors.mask, anchors.person, np.array([0.05, spread], dtype=np.float32))
        found, _ = depth_from_disparity(2 / depth, told)
        scales.append(float(np.median((found / depth)[anchors.person == 0])))
    assert 1 <= scales[1] < 1.01 < scales[0] < 1.2


def test_nothing_in_nothing_out() -> None:
    found, _ = depth_from_disparity(np.zeros((4, 5)))
    assert np.isnan(found).all()
