"""The gravity-aligned frame: up is up, the ground is at zero, the camera looks ahead."""

from __future__ import annotations

import numpy as np
import pytest
import roma
import torch

from metrichmsr.scene.ground import Ground
from metrichmsr.scene.world import camera_height_m, camera_pitch_and_roll_deg, world_from_camera


def ground_of(pitch_deg: float, roll_deg: float, height_m: float) -> tuple[Ground, np.ndarray]:
    """The ground as a camera sees it that was level, then raised by its pitch, then rolled clockwise."""
    angles = torch.deg2rad(torch.tensor([pitch_deg, roll_deg], dtype=torch.float64))
    # Camera axes in the level camera's frame: turning upwards about x, clockwise about z.
    raised = roma.rotvec_to_rotmat(torch.stack([angles[0], angles[0] * 0, angles[0] * 0]))
    rolled = roma.rotvec_to_rotmat(torch.stack([angles[1] * 0, angles[1] * 0, angles[1]]))
    level_from_camera = (raised @ rolled).numpy()
    normal = level_from_camera.T @ np.array([0.0, -1.0, 0.0])
    return Ground(normal, height_m, 0.05, 1.0, 0.5, "ground"), level_from_camera


@pytest.mark.parametrize("pitch", [-80.0, -45.0, -10.0, 0.0, 30.0, 60.0])
@pytest.mark.parametrize("roll", [-20.0, 0.0, 15.0])
def test_the_world_is_the_level_camera_turned_to_gltf_axes(pitch: float, roll: float) -> None:
    ground, level_from_camera = ground_of(pitch, roll, 1.6)
    matrix = world_from_camera(ground)
    np.testing.assert_allclose(matrix[:3, :3], np.diag([1.0, -1.0, -1.0]) @ level_from_camera, atol=1e-12)
    np.testing.assert_allclose(matrix[:, 3], [0, 1.6, 0, 1], atol=1e-12)
    np.testing.assert_allclose(camera_pitch_and_roll_deg(matrix), (pitch, roll), atol=1e-9)
    assert camera_height_m(matrix) == pytest.approx(1.6)


def test_points_of_the_ground_have_no_height() -> None:
    ground, _ = ground_of(-20.0, 7.0, 1.4)
    rng = np.random.default_rng(0)
    points = rng.normal(size=(50, 3))
    points -= np.outer(points @ ground.normal + ground.offset_m, ground.normal)
    world = points @ world_from_camera(ground)[:3, :3].T + world_from_camera(ground)[:3, 3]
    np.testing.assert_allclose(world[:, 1], 0, atol=1e-12)


@pytest.mark.parametrize("pitch", [-90.0, 90.0])
def test_a_vertical_camera_has_a_heading_too(pitch: float) -> None:
    ground, _ = ground_of(pitch, 0.0, 2.0)
    matrix = world_from_camera(ground)
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1)
    # What is on the right in the picture stays on the right.
    np.testing.assert_allclose(matrix[:3, 0], [1, 0, 0], atol=1e-9)
    nearly, _ = ground_of(pitch * 0.98, 0.0, 2.0)
    assert np.abs(world_from_camera(nearly) - matrix).max() < 0.05, "no jump on the way to it"
