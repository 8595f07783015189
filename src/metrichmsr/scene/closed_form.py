"""One scale and one shift for the whole picture, in closed form: baseline, fallback and sanity check of the network.

    min over s, b of  Σ_i w_i·ρ((s·z_i + b − a_i) / (σ_i·max(a_i, s·z_i + b)))  +  (log-scale prior)  +  (shift prior)

over the anchor pixels i, with Huber's ρ (iteratively reweighted least squares). Every person weighs the same however
many pixels they cover, and less where their depth is doubtful. Where all anchors are about as far away as one another,
scale and shift cannot be told apart: the shift's prior then keeps it at nothing, and only the scale is found.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_HUBER = 1.345
_STEPS = 12
_SURFACE_STD = 0.03
"""Relative sigma of a body's surface besides its person's distance: clothes, pose errors."""
_TRUSTED_SCALE_STD = 0.3
"""How far (log) a source that claims metres may be off."""
_SHIFT_STD = 0.15
"""How large a shift is expected, over the median depth of the anchors."""
_MIN_PIXELS = 20


@dataclass(frozen=True)
class ClosedForm:
    """The answer: depth = scale · initial + shift_m."""

    scale: float
    shift_m: float
    pixels: int
    """Anchor pixels with depth that it rests on; below 20 nothing was done (scale 1, shift 0)."""
    residual: float
    """Median of |depth − anchor| / anchor after it; NaN without pixels."""
    by_person: dict[int, float]
    """The same for each row of person with at least 20 pixels."""

    @property
    def found(self) -> bool:
        """Whether there was anything to align to."""
        return self.pixels >= _MIN_PIXELS


@torch.no_grad()
def align(
    initial: Float[Tensor, "H W"],
    anchor_m: Float[Tensor, "H W"],
    mask: Bool[Tensor, "H W"],
    person: Int[Tensor, "H W"],
    relative_std: Float[Tensor, "P"],
    *,
    metric: bool = True,
) -> ClosedForm:
    """Robust scale and shift of the initial depth to the people.

    Args:
        initial: z_in, NaN where unknown.
        anchor_m: z_hmr, metres.
        mask: M_a.
        person: row of the person in each pixel, -1 for nobody.
        relative_std: one sigma of each person's depth, relative to it.
        metric: whether the initial depth claims metres; it is believed to ±30 % then, before people are heard. Other
            depth may have any scale, and a shift of any size where people at different depths show it.
    """
    chosen = mask & torch.isfinite(initial) & torch.isfinite(anchor_m) & (person >= 0)
    z, a, who = initial[chosen].double(), anchor_m[chosen].double(), person[chosen].long()
    if len(z) < _MIN_PIXELS:
        return ClosedForm(1.0, 0.0, 0, float("nan"), {})
    counts = torch.bincount(who, minlength=len(relative_std)).double()
    # Pixels of one person share their error: together they are worth one measurement, not thousands.
    relative = (relative_std.double()[who] ** 2 + _SURFACE_STD**2).sqrt()
    base = 1 / counts[who].clamp_min(1)
    middle_z, middle_a = z.median(), a.median()
    x = z / middle_z.clamp_min(1e-9)
    y = a / middle_a
    # Unknowns: p (scale in these units) and q (shift over the median anchor).
    expected = float(middle_z / middle_a) if metric else float((y / x).median())
    scale_std = _TRUSTED_SCALE_STD * expected if metric else 10.0
    shift_std = _SHIFT_STD if metric else 1.0
    design = torch.stack([x, torch.ones_like(x)], dim=-1)
    prior = torch.diag(torch.tensor([scale_std, shift_std], dtype=z.dtype) ** -2)
    prior_mean = torch.tensor([expected, 0.0], dtype=z.dtype)
    solution = torch.tensor([float((y / x).median()), 0.0], dtype=z.dtype)
    for _ in range(_STEPS):
        told = design @ solution
        # Relative to the farther of the two: background that shows through at a mask's edge has no leverage then.
        sigma = relative * torch.maximum(told.abs(), y)
        error = (told - y) / sigma
        robust = (_HUBER / error.abs().clamp_min(1e-9)).clamp_max(1.0)
        weight = base * robust / sigma**2
        normal = design.T @ (weight[:, None] * design) + prior
        solution = torch.linalg.solve(normal, design.T @ (weight * y) + prior @ prior_mean)
    scale = float(solution[0] * middle_a / middle_z)
    shift = float(solution[1] * middle_a)
    if not scale > 0:
        # People contradict the order of depths: at least the size shall be right.
        scale, shift = float((a / z).median()), 0.0
    off = ((scale * z + shift) - a).abs() / a
    by_person = {int(row): float(off[who == row].median()) for row in who.unique() if int(counts[row]) >= _MIN_PIXELS}
    return ClosedForm(scale, shift, len(z), float(off.median()), by_person)
