"""A body expressed in a model: into its own it must come back as it was, through another nearly so."""

import pytest
import roma
import torch
from smpl_like import smpl_like

from metrichmsr.bodies import load_body_model
from metrichmsr.bodies.transfer import transfer
from metrichmsr.hmr.pose_prior import PosePrior


@pytest.fixture(scope="module")
def anny():
    return load_body_model("anny")


@pytest.fixture(scope="module")
def moved(anny):
    prior = PosePrior.load()
    coefficients, _ = prior.sample(3, torch.Generator().manual_seed(2))
    driven = roma.rotvec_to_rotmat(prior.to_rotvecs(coefficients))
    root = roma.random_rotmat(3, generator=torch.Generator().manual_seed(0))
    pose = anny.expand_pose(torch.cat([root[:, None], driven], 1))
    shape = anny.default_shape().expand(3, -1)
    place = torch.tensor([[0.5, 0.2, 4.0], [-1.0, 0.0, 3.0], [0.0, 1.0, 8.0]])
    source = anny(pose, shape, place)
    return source, transfer(source, anny)


def test_keypoints_come_back(moved):
    source, result = moved
    assert (result.error_m < 0.03).all()
    distance = (result.body.coco17_m - source.coco17_m).norm(dim=-1)
    assert distance.median() < 0.02


def test_stature_and_place_come_back(moved):
    source, result = moved
    torch.testing.assert_close(result.body.height_m, source.height_m, atol=0.03, rtol=0)
    assert (result.body.joints_m[:, 0] - source.joints_m[:, 0]).norm(dim=-1).max() < 0.06


def test_pose_shape_and_body_belong_together(anny, moved):
    _, result = moved
    again = anny(result.pose, result.shape, result.body.joints_m[:, 0])
    torch.testing.assert_close(again.vertices_m, result.body.vertices_m, atol=1e-5, rtol=0)


def nearest_m(body, other):
    """Mean distance from one vertex in ten to the nearest of the other body, for each body."""
    pairs = zip(body.vertices_m[:, ::10], other.vertices_m, strict=True)
    return torch.stack([torch.cdist(points, others).amin(dim=1).mean() for points, others in pairs])


@pytest.fixture(scope="module")
def smpl(anny):
    return smpl_like(anny)


@pytest.fixture(scope="module")
def round_trip(anny, smpl):
    """Five adults in poses of the prior, seen from anywhere: as Anny, as the model like SMPL, as Anny again."""
    prior = PosePrior.load()
    generator = torch.Generator().manual_seed(7)
    coefficients, _ = prior.sample(5, generator)
    root = roma.random_rotmat(5, generator=generator)
    driven = roma.rotvec_to_rotmat(prior.to_rotvecs(coefficients))
    pose = anny.expand_pose(torch.cat([root[:, None], driven], 1))
    shape = anny.default_shape() + 0.3 * (torch.rand(5, len(anny.shape_names), generator=generator) - 0.5)
    place = torch.tensor([0.0, 0.0, 5.0]) + torch.randn(5, 3, generator=generator)
    source = anny(pose, shape, place)
    there = transfer(source, smpl)
    return source, there, transfer(there.body, anny)


def test_the_model_like_smpl_is_a_person_in_t_pose(smpl):
    out = smpl(smpl.identity_pose(), smpl.default_shape()[None])
    joints = dict(zip(smpl.bone_names, out.joints_m[0], strict=True))
    assert 1.5 < float(out.height_m[0]) < 1.8
    assert joints["head"][1] > 0.5 > -0.7 > joints["left_ankle"][1]
    assert joints["left_wrist"][0] > 0.5 > -0.5 > joints["right_wrist"][0]
    assert abs(joints["left_wrist"][1] - joints["left_shoulder"][1]) < 0.01
    assert out.coco17_m[0, 0, 2] > joints["head"][2] + 0.05, "the nose is in front"


def test_anny_as_smpl(round_trip):
    source, there, _ = round_trip
    assert there.error_m.max() < 0.025
    assert (there.body.height_m - source.height_m).abs().max() < 0.001
    assert nearest_m(there.body, source).max() < 0.015


def test_smpl_as_anny(anny, smpl):
    """Bodies that were never Anny's: three shape components at two standard deviations, free poses."""
    generator = torch.Generator().manual_seed(3)
    turns = 0.25 * torch.randn(4, smpl.num_bones, 3, generator=generator)
    turns[:, 0] = torch.randn(4, 3, generator=generator)
    shape = torch.zeros(4, len(smpl.shape_names))
    shape[1, 0], shape[2, 0], shape[3, 1] = 2.0, -2.0, 2.0
    source = smpl(roma.rotvec_to_rotmat(turns), shape, torch.tensor([[0.3, -0.1, 4.0]]).expand(4, -1))
    result = transfer(source, anny)
    assert result.error_m.max() < 0.025
    assert (result.body.height_m - source.height_m).abs().max() < 0.005
    # On one side of the body and right way up, not merely at the keypoints.
    assert nearest_m(source, result.body).max() < 0.02


def test_there_and_back_is_the_same_body(round_trip):
    """Millimetres from each vertex to itself: what 24 bones and points of joints cannot tell is lost on the way."""
    source, _, back = round_trip
    keypoints = (back.body.coco17_m - source.coco17_m).norm(dim=-1)
    surface = (back.body.vertices_m - source.vertices_m).norm(dim=-1)
    assert (keypoints.mean(1) < 0.020).all()
    assert (surface.mean(1) < 0.035).all()
    assert (surface.quantile(0.95, dim=1) < 0.090).all()
    assert (back.body.height_m - source.height_m).abs().max() < 0.001
    assert (back.body.joints_m[:, 0] - source.joints_m[:, 0]).norm(dim=-1).max() < 0.03
