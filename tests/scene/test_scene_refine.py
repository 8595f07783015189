"""Depth and people brought into one scale: network, closed form, and when to leave it alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metrichmsr.scene.anchors import render_anchors
from metrichmsr.scene.depth.protocol import DepthEstimate
from metrichmsr.scene.refine import DepthRefiner
from metrichmsr.scene.refinement_network import RefineConfig, RefinementNetwork

SMALL = RefineConfig(channels=(8, 8, 8, 16), layers=1, heads=2, hidden=16)


@pytest.fixture
def world(make_camera, make_person):
    """A camera, two people, and true depth: a wall behind them."""
    camera = make_camera()
    people = [
        make_person(id=i, pelvis=(x, 0.0, z), camera=camera) for i, (x, z) in enumerate(((-0.6, 3.5), (0.8, 5.0)))
    ]
    anchors = render_anchors(people, camera)
    wall = np.full((camera.height, camera.width), 7.0, np.float32)
    return camera, people, anchors, np.fmin(wall, anchors.depth_m)


def picture(camera):
    return np.random.default_rng(0).integers(0, 255, (camera.height, camera.width, 3), dtype=np.uint8)


def test_an_untrained_network_is_the_closed_form(world):
    camera, people, anchors, truth = world
    initial = DepthEstimate(1.25 * truth, metric=True)
    network = DepthRefiner(RefinementNetwork(SMALL).eval())(picture(camera), camera, initial, people, anchors)
    closed = DepthRefiner(None)(picture(camera), camera, initial, people, anchors)
    assert (network.how, closed.how) == ("network", "closed form")
    np.testing.assert_allclose(network.depth_m, closed.depth_m, rtol=1e-4)
    assert closed.residuals is not None
    assert closed.residuals.initial == pytest.approx(0.25, abs=0.02)
    assert closed.residuals.closed_form < 0.05
    assert np.abs(closed.depth_m / truth - 1).mean() < 0.06


def test_unknown_stays_unknown(world):
    camera, people, anchors, truth = world
    spoilt = truth.copy()
    spoilt[:20] = np.nan
    refined = DepthRefiner(RefinementNetwork(SMALL).eval())(
        picture(camera), camera, DepthEstimate(spoilt, metric=True), people, anchors
    )
    np.testing.assert_array_equal(np.isfinite(refined.depth_m), np.isfinite(spoilt))


@pytest.mark.parametrize(("people_there", "why"), [(False, "nobody was recovered"), (True, "no pixel shows both")])
def test_without_people_depth_passes_through_and_says_so(world, people_there, why):
    camera, people, anchors, truth = world
    initial = DepthEstimate(truth, metric=True)
    if people_there:
        initial = DepthEstimate(np.where(anchors.mask, np.nan, truth).astype(np.float32), metric=True)
    else:
        people, anchors = [], render_anchors(people, camera)
        anchors.mask[:] = False
    refined = DepthRefiner(None)(picture(camera), camera, initial, people, anchors)
    assert refined.how == "none"
    assert refined.residuals is None
    np.testing.assert_array_equal(refined.depth_m, initial.depth_m)
    assert why in refined.warnings[0]


def test_relative_depth_without_people_has_no_metres_and_says_so(world):
    camera, people, anchors, truth = world
    anchors.mask[:] = False
    refined = DepthRefiner(None)(picture(camera), camera, DepthEstimate(truth, metric=False), people, anchors)
    assert "no metres" in refined.warnings[0]


def test_people_who_contradict_each_other_are_named(world):
    """One stands in a mirror: seen in front of the wall, recovered at twice the distance."""
    camera, people, anchors, truth = world
    truth = np.where(anchors.person == 1, anchors.depth_m / 2, truth).astype(np.float32)
    refined = DepthRefiner(None)(picture(camera), camera, DepthEstimate(truth, metric=True), people, anchors)
    assert refined.residuals is not None
    worst = max(refined.residuals.by_person, key=refined.residuals.by_person.__getitem__)
    assert any(f"person {worst}" in line and "mirror" in line for line in refined.warnings)
    wall = refined.depth_m[anchors.person < 0]
    assert abs(np.median(wall) / 7 - 1) < 0.5, "the room is not bent for them"


def test_one_person_on_a_poster_is_told_of(world, make_person):
    camera, _, _, _ = world
    person = make_person(id=0, pelvis=(0.0, 0.0, 8.0), camera=camera)
    anchors = render_anchors([person], camera)
    wall = np.full((camera.height, camera.width), 3.0, np.float32)
    refined = DepthRefiner(None)(picture(camera), camera, DepthEstimate(wall, metric=True), [person], anchors)
    assert any("poster" in line for line in refined.warnings)
    assert refined.residuals is not None
    assert refined.residuals.initial > 0.5


def test_a_network_that_leaves_the_people_is_not_believed(world):
    camera, people, anchors, truth = world
    network = RefinementNetwork(SMALL).eval()
    assert network.head.bias is not None
    torch.nn.init.constant_(network.head.bias, 0.7)  # everything twice as far
    refined = DepthRefiner(network)(picture(camera), camera, DepthEstimate(truth, metric=True), people, anchors)
    assert refined.how == "closed form"
    assert any("moved depth away from the people" in line for line in refined.warnings)
    assert refined.residuals is not None
    assert refined.residuals.refined == refined.residuals.closed_form
