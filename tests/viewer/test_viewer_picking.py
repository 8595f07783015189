"""Lines of sight against shapes of known size, and the sigma of lengths."""

from __future__ import annotations

import math

import numpy as np
import pytest
from viewer_boxes import box_mesh, box_person

from metrichmsr.structures import Camera
from metrichmsr.viewer.measure import Doubts, measure
from metrichmsr.viewer.picking import GroundTarget, Hit, MeshTarget, PointsTarget, Ray, pick


@pytest.fixture
def cube():
    """Two metres wide around (1, 0, -5)."""
    return MeshTarget(*box_mesh(np.array([1.0, 0.0, -5.0]), np.full(3, 2.0)), "person", "r", 3)


def test_a_cube_is_hit_exactly(cube):
    rng = np.random.default_rng(0)
    for aim in rng.uniform(-0.999, 0.999, (50, 2)):
        target = np.array([1 + aim[0], aim[1], -4.0])
        hit = cube.first_hit(Ray.of((0.3, 0.2, 0.0), target - (0.3, 0.2, 0.0)))
        assert hit is not None
        np.testing.assert_allclose(hit.point, target, atol=1e-12)
        assert hit.distance_m == pytest.approx(np.linalg.norm(target - (0.3, 0.2, 0.0)))
        assert (hit.kind, hit.owner, hit.person_id) == ("person", "r", 3)


def test_two_clicks_on_a_cube_give_its_edge(cube):
    corners = [np.array([0.0, y, -4.0]) for y in (-1.0, 1.0)]
    hits = [cube.first_hit(Ray.of((-3.0, 0.0, 0.0), corner - (-3.0, 0.0, 0.0))) for corner in corners]
    assert np.linalg.norm(hits[1].point - hits[0].point) == pytest.approx(2.0, abs=1e-6)


@pytest.mark.parametrize("origin", [(0, 0, 0), (1, 0, -20), (1, 9, -5), (-8, 0.5, -5.3), (1, -7, -5)])
def test_every_side_can_be_hit_from_anywhere(cube, origin):
    hit = cube.first_hit(Ray.of(origin, np.array([1.0, 0.0, -5.0]) - origin))
    assert np.abs(hit.point - (1, 0, -5)).max() == pytest.approx(1.0)


def test_misses_and_what_lies_behind(cube):
    assert cube.first_hit(Ray.of((0, 0, 0), (0, 0, 1))) is None
    assert cube.first_hit(Ray.of((0, 0, 0), (0, 1, -1))) is None
    inside = cube.first_hit(Ray.of((1, 0, -5), (0, 0, -1)))
    assert inside.distance_m == pytest.approx(1.0)
    assert MeshTarget(np.zeros((0, 3)), np.zeros((0, 3), int)).first_hit(Ray.of((0, 0, 0), (0, 0, -1))) is None


def test_one_ray_at_a_time_agrees_with_a_naive_twin():
    rng = np.random.default_rng(1)
    vertices, faces = rng.normal(size=(60, 3)), rng.integers(0, 60, (80, 3))
    target = MeshTarget(vertices, faces)
    met = 0
    for _ in range(60):
        origin = rng.normal(size=3) * 4
        ray = Ray.of(origin, 0.5 * rng.normal(size=3) - origin)
        distances = []
        for a, b, c in vertices[faces]:
            matrix = np.stack([b - a, c - a, -ray.direction], axis=1)
            if abs(np.linalg.det(matrix)) < 1e-12:
                continue
            u, v, t = np.linalg.solve(matrix, ray.origin - a)
            if u >= 0 and v >= 0 and u + v <= 1 and t > 1e-6:
                distances.append(t)
        hit = target.first_hit(ray)
        assert (hit is None) == (not distances)
        if hit is not None:
            met += 1
            assert hit.distance_m == pytest.approx(min(distances), rel=1e-9)
    assert met > 5


def test_the_nearest_thing_wins_and_the_ground_only_where_there_is_nothing(cube):
    wall = MeshTarget(*box_mesh(np.array([0.0, 0.0, -9.0]), np.array([20.0, 20.0, 0.1])))
    ground = GroundTarget(-0.5)
    through = Ray.of((1, 0.5, 0), (0, -0.1, -1))
    assert pick(through, [ground, wall, cube]).kind == "person"
    assert pick(through, [ground, wall]).point[2] == pytest.approx(-8.95)
    assert pick(through, [ground]).point[1] == pytest.approx(-0.5)
    assert pick(Ray.of((0, 0, 0), (0, 1, 0)), [ground, cube]) is None


