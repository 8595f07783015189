"""Geometry as laws: what must hold for every camera, crop and point set."""

import cv2
import numpy as np
import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metrichmsr import geometry
from metrichmsr.structures import Camera


def random_camera(generator: torch.Generator) -> torch.Tensor:
    f = 200 + 1800 * torch.rand(2, generator=generator, dtype=torch.float64)
    c = 100 + 500 * torch.rand(2, generator=generator, dtype=torch.float64)
    K = geometry.intrinsics(f[0].item(), f[1].item(), c[0].item(), c[1].item())
    K[0, 1] = 3.0  # skew must not be forgotten anywhere
    return K


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def test_project_unproject_is_identity(rng):
    K = torch.stack([random_camera(rng) for _ in range(4)])
    points = torch.randn(4, 50, 3, generator=rng, dtype=torch.float64)
    points[..., 2] = points[..., 2].abs() + 0.5
    back = geometry.unproject(geometry.project(points, K), points[..., 2], K)
    torch.testing.assert_close(back, points, rtol=1e-10, atol=1e-10)


def test_a_point_on_the_axis_lands_on_the_principal_point():
    K = geometry.intrinsics(500, 510, 320.5, 239.5)
    pixel = geometry.project(torch.tensor([[0.0, 0.0, 3.0]], dtype=torch.float64), K)
    torch.testing.assert_close(pixel, torch.tensor([[320.5, 239.5]], dtype=torch.float64))


def test_x_is_right_and_y_is_down():
    K = geometry.intrinsics(500, 500, 320, 240)
    pixel = geometry.project(torch.tensor([[1.0, 2.0, 5.0]], dtype=torch.float64), K)
    torch.testing.assert_close(pixel, torch.tensor([[420.0, 440.0]], dtype=torch.float64))


def test_cropping_the_camera_equals_cropping_the_pixels(rng):
    K = random_camera(rng)
    box = torch.tensor([37.25, -12.5, 301.75, 252.0], dtype=torch.float64)
    points = torch.randn(20, 3, generator=rng, dtype=torch.float64)
    points[:, 2] = points[:, 2].abs() + 1
    by_camera = geometry.project(points, geometry.crop_intrinsics(K, box, crop_height=256, crop_width=192))
    matrix = geometry.crop_from_image_matrix(box, crop_height=256, crop_width=192)
    pixels = geometry.project(points, K)
    by_pixels = (torch.cat([pixels, torch.ones(20, 1, dtype=torch.float64)], 1) @ matrix.T)[:, :2]
    torch.testing.assert_close(by_camera, by_pixels)


def test_crop_intrinsics_is_the_papers_closed_form():
    K = geometry.intrinsics(1000, 1100, 640, 360)
    s, u_b, v_b = 1.75, 200.0, 90.0
    box = torch.tensor([u_b, v_b, u_b + 256 * s, v_b + 256 * s], dtype=torch.float64)
    expected = geometry.intrinsics(1000 / s, 1100 / s, (640 - u_b) / s, (360 - v_b) / s)
    torch.testing.assert_close(geometry.crop_intrinsics(K, box, crop_height=256, crop_width=256), expected)


def test_crop_matrix_maps_corners_to_corners():
    box = torch.tensor([10.0, 20.0, 110.0, 70.0])
    matrix = geometry.crop_from_image_matrix(box, crop_height=25, crop_width=200)
    corners = torch.tensor([[10.0, 20.0, 1.0], [110.0, 70.0, 1.0]]) @ matrix.T
    torch.testing.assert_close(corners[:, :2], torch.tensor([[0.0, 0.0], [200.0, 25.0]]))


def test_ray_map_equals_inverse_intrinsics_at_pixel_centres(rng):
    K = random_camera(rng)
    rays = geometry.ray_map(K, height=5, width=7)
    naive = torch.empty_like(rays)
    for row in range(5):
        for column in range(7):
            pixel = torch.tensor([column + 0.5, row + 0.5, 1.0], dtype=torch.float64)
            naive[:, row, column] = torch.linalg.solve(K, pixel)
    torch.testing.assert_close(rays, naive)


def test_cropping_rays_commutes_with_cropping_the_camera(rng):
    """A whole-pixel crop of the full ray map is the bounding ray map of that box."""
    K = random_camera(rng)
    full = geometry.ray_map(K, height=40, width=50)
    box = torch.tensor([8.0, 4.0, 40.0, 36.0], dtype=torch.float64)
    torch.testing.assert_close(geometry.bounding_ray_map(K, box, crop_height=32, crop_width=32), full[:, 4:36, 8:40])


def test_resizing_the_image_and_the_camera_agree(rng):
    K = random_camera(rng)
    points = torch.tensor([[0.3, -0.2, 2.0]], dtype=torch.float64)
    half = geometry.project(points, geometry.scale_intrinsics(K, 0.5, 0.25))
    torch.testing.assert_close(half, geometry.project(points, K) * torch.tensor([0.5, 0.25], dtype=torch.float64))


def test_square_box_keeps_centre_and_covers():
    box = torch.tensor([[0.0, 10.0, 30.0, 100.0]])
    square = geometry.square_box(box, margin=1.2)
    torch.testing.assert_close(square[:, :2] + square[:, 2:], box[:, :2] + box[:, 2:])
    torch.testing.assert_close(square[:, 2:] - square[:, :2], torch.full((1, 2), 108.0))


