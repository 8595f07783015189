"""The pose prior against a naive mixture, and its least-squares form against its density."""

import math

import pytest
import torch

from metrichmsr.errors import ModelFileError
from metrichmsr.hmr.pose_prior import PosePrior


@pytest.fixture(scope="module")
def prior() -> PosePrior:
    return PosePrior.load()


@pytest.fixture
def drawn(prior):
    return prior.sample(16, torch.Generator().manual_seed(3))


def test_energy_equals_a_naive_mixture(prior, drawn):
    coefficients, up = drawn
    point = torch.cat([coefficients[0], up[0]]).double()
    density = 0.0
    for weight, mean, whiten in zip(prior.log_weights.exp(), prior.means, prior.whiten, strict=True):
        precision = (whiten.T @ whiten).double()
        offset = point - mean
        log_normal = -0.5 * offset @ precision @ offset + 0.5 * torch.logdet(precision / (2 * math.pi))
        density += weight.item() * math.exp(log_normal)
    assert prior.energy(coefficients, up)[0].item() == pytest.approx(-math.log(density), abs=1e-2)


def test_weights_sum_to_one(prior):
    assert prior.log_weights.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_residuals_are_the_best_component(prior, drawn):
    terms = prior.residuals(*drawn)
    energies = prior.component_energies(*drawn)
    assert torch.equal(terms.component, energies.argmin(-1))
    torch.testing.assert_close(0.5 * terms.residuals.square().sum(-1) + terms.constant, energies.amin(-1))


def test_jacobian_is_the_derivative_of_the_residuals(prior, drawn):
    coefficients, up = (x[:1] for x in drawn)
    terms = prior.residuals(coefficients, up)
    for direction in range(0, prior.n_coefficients, 7):
        step = torch.zeros_like(coefficients)
        step[0, direction] = 1e-3
        moved = prior.component_energies(coefficients + step, up)[0, terms.component[0]]
        slope = (moved - prior.component_energies(coefficients, up)[0, terms.component[0]]) / 1e-3
        expected = terms.residuals[0] @ terms.jacobian[0, :, direction]
        assert slope.item() == pytest.approx(expected.item(), rel=0.1, abs=0.8)


def test_coefficients_and_rotations_are_inverse(prior, drawn):
    coefficients, _ = drawn
    torch.testing.assert_close(
        prior.to_coefficients(prior.to_rotvecs(coefficients)), coefficients, atol=1e-4, rtol=1e-4
    )


def test_impossible_poses_cost_more_than_drawn_ones(prior, drawn):
    coefficients, up = drawn
    rotvecs = prior.to_rotvecs(coefficients)
    knee = prior.bone_names.index("lowerleg01.L") - 1
    flexion = prior.mean.view(-1, 3)[knee]
    rotvecs[:, knee] = -1.5 * flexion / flexion.norm()  # a knee bent the wrong way
    broken = prior.to_coefficients(rotvecs)
    assert (prior.energy(broken, up) > prior.energy(coefficients, up) + 10).all()


def test_up_belongs_to_the_pose(prior):
    """Poses drawn as upright cost more when the body is said to hang upside down."""
    coefficients, up = prior.sample(200, torch.Generator().manual_seed(0))
    upright = up[:, 2] > 0.9
    assert upright.sum() > 40
    flipped = up * torch.tensor([1.0, -1.0, -1.0])
    costs_more = prior.energy(coefficients, flipped)[upright] > prior.energy(coefficients, up)[upright]
    assert costs_more.float().mean() > 0.95


def test_sampling_is_seeded(prior):
    first = prior.sample(4, torch.Generator().manual_seed(5))[0]
    assert torch.equal(first, prior.sample(4, torch.Generator().manual_seed(5))[0])


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"nothing\.safetensors"):
        PosePrior.load(tmp_path / "nothing.safetensors")
