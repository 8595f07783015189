"""Depth maps as meshes and points: whole on a surface, cut between surfaces, nothing made up."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from metrichmsr.scene.surface import SceneSurface, people_pixels, scene_mesh, scene_points
from metrichmsr.structures import Camera, Person

W, H = 160, 120
K = np.array([[130.0, 0, 83.0], [0, 127.0, 58.0], [0, 0, 1]])
CAMERA = Camera(K=K, width=W, height=H, source="given")
MANY = 1_000_000
"""More triangles and points than the picture has: every pixel counts."""


def plane(normal: tuple[float, float, float], offset_m: float) -> np.ndarray:
    """Depth of normal · X = offset; NaN where its ray misses it."""
    v, u = np.mgrid[:H, :W] + 0.5
    along = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(K).T @ np.array(normal)
    with np.errstate(divide="ignore"):
        depth = offset_m / along
    return np.where(depth > 0, depth, np.nan).astype(np.float32)


def wall(depth_m: float = 4.0) -> np.ndarray:
    return np.full((H, W), depth_m, dtype=np.float32)


def pixels(surface: SceneSurface) -> np.ndarray:
    """Column and row of the pixel of every vertex."""
    return np.floor(surface.uv * (W, H)).astype(int)


def covered(surface: SceneSurface) -> np.ndarray:
    """Pixels that have a vertex."""
    mask = np.zeros((H, W), dtype=bool)
    column, row = pixels(surface).T
    mask[row, column] = True
    return mask


def empty(surface: SceneSurface) -> bool:
    return len(surface.vertices_m) == len(surface.faces) == len(surface.uv) == 0


def person(mask: np.ndarray | None) -> Person:
    return Person(
        id=0,
        score=0.9,
        box_xyxy=np.zeros(4),
        body_model="anny",
        translation_m=np.array([0.0, 0.0, 3.0]),
        pose={},
        shape={},
        height_m=1.7,
        height_std_m=0.05,
        distance_std_m=0.1,
        keypoints_2d_px=np.zeros((17, 3)),
        keypoints_3d_m=np.zeros((17, 3)),
        vertices_m=np.zeros((0, 3)),
        faces=np.zeros((0, 3), dtype=int),
        joints_m=np.zeros((1, 3)),
        mask=mask,
    )


@pytest.mark.parametrize(
    ("normal", "offset_m"),
    [
        ((0.0, 0.0, 1.0), 4.0),  # facing the camera
        ((0.8, 0.0, 0.6), 2.0),  # a side wall
        ((0.0, 0.94, 0.34), 1.5),  # a floor, seen from above
        ((0.3, 0.9, 0.32), 1.2),  # the same by a rolled camera
    ],
)
def test_a_plane_stays_whole(normal: tuple[float, float, float], offset_m: float) -> None:
    depth = plane(normal, offset_m)
    seen = (depth < 20).astype(np.uint8)
    surface = scene_mesh(np.where(seen, depth, np.nan).astype(np.float32), CAMERA, max_triangles=MANY)
    assert covered(surface)[seen > 0].mean() > 0.99
    # Two triangles for every square of four known pixels, hardly one missing.
    squares = seen[1:, 1:] & seen[:-1, 1:] & seen[1:, :-1] & seen[:-1, :-1]
    assert squares.sum() > 5000
    assert len(surface.faces) >= 1.98 * squares.sum()


def test_a_floor_seen_at_a_flat_angle_stays_whole() -> None:
    """Far away its rows are metres apart: much more than many a jump."""
    depth = plane((0.0, 1.0, 0.0), 1.5)
    depth[depth > 40] = np.nan
    steps = -np.diff(depth[np.isfinite(depth[:, 0]), 0])
    assert steps.max() > 3
    surface = scene_mesh(depth, CAMERA, max_triangles=MANY)
    assert covered(surface)[depth < 25].all()
    assert covered(surface)[np.isfinite(depth)].mean() > 0.95


@pytest.mark.parametrize("max_triangles", [MANY, 4000])
def test_a_jump_of_depth_is_cut(max_triangles: int) -> None:
    """A box before a floor and a wall."""
    depth = np.fmin(plane((0.0, 0.94, 0.34), 1.5), wall(6.0))
    box = np.zeros((H, W), dtype=bool)
    box[40:100, 50:100] = True
    depth[box] = 1.6
    assert (depth[~box] > 1.8).all()
    surface = scene_mesh(depth, CAMERA, max_triangles=max_triangles)
    column, row = pixels(surface).T
    inside = box[row, column][surface.faces]
    assert inside.any()
    assert not inside.all()
    assert (inside.all(1) | ~inside.any(1)).all()


def test_a_rounded_body_before_a_wall_is_cut_all_around() -> None:
    v, u = np.mgrid[:H, :W] + 0.5
    square = 1 - ((u - 80) / 40) ** 2 - ((v - 60) / 40) ** 2
    ball = square > 0
    depth = np.where(ball, 2.5 - 0.7 * np.sqrt(np.maximum(square, 0)), 4.0).astype(np.float32)
    surface = scene_mesh(depth, CAMERA, max_triangles=MANY)
    column, row = pixels(surface).T
    inside = ball[row, column][surface.faces]
    assert (inside.all(1) | ~inside.any(1)).all()
    # Its front, up to where it turns away, is there.
    assert covered(surface)[square > 0.15].all()


def test_noise_of_a_depth_camera_tears_no_hole() -> None:
    rng = np.random.default_rng(0)
    depth = plane((0.0, 0.94, 0.34), 1.5)
    depth = np.fmin(depth, wall(6.0)) * np.exp(0.006 * rng.normal(size=(H, W)))
    surface = scene_mesh(depth.astype(np.float32), CAMERA, max_triangles=MANY)
    assert len(surface.faces) > 0.99 * 2 * (H - 1) * (W - 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -2.0, 400.0])
def test_unknown_and_endlessly_far_pixels_are_left_out(value: float) -> None:
    depth = wall()
    gone = np.zeros((H, W), dtype=bool)
    gone[:50] = True
    depth[gone] = value
    surface = scene_mesh(depth, CAMERA, max_triangles=MANY)
    np.testing.assert_array_equal(covered(surface), ~gone)
    points = scene_points(np.zeros((H, W, 3), np.uint8), depth, CAMERA, max_points=MANY)
    assert len(points.points_m) == (~gone).sum()
    assert np.isfinite(surface.vertices_m).all()


def test_doubtful_and_excluded_pixels_are_left_out() -> None:
    confidence = np.full((H, W), 0.9, dtype=np.float32)
    confidence[:40], confidence[40:44] = 0.05, np.nan
    exclude = np.zeros((H, W), dtype=bool)
    exclude[:, :30] = True
    kept = (confidence > 0.5) & ~exclude
    surface = scene_mesh(wall(), CAMERA, confidence=confidence, exclude=exclude, max_triangles=MANY)
    np.testing.assert_array_equal(covered(surface), kept)
    image = np.zeros((H, W, 3), np.uint8)
    points = scene_points(image, wall(), CAMERA, confidence=confidence, exclude=exclude, max_points=MANY)
    assert len(points.points_m) == kept.sum()


@pytest.mark.parametrize("most", [2, 3, 50, 999, 10_000, MANY])
def test_the_limits_hold(most: int) -> None:
    surface = scene_mesh(wall(), CAMERA, max_triangles=most)
    points = scene_points(np.zeros((H, W, 3), np.uint8), wall(), CAMERA, max_points=most)
    assert len(surface.faces) <= most
    assert len(points.points_m) <= most
    if most >= 999:  # and are made use of; from every pixel to every second is a quarter
        assert len(surface.faces) > 0.2 * min(most, 2 * (H - 1) * (W - 1))
        assert len(points.points_m) > 0.2 * min(most, H * W)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 500), (3, 3)])
def test_pictures_of_odd_shape(size: tuple[int, int]) -> None:
    camera = Camera(K=K, width=size[1], height=size[0], source="given")
    depth = np.full(size, 2.0, dtype=np.float32)
    for most in (2, 100, MANY):
        assert len(scene_mesh(depth, camera, max_triangles=most).faces) <= most
        assert len(scene_points(np.zeros((*size, 3), np.uint8), depth, camera, max_points=most).points_m) <= most


@pytest.mark.parametrize("max_triangles", [MANY, 5000])
def test_triangles_face_the_camera(max_triangles: int) -> None:
    depth = np.fmin(plane((0.0, 0.94, 0.34), 1.5), plane((0.8, 0.1, 0.59), 2.5))
    surface = scene_mesh(depth, CAMERA, max_triangles=max_triangles)
    a, b, c = surface.vertices_m.astype(np.float64)[surface.faces].transpose(1, 0, 2)
    towards = (np.cross(b - a, c - a) * a).sum(1)
    assert len(towards) > 1000
    assert (towards < 0).all()


@pytest.mark.parametrize("max_triangles", [MANY, 3000])
def test_vertices_are_seen_where_their_texture_is(max_triangles: int) -> None:
    rng = np.random.default_rng(1)
    depth = plane((0.3, 0.9, 0.32), 1.2)
    depth = np.where(depth < 20, depth * (1 + 0.003 * rng.random((H, W))), np.nan).astype(np.float32)
    surface = scene_mesh(depth, CAMERA, max_triangles=max_triangles)
    seen = surface.vertices_m.astype(np.float64) @ K.T
    np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], surface.uv.astype(np.float64) * (W, H), atol=1e-3)
    column, row = pixels(surface).T
    np.testing.assert_allclose(surface.vertices_m[:, 2], depth[row, column], rtol=1e-6)
    assert np.abs((surface.uv * (W, H)) % 1 - 0.5).max() < 1e-3
    assert surface.vertices_m.dtype == surface.uv.dtype == np.float32
    assert surface.faces.dtype == np.int32
    # Nothing that no triangle needs.
    np.testing.assert_array_equal(np.unique(surface.faces), np.arange(len(surface.vertices_m)))


@pytest.mark.parametrize("max_points", [MANY, 1500])
def test_points_have_the_colour_of_their_pixel(max_points: int) -> None:
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (H, W, 3)).astype(np.uint8)
    depth = np.fmin(plane((0.0, 0.94, 0.34), 1.5), wall(6.0))
    points = scene_points(image, depth, CAMERA, max_points=max_points)
    seen = points.points_m.astype(np.float64) @ K.T
    uv = seen[:, :2] / seen[:, 2:]
    column, row = np.floor(uv + 1e-6).astype(int).T
    np.testing.assert_allclose(uv, np.stack([column, row], 1) + 0.5, atol=1e-3)
    np.testing.assert_array_equal(points.colors, image[row, column])
    np.testing.assert_allclose(points.points_m[:, 2], depth[row, column], rtol=1e-6)
    assert points.points_m.dtype == np.float32


def test_specks_are_removed() -> None:
    depth = wall()
    depth[60:63, 30:33] = 1.5  # nine pixels that float before the wall
    depth[20:40, 100:130] = 1.5  # a thing
    surface = scene_mesh(depth, CAMERA, max_triangles=MANY)
    assert not covered(surface)[60:63, 30:33].any()
    assert covered(surface)[20:40, 100:130].all()
    points = scene_points(np.zeros((H, W, 3), np.uint8), depth, CAMERA, max_points=MANY)
    assert len(points.points_m) == H * W - 9


@pytest.mark.parametrize("depth", [wall(np.nan), wall(0.0), wall(1000.0)])
def test_nothing_usable_gives_nothing(depth: np.ndarray) -> None:
    assert empty(scene_mesh(depth, CAMERA))
    assert len(scene_points(np.zeros((H, W, 3), np.uint8), depth, CAMERA).points_m) == 0
    assert empty(scene_mesh(wall(), CAMERA, confidence=np.zeros((H, W), np.float32)))
    assert empty(scene_mesh(wall(), CAMERA, exclude=np.ones((H, W), dtype=bool)))


def test_pure_noise_gives_no_curtain() -> None:
    rng = np.random.default_rng(3)
    depth = np.exp(rng.normal(size=(H, W))).astype(np.float32)
    surface = scene_mesh(depth, CAMERA, max_triangles=MANY)
    assert len(surface.faces) < 0.02 * 2 * H * W


def test_what_is_no_picture_of_this_camera_is_refused() -> None:
    image, depth = np.zeros((H, W, 3), np.uint8), wall()
    with pytest.raises(ValueError, match="depth_m is"):
        scene_mesh(depth[:-1], CAMERA)
    with pytest.raises(ValueError, match="confidence is"):
        scene_mesh(depth, CAMERA, confidence=depth.T)
    with pytest.raises(ValueError, match="exclude is"):
        scene_points(image, depth, CAMERA, exclude=np.zeros((3, 3), dtype=bool))
    with pytest.raises(ValueError, match="image is"):
        scene_points(image[:, 1:], depth, CAMERA)
    with pytest.raises(ValueError, match="max_triangles"):
        scene_mesh(depth, CAMERA, max_triangles=1)
    with pytest.raises(ValueError, match="max_points"):
        scene_points(image, depth, CAMERA, max_points=0)


def test_people_are_taken_out_with_their_outline() -> None:
    mask = np.zeros((H, W), dtype=bool)
    mask[30:90, 60:80] = True
    shown = people_pixels([person(mask), person(None)], wall())
    assert shown[mask].all()
    assert shown[29, 70]
    assert shown[50, 80]
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert not shown[~grown].any()


def test_what_stands_in_front_of_somebody_stays() -> None:
    """A table before a body that has no mask; the body's depth agrees with the picture's to some per cent."""
    body = np.zeros((H, W), dtype=bool)
    body[20:100, 60:90] = True
    table = np.zeros((H, W), dtype=bool)
    table[70:110, 40:120] = True
    depth = wall(6.0)
    depth[body], depth[table] = 3.1, 2.0
    anchor = np.where(body, np.float32(3.0), np.nan).astype(np.float32)
    shown = people_pixels([person(None)], depth, anchor)
    assert shown[body & ~table].all()
    assert not shown[72:, :].any()
    # Beside the body, too, the room stays.
    assert not shown[:, :58].any()


def test_nobody_and_odd_masks_take_nothing_out() -> None:
    assert not people_pixels([], wall()).any()
    assert not people_pixels([], wall(), wall(np.nan)).any()
    assert not people_pixels([person(np.ones((3, 3), dtype=bool))], wall()).any()
    assert not people_pixels([person(None)], wall(np.nan), wall()).any()
