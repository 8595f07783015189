"""Focal twins keep the anchor's pixel and scale exactly."""

from __future__ import annotations

import pytest
import torch
from test_synthetic_cameras import people

from metrichmsr.synthetic.camera_sampler import CameraSampler, CameraSettings, padded_rows
from metrichmsr.synthetic.cameras import Cameras
from metrichmsr.synthetic.focal_twins import focal_of_fov, fov_possible, twins, twins_possible

FOVS = torch.tensor([20.0, 35, 55, 80, 110])


@pytest.fixture(scope="module")
def scene() -> tuple[Cameras, torch.Tensor, torch.Tensor]:
    crowd, points = people(60, 7, most=2)
    rows = padded_rows(crowd)[0]
    settings = CameraSettings.for_twins(tuple(FOVS.tolist()))
    cameras = CameraSampler(settings).sample(crowd, points, torch.Generator().manual_seed(0))
    return cameras, crowd.translation_m[rows[:, 0]], points[rows].flatten(1, 2)


def seen(cameras: Cameras, point_m: torch.Tensor) -> torch.Tensor:
    matrix = cameras.camera_from_world.double()
    return (matrix[:, :3, :3] @ point_m.double()[..., None]).squeeze(-1) + matrix[:, :3, 3]


def test_anchor_keeps_pixel_and_scale(scene: tuple[Cameras, torch.Tensor, torch.Tensor]) -> None:
    cameras, anchor, _ = scene
    many = twins(cameras, anchor, FOVS)
    assert len(many.K) == 300
    repeated = anchor.repeat_interleave(5, dim=0)
    before, after = seen(cameras, anchor).repeat_interleave(5, dim=0), seen(many, repeated)
    K, twin_K = cameras.K.double().repeat_interleave(5, dim=0), many.K.double()
    pixel = (K @ before[..., None]).squeeze(-1)
    twin_pixel = (twin_K @ after[..., None]).squeeze(-1)
    torch.testing.assert_close(twin_pixel[:, :2] / twin_pixel[:, 2:], pixel[:, :2] / pixel[:, 2:], atol=0.02, rtol=1e-5)
    torch.testing.assert_close(twin_K[:, 0, 0] / after[:, 2], K[:, 0, 0] / before[:, 2], atol=0, rtol=1e-5)
    torch.testing.assert_close(
        many.camera_from_world[:, :3, :3], cameras.camera_from_world[:, :3, :3].repeat_interleave(5, dim=0)
    )


def test_fields_of_view_are_those_asked_for(scene: tuple[Cameras, torch.Tensor, torch.Tensor]) -> None:
    cameras, anchor, _ = scene
    many = twins(cameras, anchor, FOVS)
    cx, f = many.K[:, 0, 2], many.K[:, 0, 0]
    fov = torch.rad2deg(torch.atan(cx / f) + torch.atan((many.width - cx) / f))
    torch.testing.assert_close(fov, FOVS.repeat(60), atol=0.01, rtol=0)
    own = torch.rad2deg(
        torch.atan(cameras.K[:, 0, 2] / cameras.K[:, 0, 0])
        + torch.atan((cameras.width - cameras.K[:, 0, 2]) / cameras.K[:, 0, 0])
    )
    same = twins(cameras, anchor, own[:, None])
    torch.testing.assert_close(same.K, cameras.K, atol=0.05, rtol=1e-4)
    torch.testing.assert_close(same.camera_from_world, cameras.camera_from_world, atol=2e-3, rtol=1e-3)


def test_cameras_made_for_twins_have_them(scene: tuple[Cameras, torch.Tensor, torch.Tensor]) -> None:
    cameras, anchor, points = scene
    many = twins(cameras, anchor, FOVS)
    possible = twins_possible(many, points.repeat_interleave(5, dim=0)).view(60, 5)
    assert float(possible.all(1).float().mean()) > 0.9


def test_impossible_twins_are_told(scene: tuple[Cameras, torch.Tensor, torch.Tensor]) -> None:
    cameras, anchor, points = scene
    sunk = cameras.camera_from_world.clone()
    sunk[:, :3, 3] += 10 * sunk[:, :3, 1]  # ten metres down
    under = Cameras(cameras.K, cameras.width, cameras.height, sunk)
    assert not bool(twins_possible(under, points).any())
    inside = cameras.camera_from_world.clone()
    inside[:, :3, 3] = -(inside[:, :3, :3] @ points[:, 0, :, None]).squeeze(-1)
    assert not bool(twins_possible(Cameras(cameras.K, cameras.width, cameras.height, inside), points).any())
    with pytest.raises(ValueError, match="between 0 and 180"):
        twins(cameras, anchor, torch.tensor([60.0, 190.0]))


def test_a_principal_point_beside_the_picture_has_no_wide_twins(
    scene: tuple[Cameras, torch.Tensor, torch.Tensor],
) -> None:
    width, beside = torch.tensor([256.0, 256.0]), torch.tensor([-30.0, 128.0])
    assert fov_possible(torch.tensor([110.0, 110.0]), width, beside).tolist() == [False, True]
    assert fov_possible(torch.tensor([20.0, 20.0]), width, beside).tolist() == [True, True]
    # What is called possible is: the angles on both sides add up.
    for degrees in (5.0, 20.0, 35.0, 60.0, 80.0, 110.0):
        for cx in (-60.0, -30.0, -5.0, 0.0, 40.0, 280.0):
            fov, w, c = (torch.tensor([v]) for v in (degrees, 256.0, cx))
            if bool(fov_possible(fov, w, c)):
                focal = focal_of_fov(fov, w, c)
                angles = torch.atan(c / focal) + torch.atan((w - c) / focal)
                assert float(torch.rad2deg(angles)) == pytest.approx(degrees, abs=1e-2)
    cameras, anchor, _ = scene
    K = cameras.K.clone()
    K[:, 0, 2] = -0.15 * cameras.width
    with pytest.raises(ValueError, match="principal point"):
        twins(Cameras(K, cameras.width, cameras.height, cameras.camera_from_world), anchor, FOVS)
