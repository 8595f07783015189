"""Levenberg–Marquardt over a batch of independent bodies."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.hmr.fitting.objective import Normal, Objective
from metrichmsr.hmr.fitting.state import FitState


def solve_damped(normal: Normal, damping: Float[Tensor, "B"]) -> Float[Tensor, "B P"]:
    """Step −(H + damping·diag H)⁻¹·g of every body; falls back to a gradient step where H is singular."""
    diagonal = normal.hessian.diagonal(dim1=1, dim2=2)
    damped = normal.hessian + torch.diag_embed(damping[:, None] * diagonal + 1e-4)
    factor, info = torch.linalg.cholesky_ex(damped)
    step = -torch.cholesky_solve(normal.gradient[..., None], factor).squeeze(-1)
    fallback = -normal.gradient / (diagonal + 1.0)
    return torch.where((info == 0)[:, None] & step.isfinite().all(-1, keepdim=True), step, fallback)


def minimise(
    objective: Objective, state: FitState, *, iterations: int, initial_damping: float = 1e-2
) -> tuple[FitState, Normal]:
    """Minimise each body's energy; bodies do not influence each other.

    Args:
        objective: the energy.
        state: where to start.
        iterations: number of evaluations; a step that does not help costs one and raises that body's damping.
        initial_damping: Marquardt's factor at the start.

    Returns:
        The best state of each body, and the energy with its quadratic approximation there.
    """
    body = objective.body
    best = objective.normal(state)
    damping = torch.full_like(best.energy, initial_damping)
    for _ in range(iterations):
        # Long steps leave the region where the quadratic holds: half a radian or a third in depth at a time is plenty.
        step = solve_damped(best, damping)
        at = body.layout
        turn = step[:, at.root].norm(dim=-1) / 0.6
        far = step[:, at.position].abs().amax(-1) / 0.4
        bend = step[:, at.pose].abs().amax(-1) / 1.5
        step = step / torch.stack([turn, far, bend, torch.ones_like(turn)]).amax(0)[:, None]
        trial_state = body.moved(state, step)
        trial = objective.normal(trial_state)
        better = trial.energy < best.energy
        state = trial_state.where(better, state)
        best.energy = torch.where(better, trial.energy, best.energy)
        best.gradient = torch.where(better[:, None], trial.gradient, best.gradient)
        best.hessian = torch.where(better[:, None, None], trial.hessian, best.hessian)
        damping = torch.where(better, damping * 0.4, damping * 4.0).clamp(1e-6, 1e6)
    return state, best
