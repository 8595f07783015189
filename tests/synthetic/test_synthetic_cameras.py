"""Cameras: rotations, above ground, outside people, subject in view, ranges covered; crops around the subject."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from metrichmsr.geometry import crop_intrinsics
from metrichmsr.synthetic.camera_sampler import CameraSampler, CameraSettings, look_rotation, padded_rows
from metrichmsr.synthetic.cameras import Cameras
from metrichmsr.synthetic.crop_sampler import CropJitter, crop_boxes, person_boxes
from metrichmsr.synthetic.crowd import Crowd


def people(n_shots: int, seed: int, *, most: int = 3) -> tuple[Crowd, torch.Tensor]:
    """Ellipsoids of a person's size, standing, squatting and lying; enough for a camera."""
    generator = torch.Generator().manual_seed(seed)
    count = torch.randint(1, most + 1, (n_shots,), generator=generator)
    shot = torch.arange(n_shots).repeat_interleave(count)
    total = len(shot)
    sphere = torch.nn.functional.normalize(torch.randn(total, 300, 3, generator=generator), dim=-1)
    lengths = torch.tensor([[0.25, 0.85, 0.2], [0.3, 0.5, 0.35], [0.85, 0.15, 0.25]])
    half = lengths[torch.randint(0, 3, (total,), generator=generator)] * (
        0.6 + 0.5 * torch.rand(total, 1, generator=generator)
    )
    place = torch.randn(total, 3, generator=generator) * 1.5
    place[:, 1] = half[:, 1]
    crowd = Crowd(
        pose=torch.eye(3).expand(total, 104, 3, 3),
        shape=torch.zeros(total, 6),
        translation_m=place,
        shot=shot,
        support=("ground",) * total,
        pose_source=("test",) * total,
        n_shots=n_shots,
    )
    return crowd, sphere * half[:, None] + place[:, None]


def subject(crowd: Crowd, points: torch.Tensor) -> torch.Tensor:
    return points[padded_rows(crowd)[0][:, 0]]


