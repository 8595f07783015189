"""What bodies do: a Gaussian-mixture prior over body pose and over which way is up.

SMPLify (Bogo et al., ECCV 2016) keeps a fitted pose plausible with a mixture of Gaussians learned from motion capture.
Ours differs in two ways. Pose is described by a few dozen principal coefficients of the driven bones' rotation vectors,
which makes the fit small. And each sample carries the **up vector in the root bone's frame**: a lying pose knows that
it lies, so pose and gravity inform each other, and a level camera helps to tell a squat from a fold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from metrichmsr.errors import ModelFileError

WEIGHTS = Path(__file__).parent.parent / "weights" / "pose_prior.safetensors"


@dataclass(frozen=True)
class PriorResiduals:
    """A mixture seen from a point: the component that explains it best, as a whitened least-squares residual."""

    residuals: Float[Tensor, "B D+3"]
    """Whitened distance to that component's mean: half its squared norm is the energy, up to ``constant``."""
    jacobian: Float[Tensor, "B D+3 D+3"]
    """Derivative of the residuals by (coefficients, up)."""
    constant: Float[Tensor, "B"]
    """Rest of the component's negative log density."""
    component: Int[Tensor, "B"]
    """Index of the component."""


class PosePrior(nn.Module):
    """Mixture of Gaussians over (pose coefficients, up vector in the root frame).

    Args:
        bone_names: the driven bones, root first; coefficients describe all but the root.
        mean: mean rotation vectors of the other bones, flattened (J−1)·3, radians.
        basis: orthonormal principal directions, (J−1)·3 × D.
        weights: mixture weights, K.
        means: component means, K × (D+3).
        whiten: lower-triangular W with precision = Wᵀ·W, K × (D+3) × (D+3).
    """

    mean: Tensor
    basis: Tensor
    log_weights: Tensor
    means: Tensor
    whiten: Tensor

    def __init__(
        self,
        *,
        bone_names: tuple[str, ...],
        mean: Tensor,
        basis: Tensor,
        weights: Tensor,
        means: Tensor,
        whiten: Tensor,
    ) -> None:
        super().__init__()
        self.bone_names = bone_names
        self.register_buffer("mean", mean)
        self.register_buffer("basis", basis)
        self.register_buffer("log_weights", weights.log())
        self.register_buffer("means", means)
        self.register_buffer("whiten", whiten)

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> PosePrior:
        """Read the shipped prior, or another safetensors file of the same form."""
        from safetensors import safe_open

        if not path.is_file():
            raise ModelFileError(
                f"{path}: the pose prior is missing; reinstall metrichmsr or run scripts/train_pose_prior.py"
            )
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 - not a dict
            bone_names = tuple(file.metadata()["bone_names"].split(","))
        return cls(bone_names=bone_names, **tensors)

    @property
    def n_coefficients(self) -> int:
        """D: how many numbers describe a pose."""
        return self.basis.shape[1]

    def to_rotvecs(self, coefficients: Float[Tensor, "*B D"]) -> Float[Tensor, "*B J-1 3"]:
        """Parent-relative rotation vectors (radians) of the driven bones without the root."""
        return (self.mean + coefficients @ self.basis.T).unflatten(-1, (-1, 3))

    def to_coefficients(self, rotvecs: Float[Tensor, "*B J-1 3"]) -> Float[Tensor, "*B D"]:
        """Projection of rotation vectors onto the basis: the inverse of :meth:`to_rotvecs` up to what was cut off."""
        return (rotvecs.flatten(-2) - self.mean) @ self.basis

    def component_energies(self, coefficients: Float[Tensor, "B D"], up: Float[Tensor, "B 3"]) -> Float[Tensor, "B K"]:
        """Negative log of each weighted component's density at (coefficients, up)."""
        offset = torch.cat([coefficients, up], dim=-1)[:, None] - self.means
        white = torch.einsum("kij,bkj->bki", self.whiten, offset)
        return 0.5 * white.square().sum(-1) + self._constants()

    def energy(self, coefficients: Float[Tensor, "B D"], up: Float[Tensor, "B 3"]) -> Float[Tensor, "B"]:
        """Negative log density of the mixture (nats)."""
        return -torch.logsumexp(-self.component_energies(coefficients, up), dim=-1)

    def pose_energy(self, coefficients: Float[Tensor, "B D"]) -> Float[Tensor, "B"]:
        """Negative log density of the pose alone, whichever way is up (nats).

        Precisions are WᵀW with W lower triangular and up last: integrated over up, W's upper corner is left.
        """
        d = self.n_coefficients
        corner = self.whiten[:, :d, :d]
        white = torch.einsum("kij,bkj->bki", corner, coefficients[:, None] - self.means[:, :d])
        log_det = corner.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constants = 0.5 * d * math.log(2 * math.pi) - log_det - self.log_weights
        return -torch.logsumexp(-0.5 * white.square().sum(-1) - constants, dim=-1)

    def residuals(self, coefficients: Float[Tensor, "B D"], up: Float[Tensor, "B 3"]) -> PriorResiduals:
        """The best component as a least-squares term, for Gauss–Newton (SMPLify's max-mixture)."""
        component = self.component_energies(coefficients, up).argmin(-1)
        whiten = self.whiten[component]
        offset = torch.cat([coefficients, up], dim=-1) - self.means[component]
        residuals = torch.einsum("bij,bj->bi", whiten, offset)
        return PriorResiduals(residuals, whiten, self._constants()[component], component)

    def sample(self, n: int, generator: torch.Generator) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B 3"]]:
        """Draw n poses: coefficients and unit up vectors in the root frame."""
        component = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)
        noise = torch.randn(n, self.means.shape[1], generator=generator).to(self.means)
        drawn = self.means[component] + torch.linalg.solve(self.whiten[component], noise[..., None]).squeeze(-1)
        up = nn.functional.normalize(drawn[:, -3:], dim=-1)
        return drawn[:, :-3], up

    def _constants(self) -> Float[Tensor, "K"]:
        log_det = self.whiten.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return 0.5 * self.means.shape[1] * math.log(2 * math.pi) - log_det - self.log_weights
