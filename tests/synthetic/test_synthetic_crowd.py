"""Crowds: people stand on the ground, nobody in anybody, embraces hold, seats fit, seeds reproduce."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import roma
import torch

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.shape_prior import AGE, ShapePrior
from metrichmsr.synthetic.arms import LEFT, Arms
from metrichmsr.synthetic.contact import PARTS, BodyBalls, depth_into_each_other, way_out
from metrichmsr.synthetic.crowd import Crowd
from metrichmsr.synthetic.crowd_sampler import CrowdSampler, CrowdSettings
from metrichmsr.synthetic.embraces import EMBRACES, EmbraceMix
from metrichmsr.synthetic.groups import GroupMix, draw_plan
from metrichmsr.synthetic.people_shapes import ShapeMix, age_parameter, age_years, draw_shapes
from metrichmsr.synthetic.placement import rests, seat_height
from metrichmsr.synthetic.pose_kinds import KINDS, PoseMix
from metrichmsr.synthetic.poses import PoseLibrary


@pytest.fixture(scope="module")
def body() -> AnnyBody:
    return AnnyBody.load()


@pytest.fixture(scope="module")
def library(body: AnnyBody) -> PoseLibrary:
    return PoseLibrary.load(None, body=body, split="train")


@pytest.fixture(scope="module")
def sampler(body: AnnyBody, library: PoseLibrary) -> CrowdSampler:
    return CrowdSampler(body, library)


def only(sampler: CrowdSampler, kind: str) -> CrowdSampler:
    poses = PoseMix(**{name: float(name == kind) for name in KINDS})
    return CrowdSampler(sampler.body, sampler.library, settings=replace(sampler.settings, poses=poses))


def deepest(sampler: CrowdSampler, crowd: Crowd) -> float:
    """How far the balls of any two people of a shot go into each other."""
    centers, radii = sampler.balls(sampler.points(crowd))
    worst = -1.0
    for i in range(len(crowd)):
        for j in range(i):
            if crowd.shot[i] == crowd.shot[j]:
                depth = depth_into_each_other(centers[i, None], radii[i, None], centers[j, None], radii[j, None])
                worst = max(worst, float(depth.max()))
    return worst


def test_crowd_is_what_the_contract_says(sampler: CrowdSampler, body: AnnyBody) -> None:
    crowd = sampler.sample(12, torch.Generator().manual_seed(0), people=[1, 2, 3, 1, 1, 4, 1, 1, 2, 1, 6, 1])
    assert crowd.n_shots == 12
    assert len(crowd) == 24
    assert torch.equal(torch.bincount(crowd.shot), torch.tensor([1, 2, 3, 1, 1, 4, 1, 1, 2, 1, 6, 1]))
    assert bool((crowd.shot.diff() >= 0).all())
    assert crowd.pose.shape == (24, body.num_bones, 3, 3)
    eye = torch.eye(3).expand_as(crowd.pose)
    torch.testing.assert_close(crowd.pose @ crowd.pose.mT, eye, atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.linalg.det(crowd.pose), torch.ones(crowd.pose.shape[:2]), atol=1e-4, rtol=0)
    low, high = body.shape_limits()
    assert bool(((crowd.shape >= low) & (crowd.shape <= high)).all())
    assert len(crowd.support) == len(crowd.pose_source) == 24


def test_seeds_reproduce_and_differ(sampler: CrowdSampler) -> None:
    first, again, other = (sampler.sample(4, torch.Generator().manual_seed(seed), people=3) for seed in (5, 5, 6))
    assert torch.equal(first.pose, again.pose)
    assert torch.equal(first.translation_m, again.translation_m)
    assert first.pose_source == again.pose_source
    assert not torch.equal(first.pose, other.pose)


def test_people_stand_on_the_ground(sampler: CrowdSampler, body: AnnyBody) -> None:
    crowd = sampler.sample(48, torch.Generator().manual_seed(1), people=1)
    low = torch.cat(
        [
            body(crowd.pose[i : i + 16], crowd.shape[i : i + 16], crowd.translation_m[i : i + 16]).vertices_m[..., 1]
            for i in range(0, 48, 16)
        ]
    ).amin(1)
    assert float(low.min()) > -0.01
    for support, lowest in zip(crowd.support, low.tolist(), strict=True):
        if support == "ground":
            assert lowest < 1e-3
        if support == "air":
            assert lowest > 0.03
        if support == "lying":
            assert lowest < 1e-3 or 0.38 < lowest < 0.61


def test_upright_people_are_upright_and_face_everywhere(sampler: CrowdSampler, body: AnnyBody) -> None:
    crowd = only(sampler, "standing").sample(64, torch.Generator().manual_seed(2), people=1)
    grown = age_years(crowd.shape[:, AGE]) > 4
    out = sampler.light(crowd.pose, crowd.shape, crowd.translation_m)
    names = body.bone_names
    head, foot = out.joints_m[:, names.index("head")], out.joints_m[:, names.index("foot.L")]
    assert bool(((head - foot)[:, 1] > 0.6 * out.height_m)[grown].all())
    left = out.joints_m[:, names.index("upperarm01.L")] - out.joints_m[:, names.index("upperarm01.R")]
    front = torch.linalg.cross(left, torch.tensor([0.0, 1, 0]).expand_as(left))
    # Their toes are where they look: nobody is inside out.
    toes = (out.joints_m[:, names.index("toe2-1.L")] - foot + out.joints_m[:, names.index("toe2-1.R")]) - (
        out.joints_m[:, names.index("foot.R")]
    )
    assert float(((toes * front).sum(-1) > 0)[grown].float().mean()) > 0.95
    heading = torch.atan2(front[:, 0], front[:, 2])
    assert len(torch.unique((heading / (math.pi / 4)).floor())) == 8


def test_nobody_stands_in_anybody(sampler: CrowdSampler) -> None:
    crowd = sampler.sample(10, torch.Generator().manual_seed(3), people=[2, 3, 4, 5, 6, 2, 3, 2, 2, 6])
    assert deepest(sampler, crowd) < 0.04


@pytest.mark.parametrize("kind", ["none", "arm_round", "hand_in_hand", "hug", "carry"])
def test_those_who_touch_touch(sampler: CrowdSampler, kind: str) -> None:
    row = kind in ("arm_round", "hand_in_hand")
    weights = [float(name == kind) for name in EMBRACES]
    mix = EmbraceMix(row=tuple(weights), pair=tuple(weights))  # pyright: ignore[reportArgumentType]
    groups = GroupMix(pair=float(not row), row=float(row), queue=0, circle=0, scatter=0, touching=1.0, embraces=mix)
    own = CrowdSampler(sampler.body, sampler.library, settings=replace(sampler.settings, groups=groups))
    crowd = own.sample(8, torch.Generator().manual_seed(4), people=2)
    centers, radii = own.balls(own.points(crowd))
    depth = depth_into_each_other(centers[::2], radii[::2], centers[1::2], radii[1::2]).flatten(1).amax(1)
    assert float(depth.max()) < 0.04
    # Where an embrace would go through a body they only stand near.
    assert float((depth > -0.03).float().mean()) > 0.6
    if kind == "carry":
        carried = [i for i in range(1, 16, 2) if crowd.support[i] == "air"]
        assert carried
        assert bool((age_years(crowd.shape[1::2, AGE]) < 4.6).all())
        assert bool((crowd.translation_m[carried, 1] > 0.5).all())


def test_plan_has_one_beginning_for_every_shot() -> None:
    count = torch.tensor([1, 6, 2, 3])
    plan = draw_plan(count, torch.Generator().manual_seed(0), mix=GroupMix())
    first = count.cumsum(0) - count
    shot = torch.arange(4).repeat_interleave(count)
    assert bool((plan.anchor[first] == first).all())
    later = torch.ones(12, dtype=torch.bool)
    later[first] = False
    assert bool((plan.anchor[later] < torch.arange(12)[later]).all())
    assert torch.equal(shot[plan.anchor], shot)
    assert bool((plan.embrace[first] == 0).all())


def test_way_out_ends_where_balls_touch() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(5, 7, 3, generator=generator), torch.randn(5, 9, 3, generator=generator)
    ra, rb = torch.rand(5, 7, generator=generator) * 0.5, torch.rand(5, 9, generator=generator) * 0.5
    direction = torch.nn.functional.normalize(torch.randn(5, 3, generator=generator), dim=-1)
    way = way_out(a, ra, b, rb, direction, overlap_m=0.0)
    assert bool(way.isfinite().any())
    for extra, touching in ((0.0, True), (0.05, False), (3.0, False)):
        moved = a + direction[:, None] * (way + extra)[:, None, None]
        depth = depth_into_each_other(moved, ra, b, rb).flatten(1).amax(1)[way.isfinite()]
        assert bool((depth.abs() < 1e-4).all()) if touching else bool((depth < 0).all())


def test_balls_lie_in_the_body(body: AnnyBody) -> None:
    balls = BodyBalls(body)
    rest = body(body.identity_pose(), body.default_shape()[None]).vertices_m
    centers, radii = balls(rest[:, balls.vertex_ids])
    # No vertex is far outside all balls, and balls do not bulge out of the body.
    distance = torch.cdist(rest, centers) - radii[:, None]
    assert float(distance.amin(-1).max()) < 0.08
    assert float((-distance.amin(-1)).clamp_min(0).quantile(0.95)) < 0.045


def test_arms_reach(body: AnnyBody) -> None:
    balls = BodyBalls(body)
    light = body.restricted_to(balls.vertex_ids)
    pose, shape = body.identity_pose(2), body.default_shape().expand(2, -1)
    out = light(pose, shape)
    target = torch.tensor([[0.15, -0.4, 0.3], [0.35, -0.2, 0.5]])
    reached = Arms(body, balls).reach(pose, out, torch.tensor([LEFT, LEFT]), target, torch.tensor([[0.3, 0, -1.0]] * 2))
    wrist = light(reached, shape).joints_m[:, body.bone_names.index("wrist.L")]
    torch.testing.assert_close(wrist, target, atol=0.01, rtol=0)


def test_arms_leave_a_heavy_body(body: AnnyBody) -> None:
    balls = BodyBalls(body)
    light = body.restricted_to(balls.vertex_ids)
    arms = Arms(body, balls)
    shape = body.shape_from({"weight": 1.0, "muscle": 0.3, "age": 0.75})[None]
    pose = body.identity_pose()
    pose[:, body.bone_names.index("upperarm01.L")] = roma.rotvec_to_rotmat(torch.tensor([0.0, 1.2, 0.0]))
    hand = balls.ball_part == 4
    trunk = torch.isin(balls.ball_part, torch.tensor([0, 6, 7]))

    def depth(of: torch.Tensor) -> float:
        centers, radii = balls(light(of, shape).vertices_m)
        return float(depth_into_each_other(centers[:, hand], radii[:, hand], centers[:, trunk], radii[:, trunk]).max())

    moved = arms.out_of_body(pose, light(pose, shape))
    assert depth(pose) > 0.03
    assert depth(moved) < 0.6 * depth(pose)


def test_seats_are_under_people_and_beds_under_lying_ones(sampler: CrowdSampler) -> None:
    crowd = only(sampler, "sitting").sample(24, torch.Generator().manual_seed(5), people=1)
    found = rests(crowd, sampler.body, balls=sampler.balls)
    seated = [i for i, support in enumerate(crowd.support) if support == "seat"]
    assert set(seated) <= set(found.person.tolist())
    height = seat_height(crowd, sampler.body, balls=sampler.balls)
    assert bool((height[found.person] == found.top_m).all())
    adults = age_years(crowd.shape[found.person, AGE]) > 16
    assert 0.2 < float(found.top_m[adults & found.is_seat].median()) < 0.65
    # The box goes through nobody's trunk or legs by more than a little.
    points = sampler.points(crowd)[found.person]
    flat = points[..., [0, 2]] - found.center_m[:, None]
    across = torch.stack([found.forward[:, 1], -found.forward[:, 0]], dim=-1)
    inside = ((flat * found.forward[:, None]).sum(-1).abs() < found.half_m[:, None, 1]) & (
        (flat * across[:, None]).sum(-1).abs() < found.half_m[:, None, 0]
    )
    sunk = torch.where(inside, found.top_m[:, None] - points[..., 1], 0.0).amax(1)
    assert bool(found.is_clear.any())
    assert float((sunk < 0.03)[found.is_clear].float().mean()) > 0.9
    torch.testing.assert_close(found.forward.norm(dim=-1), torch.ones(len(found)))


def test_shapes_have_the_children_asked_for() -> None:
    prior = ShapePrior.load()
    years = age_years(draw_shapes(prior, 2000, torch.Generator().manual_seed(0))[:, AGE])
    assert 0.2 < float((years < 16).float().mean()) < 0.3
    assert float(years.min()) < 2
    assert float(years.max()) > 80
    grown = draw_shapes(prior, 500, torch.Generator().manual_seed(0), mix=ShapeMix(children=0.0))
    assert float(age_years(grown[:, AGE]).min()) >= 16
    stature = prior.stature(grown)[0]
    men = grown[:, 0] < 0.2
    assert abs(float(stature[men].mean()) - 1.75) < 0.02
    assert abs(float(stature[grown[:, 0] > 0.8].mean()) - 1.62) < 0.02
    sample = torch.linspace(0, 90, 50)
    torch.testing.assert_close(age_years(age_parameter(sample)), sample, atol=0.05, rtol=0)


def test_babies_do_not_walk(sampler: CrowdSampler) -> None:
    settings = CrowdSettings(shapes=ShapeMix(children=1.0, infants=1.0))
    crowd = CrowdSampler(sampler.body, sampler.library, settings=settings).sample(
        40, torch.Generator().manual_seed(0), people=1
    )
    newborn = age_years(crowd.shape[:, AGE]) < 0.6
    assert all(support != "air" for support in crowd.support)
    assert sum(crowd.support[i] == "lying" for i in newborn.nonzero().flatten().tolist()) >= 0.7 * int(newborn.sum())


def test_bad_numbers_of_people(sampler: CrowdSampler) -> None:
    for people in ([1, 2], [0, 1, 1], 0):
        with pytest.raises(ValueError, match="people"):
            sampler.sample(3, torch.Generator(), people=people)
    with pytest.raises(ValueError, match="shot"):
        sampler.sample(0, torch.Generator())


def test_who_stands_stands_on_both_feet(sampler: CrowdSampler) -> None:
    crowd = only(sampler, "standing").sample(48, torch.Generator().manual_seed(6), people=1)
    points = sampler.points(crowd)
    soles = [points[:, sampler.balls.part == PARTS.index(f"foot.{side}"), 1].amin(1) for side in "LR"]
    upper = torch.maximum(*soles)[age_years(crowd.shape[:, AGE]) > 2]
    # Either on the floor or clearly lifted.
    assert float(((upper < 0.006) | (upper > 0.03)).float().mean()) > 0.9
