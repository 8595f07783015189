"""The rotation nearest to a 3×3 matrix, fast for batches and with finite derivatives."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_ITERATIONS = 4


def nearest_rotation(matrix: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 3 3"]:
    """R in SO(3) that maximises trace(Rᵀ·M): special orthogonal Procrustes, differentiable once.

    LAPACK's singular value decomposition of thousands of tiny matrices costs more than the rest of a body model.
    Newton's method on the rotation group from the identity, four cheap steps, finds the answer wherever M is within
    some 60° of a rotation; the critical point is the maximum exactly if the Hessian there is positive definite, and
    matrices for which that fails the test fall back to the decomposition.

    The derivative comes from one last Newton step whose Hessian is held constant (implicit function theorem), so that
    nothing is differentiated through the iterations. Second derivatives are not available.
    """
    flat = matrix.reshape(-1, 3, 3)
    with torch.no_grad():
        rotation, inverse_hessian = _solve(flat.detach())
    step = (inverse_hessian @ _torque(rotation, flat)[..., None]).squeeze(-1)
    return (rotation + rotation @ _skew(step)).reshape(matrix.shape)


def _solve(matrix: Tensor) -> tuple[Tensor, Tensor]:
    rotation = torch.eye(3, dtype=matrix.dtype, device=matrix.device).expand_as(matrix)
    scale = matrix.abs().amax((-1, -2)).clamp_min(torch.finfo(matrix.dtype).tiny)
    for _ in range(_ITERATIONS):
        inverse, _ = _inverse_hessian(rotation, matrix)
        step = (inverse @ _torque(rotation, matrix)[..., None]).squeeze(-1)
        rotation = rotation @ _cayley(step)
    inverse, definite = _inverse_hessian(rotation, matrix)
    residual = (inverse @ _torque(rotation, matrix)[..., None]).squeeze(-1).abs().amax(-1)
    tolerance = 3 * torch.finfo(matrix.dtype).eps ** 0.5
    failed = ~(definite & (residual < tolerance))
    if failed.any():
        hard = matrix[failed]
        U, _, Vh = torch.linalg.svd(hard / scale[failed, None, None])
        sign = torch.linalg.det(U @ Vh)
        U = torch.cat([U[..., :2], U[..., 2:] * sign[:, None, None]], dim=-1)
        rotation[failed] = U @ Vh
        inverse[failed] = _inverse_hessian(rotation[failed], hard)[0]
    return rotation, inverse


def _torque(rotation: Tensor, matrix: Tensor) -> Tensor:
    """Gradient of trace(Rᵀ·M) for R turned by a small rotation vector on the right."""
    a = rotation.transpose(-1, -2) @ matrix
    return torch.stack([a[:, 2, 1] - a[:, 1, 2], a[:, 0, 2] - a[:, 2, 0], a[:, 1, 0] - a[:, 0, 1]], dim=-1)


def _inverse_hessian(rotation: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse of tr(S)·I − S with S the symmetric part of Rᵀ·M, and whether that is positive definite."""
    a = rotation.transpose(-1, -2) @ matrix
    x, y, z = a[:, 1, 1] + a[:, 2, 2], a[:, 0, 0] + a[:, 2, 2], a[:, 0, 0] + a[:, 1, 1]
    p = -0.5 * (a[:, 0, 1] + a[:, 1, 0])
    q = -0.5 * (a[:, 0, 2] + a[:, 2, 0])
    r = -0.5 * (a[:, 1, 2] + a[:, 2, 1])
    minor = x * y - p * p
    c00, c01, c02 = y * z - r * r, q * r - p * z, p * r - q * y
    determinant = x * c00 + p * c01 + q * c02
    definite = (x > 0) & (minor > 0) & (determinant > 0)
    # A flat direction (a matrix of rank one) must not make steps or derivatives infinite.
    floor = 1e-12 * a.abs().amax((-1, -2)) ** 3 + torch.finfo(a.dtype).tiny
    safe = torch.where(determinant.abs() < floor, floor, determinant)
    rows = [c00, c01, c02, c01, x * z - q * q, p * q - x * r, c02, p * q - x * r, minor]
    return torch.stack(rows, dim=-1).view(-1, 3, 3) / safe[:, None, None], definite


def _cayley(step: Tensor) -> Tensor:
    """A rotation that agrees with exp(step) to second order, exactly orthogonal (Cayley transform)."""
    w = _skew(step)
    eye = torch.eye(3, dtype=step.dtype, device=step.device)
    return eye + (w + 0.5 * (w @ w)) / (1 + 0.25 * step.square().sum(-1))[:, None, None]


def _skew(v: Tensor) -> Tensor:
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).view(-1, 3, 3)
