"""Knees of captured poses: straightened where people stand, left where they sit."""

from __future__ import annotations

import pytest
import roma
import torch

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.hmr.body_parameters import SIZES, BodyParameters
from metrichmsr.synthetic.straight_legs import EXCESS_DEG, straightened


@pytest.fixture(scope="module")
def parameters() -> BodyParameters:
    return BodyParameters(AnnyBody.load().restricted_to(torch.arange(1)), SIZES["anny"])


def squatting(parameters: BodyParameters, *degrees: float) -> torch.Tensor:
    """Poses with both knees bent so far, hips and ankles by half, as who stands like that has them."""
    bones = parameters.body.driven_bones  # pyright: ignore[reportAttributeAccessIssue]
    rotvec = torch.zeros(len(degrees), len(bones), 3)
    bend = torch.tensor(degrees).deg2rad()
    for side in ("L", "R"):
        rotvec[:, bones.index(f"lowerleg01.{side}"), 0] = bend
        for half in ("upperleg01", "foot"):
            rotvec[:, bones.index(f"{half}.{side}"), 0] = -0.5 * bend
    return rotvec


def test_who_stands_gets_straight_legs_and_who_sits_keeps_theirs(parameters) -> None:
    bones = list(parameters.body.driven_bones)
    before = squatting(parameters, 0.0, 20.0, 120.0)
    after = straightened(before, bones)
    knee = after[:, bones.index("lowerleg01.L"), 0].rad2deg()
    torch.testing.assert_close(after[0], before[0])
    assert 20 - EXCESS_DEG <= float(knee[1]) < 6
    assert float(knee[2]) == pytest.approx(120, abs=1)


def test_feet_stay_below_and_soles_where_they_were(parameters) -> None:
    bones, body = list(parameters.body.driven_bones), parameters.body
    before = squatting(parameters, 25.0)
    after = straightened(before, bones)
    foot, toe = body.bone_names.index("foot.L"), body.bone_names.index("toe2-1.L")
    shape = body.default_shape().reshape(1, -1)
    bodies = [
        body(parameters.expand(roma.rotvec_to_rotmat(pose)), shape, torch.zeros(1, 3)) for pose in (before, after)
    ]
    ankles = [b.joints_m[0, foot] for b in bodies]
    soles = [torch.nn.functional.normalize(b.joints_m[0, toe] - b.joints_m[0, foot], dim=-1) for b in bodies]
    assert float(ankles[1][2]) < float(ankles[0][2]) - 0.005, "the leg is longer"
    assert abs(float(ankles[1][1] - ankles[0][1])) < 0.02
    assert float(soles[0] @ soles[1]) > 0.999
