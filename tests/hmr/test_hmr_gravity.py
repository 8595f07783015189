"""Which way is up, as the network is told it; and answers that do not hang on left and right."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import roma
import torch

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.geometry import mirror_intrinsics
from metrichmsr.hmr.body_parameters import SIZES, BodyParameters
from metrichmsr.hmr.config import SMALL
from metrichmsr.hmr.gravity import gravity_inputs
from metrichmsr.hmr.image_encoders import CropEvidence
from metrichmsr.hmr.mirror import averaged
from metrichmsr.hmr.network import MetricBodies, build

TINY = replace(SMALL, width=24, heads=2, hidden=32, queries=3, slots=2)


def test_up_is_told_in_the_view_of_the_crop() -> None:
    K = torch.tensor([[[500.0, 0, 128], [0, 500, 128], [0, 0, 1]]])
    level = torch.tensor([[0.0, -1.0, 0.0]])
    told = gravity_inputs(level, torch.tensor([math.radians(5)]), K, crop_size=256)
    torch.testing.assert_close(told[0, :3], level[0])
    assert float(told[0, 3]) == pytest.approx(-math.log(math.radians(5)))
    # A crop that was turned by a quarter sees up at its side.
    quarter = torch.tensor([[[0.0, 1, 0], [-1, 0, 256], [0, 0, 1]]]) @ K
    turned = gravity_inputs(level, torch.tensor([0.1]), quarter, crop_size=256)
    assert float(turned[0, 0].abs()) == pytest.approx(1.0, abs=1e-5)


def test_what_is_not_known_is_zero_and_a_network_takes_it() -> None:
    K = torch.tensor([[500.0, 0, 128], [0, 500, 128], [0, 0, 1]]).repeat(2, 1, 1)
    up = torch.tensor([[0.0, -1.0, 0.0], [math.nan] * 3])
    told = gravity_inputs(up, torch.tensor([0.1, 0.1]), K, crop_size=256)
    assert torch.equal(told[1], torch.zeros(4))
    torch.manual_seed(0)
    network = build(TINY).eval()
    crops = CropEvidence(rays=torch.rand(2, 3, 16, 16), landmarks=torch.rand(2, 33, 9), up=told)
    with torch.no_grad():
        with_up = network(crops).heads.log_extent
        without = network(replace(crops, up=None)).heads.log_extent
    assert with_up[1] == pytest.approx(float(without[1]))
    assert with_up[0] != pytest.approx(float(without[0]))


def test_a_mirrored_camera_sees_mirrored_points_at_mirrored_places() -> None:
    K = np.array([[800.0, 3.0, 300.0], [0, 810.0, 250.0], [0, 0, 1]])
    point = np.array([0.4, -0.2, 3.0])
    pixel = K @ point / point[2]
    mirrored = mirror_intrinsics(torch.from_numpy(K), 640).numpy() @ (point * (-1, 1, 1)) / point[2]
    assert mirrored[:2] == pytest.approx([640 - pixel[0], pixel[1]])


def test_the_mean_of_both_sides_does_not_hang_on_which_is_the_mirror() -> None:
    parameters = BodyParameters(AnnyBody.load(), SIZES["anny"])
    generator = torch.Generator().manual_seed(1)

    def bodies() -> MetricBodies:
        rotations = roma.rotvec_to_rotmat(0.4 * torch.randn(2, SIZES["anny"].bones, 3, generator=generator))
        pose = parameters.expand(rotations)
        shape = 0.3 + 0.4 * torch.rand(2, SIZES["anny"].shapes, generator=generator)
        place = torch.tensor([0.3, 0.1, 4.0]) + torch.rand(2, 3, generator=generator)
        sigma = torch.rand(2, generator=generator) + 0.1
        return MetricBodies(
            parameters.body(pose, shape, place),
            pose,
            shape,
            place,
            sigma,
            sigma,
            torch.rand(2, 17, generator=generator),
        )

    one, two = bodies(), bodies()
    seen, in_mirror = averaged(one, two, parameters), averaged(two, one, parameters)
    sign = torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(seen.translation_m, in_mirror.translation_m * sign)
    torch.testing.assert_close(seen.pose, parameters.body.mirror_pose(in_mirror.pose), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(seen.distance_sigma, in_mirror.distance_sigma)
    # Somebody who is the same in both stays as they are.
    same = averaged(
        one,
        replace(
            one,
            pose=parameters.body.mirror_pose(one.pose),
            translation_m=one.translation_m * sign,
        ),
        parameters,
    )
    torch.testing.assert_close(same.pose, one.pose, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(same.body.vertices_m, one.body.vertices_m, atol=1e-4, rtol=1e-4)
