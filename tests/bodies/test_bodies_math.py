from __future__ import annotations

import pytest
import roma
import torch

from metrichmsr.bodies.kinematics import KinematicTree, blend_skin, faces_within
from metrichmsr.bodies.nearest_rotation import nearest_rotation
from metrichmsr.bodies.phenotype_grid import corner_weights
from metrichmsr.bodies.protocol import mirrored_name

GRID = ((0.0, 1.0, 2), (-1 / 3, 1.0, 5), (0.0, 1.0, 3))


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_nearest_rotation_is_the_procrustes_solution():
    # Far from any rotation, with both signs of the determinant: Newton alone would not find all of these.
    matrices = random(2000, 3, 3)
    expected = roma.special_procrustes(matrices)
    torch.testing.assert_close(nearest_rotation(matrices), expected, atol=1e-9, rtol=0)
    single = nearest_rotation(matrices.float()).double()
    well = torch.linalg.svdvals(matrices)[:, 1] > 0.05
    assert (single - expected)[well].abs().amax((-1, -2)).quantile(0.99) < 1e-3


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_nearest_rotation_of_a_scaled_rotation_is_the_rotation(scale: float):
    rotations = roma.rotvec_to_rotmat(0.8 * random(50, 3, seed=1))
    torch.testing.assert_close(nearest_rotation(scale * rotations), rotations, atol=1e-9, rtol=0)


def test_nearest_rotation_has_the_right_derivative():
    near = roma.rotvec_to_rotmat(0.5 * random(4, 3, seed=2)) @ torch.diag(torch.tensor([1.0, 0.4, 0.2]).double())
    matrices = torch.cat([near + 0.05 * random(4, 3, 3, seed=3), random(4, 3, 3, seed=4)]).requires_grad_()
    assert torch.autograd.gradcheck(nearest_rotation, matrices)


def test_nearest_rotation_of_degenerate_matrices_is_finite():
    line = torch.zeros(2, 3, 3, dtype=torch.float64)
    line[1, 0, 0] = 1.0
    line.requires_grad_()
    out = nearest_rotation(line)
    (gradient,) = torch.autograd.grad(out.sum(), line)
    torch.testing.assert_close(out @ out.mT, torch.eye(3, dtype=torch.float64).expand(2, 3, 3))
    assert gradient.isfinite().all()


def test_corner_weights_are_multilinear():
    shape = torch.rand(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shape[:, 1] = shape[:, 1] * 4 / 3 - 1 / 3
    weights = corner_weights(shape, GRID)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(20, dtype=torch.float64))
    corners = torch.cartesian_prod(*(torch.linspace(*axis, dtype=torch.float64) for axis in GRID))
    torch.testing.assert_close(weights @ corners, shape)
    torch.testing.assert_close(
        corner_weights(corners, GRID), torch.eye(len(corners), dtype=torch.float64), atol=1e-12, rtol=0
    )


def test_kinematic_tree_equals_the_recursion():
    parents = (-1, 0, 1, 0, 3, 3, 2)
    tree = KinematicTree(parents).double()
    pose, offsets = roma.random_rotmat((2, 7), dtype=torch.float64), random(2, 7, 3, seed=5)
    rotations = tree.rotations(pose)
    joints = tree.joints(rotations, offsets)
    for b in range(2):
        for i, parent in enumerate(parents):
            if parent < 0:
                assert torch.equal(rotations[b, i], pose[b, i])
                assert (joints[b, i] == 0).all()
            else:
                torch.testing.assert_close(rotations[b, i], rotations[b, parent] @ pose[b, i])
                torch.testing.assert_close(joints[b, i], joints[b, parent] + rotations[b, parent] @ offsets[b, i])


@pytest.mark.parametrize("parents", [(0, 0), (-1, 2, 1), (-1, -1), (-1, 1)])
def test_kinematic_tree_refuses_what_is_no_ordered_tree(parents: tuple[int, ...]):
    with pytest.raises(ValueError, match="root first"):
        KinematicTree(parents)


def test_blend_skin_equals_the_loop():
    rest, weights = random(2, 3, 5, seed=6), torch.softmax(random(4, 5, seed=7), 0)
    rotations, shifts = random(2, 4, 3, 3, seed=8), random(2, 4, 3, seed=9)
    skinned = blend_skin(rest, weights, rotations, shifts)
    for b in range(2):
        for v in range(5):
            expected = sum(weights[j, v] * (rotations[b, j] @ rest[b, :, v] + shifts[b, j]) for j in range(4))
            torch.testing.assert_close(skinned[b, v], expected)


def test_faces_within_renumbers():
    faces = torch.tensor([[0, 1, 2], [2, 1, 3], [3, 4, 0]])
    kept, which = faces_within(faces, torch.tensor([3, 1, 2]), 5)
    assert kept.tolist() == [[2, 1, 0]]
    assert which.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("name", "other"),
    [("foot.L", "foot.R"), ("toe1-1.R", "toe1-1.L"), ("left_hip", "right_hip"), ("spine1", "spine1")],
)
def test_mirrored_names(name: str, other: str):
    assert mirrored_name(name) == other
    assert mirrored_name(other) == name
