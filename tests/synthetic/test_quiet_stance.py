"""People who just stand: legs and trunk calmed, arms kept, others left alone."""

from __future__ import annotations

import pytest
import roma
import torch

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.synthetic.pose_kinds import KINDS, PoseReader
from metrichmsr.synthetic.poses import PoseLibrary
from metrichmsr.synthetic.quiet_stance import LEAST_AMOUNT, QUIET_SHARE, amounts, calmed

STANDING = [float(kind in ("standing", "gesturing")) for kind in KINDS]


@pytest.fixture(scope="module")
def body() -> AnnyBody:
    return AnnyBody.load().restricted_to(torch.arange(1))


def test_legs_and_trunk_come_to_rest_and_arms_do_what_they_did(body: AnnyBody) -> None:
    bones = body.driven_bones
    before = 0.3 * torch.randn(3, len(bones), 3, generator=torch.Generator().manual_seed(0))
    after = calmed(before, torch.tensor([0.0, 0.75, 1.0]), bones)
    arms = [bones.index(f"{part}.{side}") for part in ("clavicle", "upperarm01", "lowerarm01") for side in "LR"]
    trunk = [bones.index(bone) for bone in ("root", "spine03", "upperleg01.L", "lowerleg01.R", "foot.L")]
    torch.testing.assert_close(after[:, arms], before[:, arms])
    torch.testing.assert_close(after[0], before[0])
    torch.testing.assert_close(after[1, trunk], 0.25 * before[1, trunk])
    assert not after[2, trunk].any()


def test_half_of_those_who_are_upright_are_calmed_and_nobody_else() -> None:
    upright = torch.arange(4000) % 2 == 0
    drawn = amounts(upright, torch.Generator().manual_seed(0))
    calm = drawn > 0
    assert not calm[~upright].any()
    assert float(calm[upright].float().mean()) == pytest.approx(QUIET_SHARE, abs=0.04)
    assert drawn[calm].min() >= LEAST_AMOUNT
    assert drawn.max() <= 1
    torch.testing.assert_close(drawn, amounts(upright, torch.Generator().manual_seed(0)))


def test_who_is_calmed_stands_over_their_feet_with_straight_knees(body: AnnyBody) -> None:
    library = PoseLibrary.load(None, body=body, split="val")
    drawn = library.draw(torch.tensor(STANDING).expand(300, -1), torch.Generator().manual_seed(0))
    joints = PoseReader(body).joints(roma.rotvec_to_rotmat(drawn.rotvec))
    at = {bone: joints[:, i] for i, bone in enumerate(body.driven_bones)}
    calm = torch.tensor([source.endswith("calmed") for source in drawn.source])
    assert 100 < int(calm.sum()) < 200

    def forward_deg(up: torch.Tensor) -> torch.Tensor:
        """How far a part leans; people face −y."""
        return torch.atan2(-up[:, 1], up[:, 2]).rad2deg()

    def bend_deg(side: str) -> torch.Tensor:
        thigh = at[f"lowerleg01.{side}"] - at[f"upperleg01.{side}"]
        shin = at[f"foot.{side}"] - at[f"lowerleg01.{side}"]
        return torch.acos(torch.nn.functional.cosine_similarity(thigh, shin, dim=-1).clamp(-1, 1)).rad2deg()

    knees = torch.stack([bend_deg("L"), bend_deg("R")]).amax(0)
    trunk = forward_deg(at["neck01"] - at["root"]).abs()
    assert knees[calm].quantile(0.75) < 16
    assert knees[calm].quantile(0.9) < knees[~calm].quantile(0.9)
    assert trunk[calm].quantile(0.75) < trunk[~calm].quantile(0.75)
    assert trunk[calm].max() < 14