def test_points_are_hit_near_the_ray():
    grid = np.stack(np.meshgrid(np.arange(-1, 1.01, 0.1), np.arange(-1, 1.01, 0.1), [-3.0]), -1).reshape(-1, 3)
    target = PointsTarget(np.concatenate([grid, grid + (0, 0, -2)]), radius_m=0.05)
    hit = target.first_hit(Ray.of((0, 0, 0), (0.31, -0.19, -3.0)))
    np.testing.assert_allclose(hit.point, (0.3, -0.2, -3.0), atol=1e-9)
    assert target.first_hit(Ray.of((0, 0, 0), (3, 0, -3))) is None


def hit(point, kind="scene", person=None):
    return Hit(np.array(point, float), 1.0, kind, "r", person)


CAMERA_FROM_WORLD = np.diag([1.0, -1.0, -1.0, 1.0])


def test_sigma_of_a_body_is_that_of_its_stature():
    doubts = Doubts(0.5, {0: 0.1}, {0: 0.05}, {0: 1.0}, 0.0)
    one = measure(hit((0, 0, -4), "person", 0), hit((0, 1.6, -4), "person", 0), doubts, CAMERA_FROM_WORLD)
    assert one.length_m == pytest.approx(1.6)
    assert one.std_m == pytest.approx(0.08)
    assert str(one) == "1.60 ± 0.08 m"


def test_sigma_agrees_with_moving_people_and_focal_length_at_random():
    """First order against Monte Carlo: sizes slide points along their rays, the focal length slides depth."""
    rng = np.random.default_rng(2)
    doubts = Doubts(0.02, {0: 0.01, 1: 0.02}, {0: 0.01, 1: 0.02}, {0: 0.8, 1: 0.2}, 0.015)
    cases = [
        (hit((0.4, 0.5, -4), "person", 0), hit((-1.2, 0.9, -7), "person", 1)),
        (hit((0.4, 0.5, -4), "person", 0), hit((-1.2, 0.9, -7))),
        (hit((2.4, -1.5, -4)), hit((-1.2, 0.9, -7))),
        (hit((2.4, -1.5, -4), "ground"), hit((-1.2, -1.5, -7), "ground")),
    ]
    for first, second in cases:
        n = 40_000
        size = {id_: rng.normal(0, share, n) for id_, share in doubts.body.items()}
        common = sum(weight * size[id_] for id_, weight in doubts.weight.items())
        focal = rng.normal(0, doubts.focal, n)
        moved = []
        for one in (first, second):
            grow = common.copy() if one.person_id is None else size[one.person_id].copy()
            if one.kind == "scene":
                grow += rng.normal(0, doubts.depth, n)
            points = one.point * np.exp(grow)[:, None]
            points[:, 2] *= np.exp(focal)
            moved.append(points)
        expected = np.linalg.norm(moved[1] - moved[0], axis=1).std()
        assert measure(first, second, doubts, CAMERA_FROM_WORLD).std_m == pytest.approx(expected, rel=0.03)


def test_where_nothing_is_known_no_sigma_is_claimed():
    unscaled = Doubts(0.0, {0: 0.1}, {0: 0.1}, {}, 0.0)
    one = measure(hit((0, 0, -4)), hit((0, 1, -4)), unscaled, CAMERA_FROM_WORLD)
    assert math.isnan(one.std_m)
    assert str(one) == "1.00 m"
    assert math.isnan(measure(hit((0, 0, -4)), hit((0, 1, -4)), None, CAMERA_FROM_WORLD).std_m)


def test_doubts_of_a_result():
    camera = Camera(np.array([[100.0, 0, 50], [0, 100.0, 50], [0, 0, 1]]), 100, 100, "exif", 3.0)
    people = [box_person(0, 0.0, 4.0), box_person(1, 1.0, 8.0)]
    doubts = Doubts.of(people, camera, residual=0.06745)
    assert doubts.focal == pytest.approx(0.03)
    assert doubts.height[0] == pytest.approx(0.05)
    assert doubts.body[0] == pytest.approx(math.sqrt((0.4 / people[0].distance_m) ** 2 - 0.03**2))
    assert doubts.body[1] == pytest.approx(0.05), "never less than the stature's"
    assert sum(doubts.weight.values()) == pytest.approx(1)
    assert doubts.weight[1] > doubts.weight[0]
    assert doubts.depth == pytest.approx(0.1)
    assert Doubts.of(people, camera, scaled_by_people=False).weight == {}
