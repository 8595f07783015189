from __future__ import annotations

from pathlib import Path

import pytest
import torch

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.shape_prior import AGE, GENDER, HEIGHT, ShapePrior
from metrichmsr.errors import ModelFileError


@pytest.fixture(scope="module")
def model() -> AnnyBody:
    return AnnyBody.load()


@pytest.fixture(scope="module")
def prior() -> ShapePrior:
    return ShapePrior.load()


@pytest.fixture(scope="module")
def shapes(prior: ShapePrior) -> torch.Tensor:
    return prior.sample(6000, torch.Generator().manual_seed(0))


def statures_given(model: AnnyBody, prior: ShapePrior, gender: float, age: float, n: int = 3000) -> torch.Tensor:
    """Statures of bodies of one gender and age, drawn from the density by weighting a grid of heights."""
    shape = prior.sample(n, torch.Generator().manual_seed(1))
    shape[:, GENDER], shape[:, AGE] = gender, age
    shape[:, HEIGHT] = torch.rand(n, generator=torch.Generator().manual_seed(2))
    weight = prior.log_prob(shape).exp()
    index = torch.multinomial(weight, n, replacement=True, generator=torch.Generator().manual_seed(3))
    return model.height(shape[index])


@pytest.mark.parametrize(
    ("gender", "age", "mean", "std"),
    [
        (0.0, 0.75, 1.76, 0.070),
        (1.0, 0.75, 1.63, 0.065),
        (0.0, 0.215, 1.033, 0.042),  # four years
        (1.0, 0.415, 1.450, 0.068),  # eleven years
        (0.5, -1 / 3, 0.495, 0.019),  # newborn
    ],
)
def test_density_implies_the_statures_of_people(
    model: AnnyBody, prior: ShapePrior, gender: float, age: float, mean: float, std: float
):
    statures = statures_given(model, prior, gender, age)
    assert statures.mean().item() == pytest.approx(mean, rel=0.012)
    assert statures.std().item() == pytest.approx(std, rel=0.12)


def test_samples_follow_the_growth_chart(model: AnnyBody, prior: ShapePrior, shapes: torch.Tensor):
    expected, spread = prior.expected_stature(shapes[:, GENDER], shapes[:, AGE])
    z = (model.height(shapes) - expected) / spread
    assert abs(z.mean().item()) < 0.05
    assert z.std().item() == pytest.approx(1.0, abs=0.05)
    adults = shapes[:, AGE] > 2 / 3
    assert 0.7 < adults.float().mean().item() < 0.85
    men = model.height(shapes[adults & (shapes[:, GENDER] < 0.05)])
    women = model.height(shapes[adults & (shapes[:, GENDER] > 0.95)])
    assert men.mean().item() == pytest.approx(1.75, abs=0.02)
    assert women.mean().item() == pytest.approx(1.63, abs=0.02)


def test_samples_are_reproducible_and_within_limits(model: AnnyBody, prior: ShapePrior, shapes: torch.Tensor):
    low, high = model.shape_limits()
    assert (shapes >= low - 1e-6).all()
    assert (shapes <= high + 1e-6).all()
    again = prior.sample(6000, torch.Generator().manual_seed(0))
    assert torch.equal(shapes, again)
    assert not torch.equal(shapes, prior.sample(6000, torch.Generator().manual_seed(1)))


def test_tabulated_stature_is_the_bodys(model: AnnyBody, prior: ShapePrior, shapes: torch.Tensor):
    stature, slope = prior.stature(shapes)
    torch.testing.assert_close(stature, model.height(shapes), atol=3e-3, rtol=0)
    taller = shapes.clone()
    taller[:, HEIGHT] += 0.01
    torch.testing.assert_close(prior.stature(taller)[0] - stature, 0.01 * slope, atol=2e-5, rtol=0)


def test_quadratic_agrees_with_the_density(prior: ShapePrior, shapes: torch.Tensor):
    double = ShapePrior.load().double()
    shape = shapes[:50].double()
    energy, gradient, hessian = double.quadratic(shape)
    torch.testing.assert_close(energy, -double.log_prob(shape))
    free = shape.clone().requires_grad_()
    (expected,) = torch.autograd.grad(-double.log_prob(free).sum(), free)
    torch.testing.assert_close(gradient, expected)
    assert (torch.linalg.eigvalsh(hessian) > -1e-9).all()
    assert torch.autograd.gradcheck(double.log_prob, free[:5].detach().requires_grad_())
    # A Newton step along the height parameter alone reaches the most likely height of that body.
    step = gradient[:, HEIGHT] / hessian[:, HEIGHT, HEIGHT]
    best = shape.clone()
    best[:, HEIGHT] -= step
    assert double.quadratic(best)[1][:, HEIGHT].abs().max() < 1e-6


def test_quadratic_works_without_gradients_enabled(prior: ShapePrior, shapes: torch.Tensor):
    with torch.no_grad():
        energy, gradient, hessian = prior.quadratic(shapes[:3])
    assert energy.shape == (3,)
    assert gradient.shape == (3, 6)
    assert hessian.shape == (3, 6, 6)
    assert not energy.requires_grad


def test_unlikely_shapes_are_unlikely(prior: ShapePrior, model: AnnyBody):
    usual = model.default_shape()[None]
    giant = usual.clone()
    giant[:, HEIGHT] = 1.0
    assert prior.log_prob(usual) - prior.log_prob(giant) > 20
    baby = usual.clone()
    baby[:, AGE] = 0.0
    assert prior.log_prob(usual) > prior.log_prob(baby)


def test_missing_asset_is_named(tmp_path: Path):
    with pytest.raises(ModelFileError, match=r"gone\.npz: the Anny body asset is missing"):
        ShapePrior.load(tmp_path / "gone.npz")
