"""A body expressed in a model: into its own model it must come back as it was."""

import pytest
import roma
import torch

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
