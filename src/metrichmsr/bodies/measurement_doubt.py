"""One sigma of each measurement: what a recovered stature and the prior of shapes leave open.

A recovery says how tall somebody is, with a sigma, and hardly more about their build: on held-out SynFocal crops the
network's sex, muscle, weight and proportions were no better than a constant. So girths come mostly from the prior.
Three doubts, taken as independent of each other, add up in squares:

* **stature**: the body at one sigma more and one sigma less, by the model's own height parameter;
* **build**: other shapes of the same stature. Their spread is the covariance of the shape prior at the recovered shape,
  conditioned on its stature (a tall body is likelier a man's, a small one a child's); along each principal axis the
  body is measured one sigma to either side;
* **the individual**: people of one stature, sex, age and weight still differ, in ways that the few parameters of a body
  model do not reach. :data:`INDIVIDUAL` holds what is left after a regression on these four.

Sources of :data:`INDIVIDUAL`: ANSUR II (Gordon et al., 2012 Anthropometric Survey of U.S. Army Personnel, 2014; public
data of 4,082 men and 1,986 women), our regressions, mean of both sexes, as shares of the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.bodies.measurements import MEASUREMENTS, BodyRuler
from metrichmsr.bodies.protocol import BodyModel
from metrichmsr.bodies.shape_prior import GENDER, HEIGHT, ShapePrior
from metrichmsr.structures import Measurement, Person

INDIVIDUAL = {
    "stature": 0.0,
    "arm_span": 0.027,
    "sitting_height": 0.024,
    "inseam": 0.029,
    "arm_length": 0.032,
    "shoulder_breadth": 0.030,
    "head_girth": 0.028,
    "neck_girth": 0.037,
    "chest_girth": 0.036,
    "waist_girth": 0.049,
    "hip_girth": 0.027,
    "thigh_girth": 0.036,
    "calf_girth": 0.042,
    "upper_arm_girth": 0.049,
}
"""Standard deviation, as a share, among people of one stature, sex, age and weight."""

_INDIVIDUAL = np.array([INDIVIDUAL[name] for name in MEASUREMENTS])
_GENDER_PRECISION = 12.0
"""Of a uniform distribution from 0 to 1."""


class Measurer:
    """Measures recovered people: values of their bodies, sigmas of what is not known of them.

    Args:
        model: the body model of their shapes, showing all of its vertices.

    Raises:
        ModelFileError: the model lacks a bone that measuring needs.
    """

    def __init__(self, model: BodyModel) -> None:
        self.ruler = BodyRuler(model)
        self._spread: _Spread = _AnnySpread(model) if model.name == "anny" else _BetaSpread()
        self.model = model

    @torch.no_grad()
    def __call__(
        self, shape: Float[Tensor, "N S"], height_std_m: Float[np.ndarray, "N"]
    ) -> list[dict[str, Measurement]]:
        """Measurements of N people by name.

        Args:
            shape: their recovered shapes.
            height_std_m: one sigma of each stature; 0 where it is known, NaN where nothing is (then no sigma is).
        """
        shape = shape.to(self.model.default_shape())
        people = []
        for own, std in zip(shape, np.asarray(height_std_m, dtype=np.float64), strict=True):
            value, sigma = self._measured(own[None], float(std))
            pairs = zip(value, sigma, strict=True)
            people.append({n: Measurement(float(v), float(s)) for n, (v, s) in zip(MEASUREMENTS, pairs, strict=True)})
        return people

    def people(self, people: Sequence[Person]) -> tuple[Person, ...]:
        """The same people with their measurements; they must be of this measurer's model."""
        if not people:
            return ()
        names = self.model.shape_names
        shape = torch.tensor([[person.shape[name] for name in names] for person in people], dtype=torch.float64)
        measured = self(shape, np.array([person.height_std_m for person in people]))
        return tuple(replace(p, measurements=m) for p, m in zip(people, measured, strict=True))

    def _measured(
        self, shape: Float[Tensor, "1 S"], height_std_m: float
    ) -> tuple[Float[np.ndarray, "M"], Float[np.ndarray, "M"]]:
        stature = self.model.height(shape)
        known = max(0.0, height_std_m) if np.isfinite(height_std_m) else 0.0
        # Nobody is smaller than a third of what they are said to be.
        wanted = torch.cat([stature + known, (stature - known).clamp_min(stature / 3)])
        sized = self._spread.of_stature(shape.expand(2, -1), wanted)
        built = self._spread.builds(shape)
        shapes = torch.cat([shape, sized, built])
        statures = torch.cat([stature, wanted, stature.expand(len(built))])
        # What the parameters do not reach is scaled.
        scale = (statures / self.model.height(shapes)).cpu().numpy().astype(np.float64)
        rows = self.ruler(shapes, levels_of_first=True) * scale[:, None]
        value = rows[0]
        off = np.square(rows[1:] - value)
        # The mean of either side's square, for the two of stature as for the two of each axis.
        variance = 0.5 * off.sum(axis=0) + np.square(_INDIVIDUAL * value)
        sigma = np.sqrt(variance) if np.isfinite(height_std_m) else np.full_like(value, np.nan)
        return value, sigma