def test_rotation_6d_round_trip(rng):
    rotation = roma.random_rotmat(64, dtype=torch.float64, generator=rng)
    back = geometry.rotation_6d_to_matrix(geometry.matrix_to_rotation_6d(rotation))
    torch.testing.assert_close(back, rotation)


def test_rotation_6d_of_anything_is_a_rotation(rng):
    matrix = geometry.rotation_6d_to_matrix(torch.randn(100, 6, generator=rng, dtype=torch.float64))
    torch.testing.assert_close(matrix @ matrix.transpose(1, 2), torch.eye(3, dtype=torch.float64).expand(100, 3, 3))
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(100, dtype=torch.float64))


def test_camera_from_view_takes_the_axis_to_the_ray(rng):
    ray = torch.nn.functional.normalize(torch.randn(50, 3, generator=rng, dtype=torch.float64), dim=-1)
    rotation = geometry.camera_from_view(ray)
    torch.testing.assert_close(rotation[..., 2], ray)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(50, 3, 3))
    angle = roma.rotmat_to_rotvec(rotation).norm(dim=-1)
    torch.testing.assert_close(angle, torch.acos(ray[:, 2]))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.1, 10))
def test_similarity_recovers_what_was_applied(seed, scale):
    rng = torch.Generator().manual_seed(seed)
    source = torch.randn(2, 12, 3, generator=rng, dtype=torch.float64)
    rotation = roma.random_rotmat(2, dtype=torch.float64, generator=rng)
    translation = torch.randn(2, 3, generator=rng, dtype=torch.float64)
    target = scale * source @ rotation.transpose(1, 2) + translation[:, None]
    found = geometry.similarity_align(source, target)
    torch.testing.assert_close(found.scale, torch.full((2,), scale, dtype=torch.float64))
    torch.testing.assert_close(found.rotation, rotation)
    torch.testing.assert_close(found.apply(source), target)


def test_similarity_matches_a_naive_search(rng):
    """No other similarity near the answer has a smaller error: the closed form is the minimum."""
    source = torch.randn(9, 3, generator=rng, dtype=torch.float64)
    target = torch.randn(9, 3, generator=rng, dtype=torch.float64)
    best = geometry.similarity_align(source, target)
    error = (best.apply(source) - target).square().sum()
    for _ in range(50):
        turn = roma.rotvec_to_rotmat(0.05 * torch.randn(3, generator=rng, dtype=torch.float64))
        other = geometry.Similarity(
            best.scale * (1 + 0.05 * torch.randn((), generator=rng, dtype=torch.float64)),
            turn @ best.rotation,
            best.translation + 0.05 * torch.randn(3, generator=rng, dtype=torch.float64),
        )
        assert (other.apply(source) - target).square().sum() >= error


def test_alignment_is_never_a_mirror_image(rng):
    source = torch.randn(10, 3, generator=rng, dtype=torch.float64)
    mirrored = source * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    assert torch.linalg.det(geometry.similarity_align(source, mirrored).rotation) == pytest.approx(1.0)


def test_points_of_weight_zero_do_not_count(rng):
    source = torch.randn(10, 3, generator=rng, dtype=torch.float64)
    target = 2 * source + 1
    target[7:] = 99.0
    weights = torch.ones(10, dtype=torch.float64)
    weights[7:] = 0
    found = geometry.similarity_align(source, target, weights)
    assert found.scale.item() == pytest.approx(2.0)


def test_rigid_alignment_keeps_size(rng):
    source = torch.randn(10, 3, generator=rng, dtype=torch.float64)
    assert geometry.rigid_align(source, 3 * source).scale.item() == 1.0


def test_affine_recovers_what_was_applied(rng):
    source = torch.randn(3, 20, 2, generator=rng, dtype=torch.float64)
    A = torch.randn(3, 4, 2, generator=rng, dtype=torch.float64)
    b = torch.randn(3, 4, generator=rng, dtype=torch.float64)
    found_A, found_b = geometry.affine_align(source, source @ A.transpose(1, 2) + b[:, None])
    torch.testing.assert_close(found_A, A)
    torch.testing.assert_close(found_b, b)


def test_projection_agrees_with_opencv(rng):
    K = geometry.intrinsics(700, 650, 300, 250)
    points = torch.randn(30, 3, generator=rng, dtype=torch.float64)
    points[:, 2] = points[:, 2].abs() + 1
    expected, _ = cv2.projectPoints(points.numpy(), np.zeros(3), np.zeros(3), K.numpy(), None)
    np.testing.assert_allclose(geometry.project(points, K).numpy(), expected[:, 0], rtol=1e-9)


@pytest.mark.parametrize("bad", [np.full((3, 3), np.nan), np.diag([-500.0, 500, 1]), np.eye(4), np.ones((3, 3))])
def test_camera_refuses_nonsense(bad):
    with pytest.raises(ValueError, match=r"K|focal"):
        Camera(K=bad, width=640, height=480, source="given")


def test_camera_field_of_view():
    K = geometry.intrinsics(320, 240, 320, 240).numpy()
    camera = Camera(K=K, width=640, height=480, source="given")
    assert camera.fov_x_deg == pytest.approx(90)
    assert camera.fov_y_deg == pytest.approx(90)