def angles(cameras: Cameras) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Field of view, pitch and roll, degrees."""
    rotation, K = cameras.camera_from_world[:, :3, :3], cameras.K
    fov = torch.atan(K[:, 0, 2] / K[:, 0, 0]) + torch.atan((cameras.width - K[:, 0, 2]) / K[:, 0, 0])
    pitch = torch.asin(rotation[:, 2, 1].clamp(-1, 1))
    roll = torch.atan2(-rotation[:, 0, 1], -rotation[:, 1, 1])
    return tuple(torch.rad2deg(value) for value in (fov, pitch, roll))  # pyright: ignore[reportReturnType]


@pytest.fixture(scope="module")
def many() -> tuple[Crowd, torch.Tensor, Cameras]:
    crowd, points = people(600, 0)
    return crowd, points, CameraSampler().sample(crowd, points, torch.Generator().manual_seed(0))


def test_cameras_are_rotations_with_the_sky_above(many: tuple[Crowd, torch.Tensor, Cameras]) -> None:
    _, _, cameras = many
    rotation = cameras.camera_from_world[:, :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand_as(rotation), atol=1e-5, rtol=0)
    assert bool((torch.linalg.det(rotation) > 0.99).all())
    # World up is up in the picture: against the camera's y.
    assert bool((rotation[:, 1, 1] < 0).all())
    assert torch.equal(cameras.camera_from_world[:, 3], torch.tensor([0.0, 0, 0, 1]).expand(600, 4))


def test_ranges_are_kept_and_covered(many: tuple[Crowd, torch.Tensor, Cameras]) -> None:
    _, _, cameras = many
    fov, pitch, roll = angles(cameras)
    height = cameras.position_m[:, 1]
    for value, low, high in ((fov, 15, 120), (pitch, -60, 60), (roll, -20, 20), (height, 0.2, 6.0)):
        assert low - 0.05 <= float(value.min())
        assert float(value.max()) <= high + 0.05
        share = (high - low) / 10
        assert float(value.min()) < low + share
    assert float(fov.max()) > 105
    assert float(pitch.max()) > 25
    assert float(height.max()) > 5
    assert 40 < float(fov.median()) < 75
    assert abs(float(roll.median())) < 2
    aspect = (cameras.width / cameras.height).tolist()
    assert min(aspect) < 0.57
    assert max(aspect) > 1.77
    assert int(torch.maximum(cameras.width, cameras.height).max()) <= 1920
    size = torch.stack([cameras.width, cameras.height], dim=-1)
    off = ((cameras.K[:, :2, 2] - size / 2) / size.amax(-1, keepdim=True)).abs().amax(-1)
    assert float((off < 0.1).float().mean()) > 0.85
    assert float(off.max()) > 0.2


def test_cameras_stay_out_of_people_and_see_the_subject(many: tuple[Crowd, torch.Tensor, Cameras]) -> None:
    crowd, points, cameras = many
    distance = (points - cameras.position_m[crowd.shot][:, None]).norm(dim=-1)
    assert float(distance.min()) > 0.1
    assert float((distance.amin(1) > 0.24).float().mean()) > 0.95
    whole, cut = person_boxes(cameras, subject(crowd, points))
    area = (cut[:, 2:] - cut[:, :2]).prod(-1)
    assert bool((area > 0).all())
    shown = area / (whole[:, 2:] - whole[:, :2]).prod(-1)
    # Most people are whole, some are cut off.
    assert float((shown > 0.95).float().mean()) > 0.5
    assert float((shown < 0.6).float().mean()) > 0.08


def test_position_follows_the_field_of_view() -> None:
    """The same framing with a third of the angle is taken from about three times as far."""
    crowd, points = people(200, 1, most=1)
    common = CameraSettings(cut=0, tiny=0, uncentred=0, principal_point=0, near_limb=0, steep=0, roll_deg=0)
    near, far = (
        CameraSampler(replace(common, fov_deg=(fov, fov), size=(640, 480))).sample(
            crowd, points, torch.Generator().manual_seed(2)
        )
        for fov in (60.0, 20.0)
    )
    fills = []
    distances = []
    for cameras in (near, far):
        whole, _ = person_boxes(cameras, points)
        fills.append(((whole[:, 2:] - whole[:, :2]) / torch.tensor([640.0, 480])).amax(-1).median())
        distances.append((cameras.position_m - points.mean(1)).norm(dim=-1).median())
    assert abs(float(fills[0] / fills[1]) - 1) < 0.15
    assert 2.2 < float(distances[1] / distances[0]) < 4.0


def test_seeds_reproduce() -> None:
    crowd, points = people(8, 3)
    first, again, other = (
        CameraSampler().sample(crowd, points, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first.camera_from_world, again.camera_from_world)
    assert torch.equal(first.K, again.K)
    assert not torch.equal(first.K, other.K)


def test_fixed_size_and_hard_settings_always_give_a_camera() -> None:
    """Only two draws, steep ones: the camera that is always possible steps in, above ground and before the people."""
    crowd, points = people(40, 4)
    settings = CameraSettings(size=(640, 480), candidates=2, steep=1.0, pitch_deg=(-60, 60))
    cameras = CameraSampler(settings).sample(crowd, points, torch.Generator().manual_seed(0))
    assert bool((cameras.width == 640).all())
    assert bool((cameras.height == 480).all())
    assert float(cameras.position_m[:, 1].min()) > 0.15
    _, cut = person_boxes(cameras, subject(crowd, points))
    assert bool(((cut[:, 2:] - cut[:, :2]).amin(-1) > 0).all())


def test_look_rotation_says_where_it_looks() -> None:
    zero = torch.zeros(1)
    torch.testing.assert_close(look_rotation(zero, zero, zero)[0, 2], torch.tensor([0.0, 0, 1]))
    east = look_rotation(torch.tensor([math.pi / 2]), zero, zero)[0]
    torch.testing.assert_close(east[2], torch.tensor([1.0, 0, 0]), atol=1e-6, rtol=0)
    up = look_rotation(zero, torch.tensor([0.5]), zero)[0]
    assert float(up[2, 1]) == pytest.approx(math.sin(0.5))
    rolled = look_rotation(zero, zero, torch.tensor([0.3]))[0]
    assert float(rolled[0, 1]) < 0  # its right side is down


def test_crops_hold_the_subject(many: tuple[Crowd, torch.Tensor, Cameras]) -> None:
    crowd, points, cameras = many
    own = subject(crowd, points)
    boxes = crop_boxes(cameras, own, torch.Generator().manual_seed(0))
    side = boxes[:, 2:] - boxes[:, :2]
    torch.testing.assert_close(side[:, 0], side[:, 1], atol=0.01, rtol=1e-4)
    assert bool((side > 20).all())
    _, cut = person_boxes(cameras, own)
    middle = 0.5 * (cut[:, :2] + cut[:, 2:])
    inside = (middle > boxes[:, :2]) & (middle < boxes[:, 2:])
    assert float(inside.all(-1).float().mean()) > 0.97
    exact = CropJitter(margin=1.0, margin_log_std=0, center_std=0, bad=0, amodal=0)
    tight = crop_boxes(cameras, own, torch.Generator().manual_seed(0), jitter=exact)
    longer = (cut[:, 2:] - cut[:, :2]).amax(-1)
    torch.testing.assert_close(tight[:, 2] - tight[:, 0], longer.clamp_min(24), atol=0.05, rtol=1e-3)
    K = crop_intrinsics(cameras.K, boxes, crop_height=256, crop_width=256)
    assert bool(K.isfinite().all())


def test_every_shot_needs_somebody() -> None:
    crowd, points = people(3, 5)
    with pytest.raises(ValueError, match="person"):
        CameraSampler().sample(replace(crowd, n_shots=4), points, torch.Generator())