class _AnnySpread:
    """Builds of the same stature under :class:`~metrichmsr.bodies.shape_prior.ShapePrior`."""

    def __init__(self, model: BodyModel) -> None:
        self._model = model
        self._prior = ShapePrior.load().to(model.default_shape())

    def of_stature(self, shape: Float[Tensor, "B S"], height_m: Float[Tensor, "B"]) -> Float[Tensor, "B S"]:
        """The shapes at other statures, as far as the height parameter goes; stature is linear in it."""
        ends = shape.repeat(2, 1)
        ends[: len(shape), HEIGHT], ends[len(shape) :, HEIGHT] = 0.0, 1.0
        low, high = self._model.height(ends).view(2, -1)
        changed = shape.clone()
        changed[:, HEIGHT] = ((height_m - low) / (high - low)).clamp(0.0, 1.0)
        return changed

    def builds(self, shape: Float[Tensor, "1 S"]) -> Float[Tensor, "K S"]:
        """One sigma to either side along each axis of the conditional covariance."""
        shape = self._within(shape)
        hessian = self._prior.quadratic(shape)[2][0].double()
        hessian[GENDER, GENDER] += _GENDER_PRECISION
        with torch.enable_grad():
            free = shape.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self._prior.stature(free)[0].sum(), free)
        # Directions that leave the stature as it is: the height parameter makes up for the others.
        others = [i for i in range(shape.shape[1]) if i != HEIGHT]
        held = torch.eye(shape.shape[1], dtype=torch.float64)[:, others]
        held[HEIGHT] = -(gradient[0, others] / gradient[0, HEIGHT]).double()
        precision, axes = torch.linalg.eigh((held.T @ hessian.to(held) @ held).cpu())
        steps = (held[others] @ axes * precision.clamp_min(1e-6).rsqrt()).T
        sided = torch.zeros(2 * len(others), shape.shape[1], dtype=torch.float64)
        sided[:, others] = torch.cat([steps, -steps])
        built = self._within(shape + sided.to(shape))
        return self.of_stature(built, self._model.height(shape).expand(len(built)))

    def _within(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B S"]:
        low, high = self._prior.limits()
        return shape.clamp(low.to(shape), high.to(shape))


class _BetaSpread:
    """Builds of the SMPL family: every component is standard normal, and scaling brings back the stature."""

    def of_stature(self, shape: Float[Tensor, "B S"], height_m: Float[Tensor, "B"]) -> Float[Tensor, "B S"]:
        """The shapes themselves: scaling does the rest."""
        return shape

    def builds(self, shape: Float[Tensor, "1 S"]) -> Float[Tensor, "K S"]:
        """One sigma to either side along each component."""
        steps = torch.eye(shape.shape[1], dtype=shape.dtype, device=shape.device)
        return shape + torch.cat([steps, -steps])


_Spread = _AnnySpread | _BetaSpread
